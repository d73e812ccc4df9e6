package page

import (
	"time"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// Activity is what has gone over the network.
type Activity struct {
	// Bytes and Points are how many bytes were fetched, and how many points of GitHub's hourly
	// budgets were spent, over the last day, in parts of it that are equally long: the oldest
	// first, and the last one is under way. 24 to 96 are shown well.
	Bytes, Points []int64
	// Budgets are what GitHub has said last of these.
	Budgets []Budget
}

// Budget is how many points an hour there are.
type Budget struct {
	Host, Resource string
	Limit, Left    int64
	Reset          time.Time // when there are as many again
}

// activity writes the charts.
func (d *document) activity(a Activity) {
	if len(a.Bytes) == 0 && len(a.Points) == 0 {
		return
	}
	d.add("<section>\n<h2>The last 24 hours</h2>\n<div class=\"charts\">\n")
	d.chart("Fetched", a.Bytes, text.Size)
	d.chart("API points", a.Points, number)
	d.add("</div>\n")
	if len(a.Budgets) > 0 {
		d.add("<ul class=\"asides\">\n")
		for _, b := range a.Budgets {
			d.add("<li>{} of {} points of <code>{}</code> left at {}", number(b.Left), number(b.Limit), b.Resource, b.Host)
			if b.Reset.After(d.now) {
				d.add(", all again ")
				d.until(b.Reset)
			}
			d.add("</li>\n")
		}
		d.add("</ul>\n")
	}
	d.add("</section>\n")
}

// chart draws counts over the last day as bars.
func (d *document) chart(title string, counts []int64, show func(int64) string) {
	if len(counts) == 0 {
		return
	}
	var all, most int64
	busiest := 0
	for i, n := range counts {
		all += n
		if n > most {
			most, busiest = n, i
		}
	}
	part := 24 * time.Hour / time.Duration(len(counts))
	begin := d.now.UTC().Truncate(part).Add(-part * time.Duration(len(counts)-1))
	when := func(i int) string {
		from := begin.Add(part * time.Duration(i))
		return from.Format("15:04") + "–" + from.Add(part).Format("15:04") + " UTC"
	}
	peak := "nothing yet"
	if most > 0 {
		peak = "most " + show(most) + ", " + when(busiest)
	}
	d.add(`<figure class="chart">
<figcaption><span class="of">{}</span> <b>{}</b> <span class="peak">{}</span></figcaption>
<svg viewBox="0 0 960 100" preserveAspectRatio="none" role="img" aria-label="{}" focusable="false">
<g aria-hidden="true">
<path class="grid" d="M0 0.5H960M0 50H960"/><path class="base" d="M0 99.5H960"/>
`, title, show(all), peak, title+" over the last 24 hours: "+show(all)+" in all; "+peak)
	width := 960 / float64(len(counts))
	for i, n := range counts {
		if n <= 0 {
			continue
		}
		height := max(97*float64(n)/float64(most), 2)
		class := "bar"
		if i == len(counts)-1 {
			class = "bar now"
		}
		d.add(`<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>`+"\n", class,
			coordinate(float64(i)*width+width/10), coordinate(99-height), coordinate(width*0.8), coordinate(height),
			when(i)+": "+show(n))
	}
	d.add("</g>\n</svg>\n<p class=\"axis\" aria-hidden=\"true\"><span>24 h ago</span><span>18 h</span><span>12 h</span>" +
		"<span>6 h</span><span>now</span></p>\n</figure>\n")
}
