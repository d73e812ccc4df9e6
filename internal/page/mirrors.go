package page

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/markup"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Mirrors is the page of ghapp mirror.
type Mirrors struct {
	Version string
	// All are the mirrors in the order of their names. They are gone through once for a page, and
	// none of them is kept that is not shown. After an error there are no more.
	All iter.Seq2[Mirror, error]
	// Failures are those of what is no mirror, such as an owner, or a directory.
	Failures []Other
	// FreshFor is how long a mirror is fresh after it was found to be as its repository is.
	FreshFor time.Duration
	// Busy is how many are being fetched just now.
	Busy     int
	Activity Activity
}

// Other is something that failed, and is no mirror.
type Other struct {
	Name    string
	Failure Failure
}

// Mirror is one repository that is kept.
type Mirror struct {
	Name     string    // OWNER/NAME
	Address  string    // of the repository's page; "": it has none
	Compared time.Time // when it was last found, or made, as its repository is; zero: never
	Size     int64     // bytes on the disk
	// Kept is how many refs are kept of what a forced push or a deletion left behind, and
	// KeptSince is the time of the oldest.
	Kept      int
	KeptSince time.Time
	// Gone is since when the repository is deleted, or out of reach, and Reason is why, in a word;
	// zero: it is not.
	Gone    time.Time
	Reason  string
	Failure *Failure // of the last try; nil where that ended well
}

const (
	// perMirrorPage is how many mirrors are on one page of those that are searched for.
	perMirrorPage = 50
	// maxStalest is how many of the stalest are shown.
	maxStalest = 10
	// maxCauses is how many causes of failures are shown, and maxNames how many names for each.
	maxCauses, maxNames = 12, 5
)

// The keys of the states of a mirror, besides failing.
const (
	stale   = "stale"
	waiting = "waiting"
	gone    = "gone"
)

// mirrorStates are all of them, the best first.
func mirrorStates() []state {
	return []state{
		{current, "current", good, 0}, {stale, "stale", warn, 0}, {failing, "failed", bad, 0},
		{waiting, "waiting", plain, 0}, {gone, "gone, and kept", plain, 0},
	}
}

func (p *Mirrors) state(m *Mirror, now time.Time) string {
	switch {
	case !m.Gone.IsZero():
		return gone
	case m.Failure != nil:
		return failing
	case m.Compared.IsZero():
		return waiting
	case now.Sub(m.Compared) > p.FreshFor:
		return stale
	}
	return current
}

// cause is why some mirrors fail.
type cause struct {
	first Failure // of one of them
	count int
	names []string // of the first
}

// survey is what is found out of all mirrors.
type survey struct {
	states         []state
	at             map[string]int // of a state in states, by its key
	all            int
	size           int64
	kept, withKept int
	stalest        []Mirror
	causes         []*cause
	others         int // that fail for a cause that is not among these
	found          *finder[Mirror]
}

// survey goes through all mirrors.
func (p *Mirrors) survey(q query, now time.Time) (*survey, error) {
	s := &survey{states: mirrorStates(), at: map[string]int{}, found: newFinder[Mirror](q, perMirrorPage)}
	for i, one := range s.states {
		s.at[one.key] = i
	}
	for m, err := range p.All {
		if err != nil {
			return nil, err
		}
		key := p.state(&m, now)
		s.states[s.at[key]].count++
		s.all++
		s.size += m.Size
		if s.kept += m.Kept; m.Kept > 0 {
			s.withKept++
		}
		if key != gone && key != waiting {
			s.older(m)
		}
		if key == failing {
			s.fails(&m)
		}
		s.found.look(m, key, m.Name)
	}
	slices.SortStableFunc(s.causes, func(a, b *cause) int { return b.count - a.count })
	return s, nil
}

// older keeps a mirror if it is one of the stalest.
func (s *survey) older(m Mirror) {
	at, _ := slices.BinarySearchFunc(s.stalest, m, func(a, b Mirror) int {
		if c := a.Compared.Compare(b.Compared); c != 0 {
			return c
		}
		return -1 // behind those that were compared at the same time
	})
	if at >= maxStalest {
		return
	}
	s.stalest = slices.Insert(s.stalest[:min(len(s.stalest), maxStalest-1)], at, m)
}

// fails counts a mirror that fails to its cause.
func (s *survey) fails(m *Mirror) {
	same := func(c *cause) bool {
		if m.Failure.Kind == "" {
			return c.first.Message == m.Failure.Message
		}
		return c.first.Kind == m.Failure.Kind && c.first.Hint == m.Failure.Hint
	}
	i := slices.IndexFunc(s.causes, same)
	if i < 0 && len(s.causes) == maxCauses {
		s.others++
		return
	}
	if i < 0 {
		i = len(s.causes)
		s.causes = append(s.causes, &cause{first: *m.Failure})
	}
	c := s.causes[i]
	c.count++
	if len(c.names) < maxNames {
		c.names = append(c.names, m.Name)
	}
	if a := m.Failure.Again; !a.IsZero() && (c.first.Again.IsZero() || a.Before(c.first.Again)) {
		c.first.Again = a
	}
	if m.Failure.At.After(c.first.At) {
		c.first.At = m.Failure.At
	}
}

func (s *survey) count(key string) int { return s.states[s.at[key]].count }

// headline says in a sentence how all mirrors are, and that other things fail.
func (s *survey) headline(others int) (string, tone) {
	there := s.all - s.count(gone)
	sentence := number(int64(s.count(current))) + " of " + counted(there, "mirror is current", "mirrors are current")
	switch {
	case others > 0:
		return sentence + ", and " + counted(others, "other failure", "other failures"), bad
	case s.all == 0:
		return "Nothing is mirrored yet", plain
	case there == 0:
		return "Every repository is gone; the mirrors are kept", warn
	case s.count(failing) > 0:
		return sentence, bad
	case s.count(stale) > 0:
		return sentence, warn
	case s.count(waiting) > 0:
		return sentence, plain
	case there == 1:
		return "The mirror is current", good
	}
	return "All " + number(int64(there)) + " mirrors are current", good
}

func (p Mirrors) build(q query, now time.Time) *view {
	s, err := p.survey(q, now)
	if err != nil {
		return &view{err: err}
	}
	v := &view{program: "ghapp mirror", version: p.Version}
	v.title, v.mark = s.headline(len(p.Failures))
	facts := []string{text.Size(s.size) + " on the disk"}
	if s.kept > 0 {
		facts = append(facts, counted(s.kept, "ref", "refs")+" of left-behind history kept in "+
			counted(s.withKept, "mirror", "mirrors"))
	}
	if p.Busy > 0 {
		facts = append(facts, counted(p.Busy, "is", "are")+" being fetched now")
	}
	v.body = func(d *document) {
		d.summary(q, v.title, v.mark, s.states, facts...)
		d.activity(p.Activity)
		d.causes(q, s, p.Failures)
		d.stalest(&p, s)
		if s.all > 0 {
			d.found(&p, q, s)
		}
	}
	return v
}

// causes writes what failed and why, each cause once.
func (d *document) causes(q query, s *survey, others []Other) {
	if len(s.causes)+len(others) == 0 {
		return
	}
	d.add("<section>\n<h2>What failed, and why</h2>\n<ul class=\"cards\">\n")
	for _, o := range others {
		d.add("<li class=\"card bad\">\n<p class=\"of\"><b>{}</b></p>\n", o.Name)
		d.failure(&o.Failure)
		d.add("</li>\n")
	}
	for _, c := range s.causes {
		d.add("<li class=\"card bad\">\n<p class=\"of\"><b>{}</b> ", counted(c.count, "mirror", "mirrors"))
		for i, name := range c.names {
			if i > 0 {
				d.add(", ")
			}
			d.add(`<a href="{}">{}</a>`, q.with(func(q *query) { *q = query{Words: name, Still: q.Still} })+"#list", name)
		}
		if more := c.count - len(c.names); more > 0 {
			d.add(` and <a href="{}">{} more</a>`,
				q.with(func(q *query) { *q = query{Show: failing, Still: q.Still} })+"#list", number(int64(more)))
		}
		d.add("</p>\n")
		d.failure(&c.first)
		d.add("</li>\n")
	}
	d.add("</ul>\n")
	if s.others > 0 {
		d.add("<p class=\"found\">{} for other causes</p>\n", counted(s.others, "fails", "fail"))
	}
	d.add("</section>\n")
}

// stalest writes the ten that were compared longest ago.
func (d *document) stalest(p *Mirrors, s *survey) {
	if len(s.stalest) == 0 {
		return
	}
	d.add("<section>\n<h2 id=\"stalest\">The stalest</h2>\n<table class=\"stack\" aria-labelledby=\"stalest\">\n" +
		"<thead><tr><th scope=\"col\">Mirror</th><th scope=\"col\">As on GitHub</th>" +
		"<th scope=\"col\">State</th><th scope=\"col\">Why</th></tr></thead>\n<tbody>\n")
	for _, m := range s.stalest {
		d.add("<tr><th scope=\"row\">")
		d.name(&m)
		d.add("</th><td data-label=\"As on GitHub\">")
		d.ago(m.Compared)
		d.add("</td><td>")
		d.stateOf(p, s, &m)
		d.add("</td><td class=\"why\">")
		if m.Failure != nil {
			first, _, _ := strings.Cut(strings.TrimSpace(m.Failure.Message), "\n")
			d.add("{}", first)
		} else {
			d.add(`<span class="dot">–</span>`)
		}
		d.add("</td></tr>\n")
	}
	d.add("</tbody>\n</table>\n</section>\n")
}

// found writes those that are searched for.
func (d *document) found(p *Mirrors, q query, s *survey) {
	d.add("<section id=\"list\">\n<div class=\"head\">\n<h2 id=\"all\">Mirrors</h2>\n")
	d.form(q, s.states)
	d.add("</div>\n<p class=\"found\" role=\"status\">{} of {}</p>\n", number(int64(s.found.found)),
		counted(s.all, "mirror", "mirrors"))
	if len(s.found.shown) > 0 {
		d.add("<table class=\"stack\" aria-labelledby=\"all\">\n<thead><tr><th scope=\"col\">Mirror</th>" +
			"<th scope=\"col\">State</th><th scope=\"col\">As on GitHub</th><th scope=\"col\" class=\"n\">Size</th>" +
			"<th scope=\"col\">Kept history</th></tr></thead>\n<tbody>\n")
	}
	for _, m := range s.found.shown {
		d.add("<tr><th scope=\"row\">")
		d.name(&m)
		d.add("</th><td>")
		d.stateOf(p, s, &m)
		d.add("</td><td data-label=\"As on GitHub\">")
		d.ago(m.Compared)
		d.add("</td><td class=\"n\" data-label=\"Size\">{}</td><td data-label=\"Kept history\">", text.Size(m.Size))
		d.kept(&m)
		d.add("</td></tr>\n")
	}
	if len(s.found.shown) > 0 {
		d.add("</tbody>\n</table>\n")
	}
	d.pager(q, s.found.pages())
	d.add("</section>\n")
}

// kept writes how much history of a mirror is kept that its repository has no more.
func (d *document) kept(m *Mirror) {
	if m.Kept == 0 {
		d.add(`<span class="dot">–</span>`)
		return
	}
	d.add("{}", counted(m.Kept, "ref", "refs"))
	if !m.KeptSince.IsZero() {
		d.add(" since ")
		d.moment(m.KeptSince, m.KeptSince.UTC().Format("2 Jan 2006"))
	}
}

func (d *document) name(m *Mirror) {
	if m.Address == "" {
		d.add("{}", m.Name)
		return
	}
	d.add(`<a href="{}" rel="noreferrer">{}</a>`, markup.Address(m.Address), m.Name)
}

// stateOf writes how a mirror is.
func (d *document) stateOf(p *Mirrors, s *survey, m *Mirror) {
	one := s.states[s.at[p.state(m, d.now)]]
	d.pill(one.tone, one.label)
	if !m.Gone.IsZero() {
		d.add(" {} ", m.Reason)
		d.ago(m.Gone)
	}
}
