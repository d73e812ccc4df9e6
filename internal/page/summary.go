package page

import (
	"strconv"
)

// state is one that directories or mirrors can be in.
type state struct {
	key   string // in the address
	label string // after a number, and alone
	tone  tone
	count int
}

// summary writes how all of them are: in a sentence, as a bar of shares, and in numbers that lead
// to those that they count.
func (d *document) summary(q query, sentence string, mark tone, states []state, facts ...string) {
	all := 0
	for _, s := range states {
		all += s.count
	}
	d.add("<section class=\"summary\">\n<h1>")
	d.sign(mark)
	d.add("{}</h1>\n", sentence)
	if all > 0 {
		d.shares(states, all)
	}
	d.add("<ul class=\"legend\">\n")
	for _, s := range states {
		if s.count == 0 {
			continue
		}
		d.add(`<li class="{}"><a href="{}"><b>{}</b> {}</a></li>`+"\n", string(s.tone),
			q.with(func(q *query) { *q = query{Show: s.key, Still: q.Still} })+"#list", number(int64(s.count)), s.label)
	}
	d.add("</ul>\n")
	if len(facts) > 0 {
		d.add("<ul class=\"asides\">\n")
		for _, f := range facts {
			d.add("<li>{}</li>\n", f)
		}
		d.add("</ul>\n")
	}
	d.add("</section>\n")
}

// sign draws how all is. The sentence beside it says it.
func (d *document) sign(mark tone) {
	d.add(`<svg class="sign" viewBox="0 0 16 16" aria-hidden="true" focusable="false">`+
		`<circle class="{}" cx="8" cy="8" r="8"/><path d="{}"/></svg>`, string(mark), map[tone]string{
		good: "M4.5 8.3 7 10.8 11.5 5.6", bad: "M8 4V8.6M8 11.7V11.8", warn: "M6.2 5V11M9.8 5V11", plain: "M4.8 8H11.2",
	}[mark])
}

// shares draws which part of all is in which state. The numbers stand below it.
func (d *document) shares(states []state, all int) {
	const width, least = 1000.0, 6.0 // so that one of a hundred thousand is seen
	rest, shared := width, 0
	for _, s := range states {
		if share := width * float64(s.count) / float64(all); s.count > 0 && share < least {
			rest -= least
		} else {
			shared += s.count
		}
	}
	d.add(`<svg class="shares" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">`)
	x := 0.0
	for _, s := range states {
		if s.count == 0 {
			continue
		}
		share := least
		if width*float64(s.count)/float64(all) >= least {
			share = rest * float64(s.count) / float64(shared)
		}
		d.add(`<rect class="{}" x="{}" width="{}" height="10"/>`, string(s.tone), coordinate(x), coordinate(share))
		x += share
	}
	d.add("</svg>\n")
}

// coordinate is a number of a drawing.
func coordinate(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }
