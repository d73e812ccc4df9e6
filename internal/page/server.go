package page

import (
	"strconv"
	"strings"
	"time"
)

// Server is the page of ghapp-server.
type Server struct {
	Version string
	// Checks are what it needs to hand out tokens, each as it is just now.
	Checks []Check
	// LastMinute is how many exchanges there were in it, whatever became of them.
	LastMinute int64
	// Shared, Minted, Refused and Failed are what became of exchanges over the last day, in parts of
	// it as those of [Activity]. Minted are tokens that GitHub was asked for; shared are all others.
	Shared, Minted, Refused, Failed []int64
	// Servers is how many share the work, this one among them; 0: it is not known.
	Servers int
	Budgets []InstallationBudget
	// Refusals are the last ones, the newest first, for who may see them. Nil: this reader may not.
	Refusals []Refusal
	// RefusalsAt is the address at which who may see them is shown them; "": there is none.
	RefusalsAt string
}

// Check is something that is needed.
type Check struct {
	Name    string
	Trouble string // why it is not as it should be; "": it is
	Ready   bool   // tokens are handed out all the same
}

// InstallationBudget is how many requests an hour the tokens of an installation have.
type InstallationBudget struct {
	App          string
	Installation int64
	Limit, Left  int64
	Reset        time.Time
}

// Refusal is an exchange that came to nothing.
type Refusal struct {
	At     time.Time
	Failed bool   // it was allowed, and failed
	Rule   string // that was to grant it; "": none did
	Who    string
	Reason string
	ID     string // of the request, which its caller was told
}

func (s Server) build(_ query, _ time.Time) *view {
	v := &view{program: "ghapp-server", version: s.Version}
	v.title, v.mark = s.headline()
	v.body = func(d *document) {
		d.exchanges(&s, v.title, v.mark)
		d.checks(s.Checks)
		d.add("<section>\n<h2>The last 24 hours</h2>\n<div class=\"charts\">\n")
		d.chart("Exchanges", added(s.Shared, s.Minted, s.Refused, s.Failed), number)
		d.chart("Refused and failed", added(s.Refused, s.Failed), number)
		d.add("</div>\n</section>\n")
		d.budgets(s.Budgets)
		d.refusals(&s)
	}
	return v
}

// headline says in a sentence how the server is.
func (s *Server) headline() (string, tone) {
	var down, bent []string
	for _, c := range s.Checks {
		switch {
		case c.Trouble != "" && !c.Ready:
			down = append(down, c.Name)
		case c.Trouble != "":
			bent = append(bent, c.Name)
		}
	}
	switch {
	case len(down) > 0:
		return "Not ready: " + strings.Join(down, ", "), bad
	case len(bent) > 0:
		return "Tokens are handed out, not everything is well: " + strings.Join(bent, ", "), warn
	}
	return "Tokens are handed out", good
}

// exchanges writes how the server is, and what became of the exchanges of a day.
func (d *document) exchanges(s *Server, sentence string, mark tone) {
	states := []state{
		{label: "shared", tone: good, count: int(sum(s.Shared))},
		{label: "minted", tone: plain, count: int(sum(s.Minted))},
		{label: "refused", tone: warn, count: int(sum(s.Refused))},
		{label: "failed", tone: bad, count: int(sum(s.Failed))},
	}
	d.add("<section class=\"summary\">\n<h1>")
	d.sign(mark)
	d.add("{}</h1>\n", sentence)
	all := 0
	for _, one := range states {
		all += one.count
	}
	if all > 0 {
		d.shares(states, all)
		d.add("<ul class=\"legend\">\n")
		for _, one := range states {
			if one.count > 0 {
				d.add("<li class=\"{}\"><span><b>{}</b> {}</span></li>\n", string(one.tone), number(int64(one.count)), one.label)
			}
		}
		d.add("</ul>\n")
	}
	d.add("<ul class=\"asides\">\n<li>{} in the last minute</li>\n", counted(int(s.LastMinute), "exchange", "exchanges"))
	if had, handed := sum(s.Shared), sum(s.Shared)+sum(s.Minted); handed > 0 {
		d.add("<li>{} of the tokens of the last day were shared, and not minted anew</li>\n", percent(had, handed))
	}
	if s.Servers > 0 {
		d.add("<li>{}</li>\n", counted(s.Servers, "server", "servers share the work"))
	}
	d.add("</ul>\n</section>\n")
}

// checks writes what is needed, and how each is.
func (d *document) checks(list []Check) {
	d.add("<section>\n<h2>What it needs</h2>\n")
	d.beginTable("What it needs", "What", "State", "Why")
	for _, c := range list {
		d.add("<tr><th scope=\"row\">{}</th><td data-label=\"State\">", c.Name)
		switch {
		case c.Trouble == "":
			d.pill(good, "well")
		case c.Ready:
			d.pill(warn, "to be mended")
		default:
			d.pill(bad, "not ready")
		}
		why := c.Trouble
		if why == "" {
			why = "–"
		}
		d.add("</td><td class=\"why\" data-label=\"Why\">{}</td></tr>\n", why)
	}
	d.add("</tbody>\n</table>\n</section>\n")
}

// budgets draws what is left of each installation's as a bar.
func (d *document) budgets(list []InstallationBudget) {
	if len(list) == 0 {
		return
	}
	d.add("<section>\n<h2>Requests left to installations</h2>\n<ul class=\"cards\">\n")
	for _, b := range list {
		mark := good
		switch {
		case b.Left*20 < b.Limit:
			mark = bad
		case b.Left*4 < b.Limit:
			mark = warn
		}
		d.add("<li>\n<div class=\"card\">\n<h3>Installation {}</h3>\n<p class=\"from\"><code>{}</code></p>\n",
			strconv.FormatInt(b.Installation, 10), b.App)
		if limit := int(b.Limit); limit > 0 {
			left := min(max(int(b.Left), 0), limit)
			d.shares([]state{{tone: mark, count: left}, {tone: plain, count: limit - left}}, limit)
		}
		d.add("<ul class=\"asides\"><li>{} of {} left</li>", number(b.Left), number(b.Limit))
		if b.Reset.After(d.now) {
			d.add("<li>all again ")
			d.until(b.Reset)
			d.add("</li>")
		}
		d.add("</ul>\n</div>\n</li>\n")
	}
	d.add("</ul>\n</section>\n")
}

// refusals writes the last ones, or how they are seen.
func (d *document) refusals(s *Server) {
	d.add("<section id=\"list\">\n<h2>The last refusals</h2>\n")
	switch {
	case s.Refusals == nil && s.RefusalsAt != "":
		d.add("<p>Who asked, and why there was no token, is told <a href=\"{}\">to who has the token of the status</a>, "+
			"on this machine.</p>\n</section>\n", s.RefusalsAt)
		return
	case s.Refusals == nil:
		d.add("<p>Who asked, and why there was no token, is not told here; the audit has it.</p>\n</section>\n")
		return
	case len(s.Refusals) == 0:
		d.add("<p>None since the start.</p>\n</section>\n")
		return
	}
	d.beginTable("The last refusals", "Who", "When", "What", "Rule", "Why", "Request")
	for _, r := range s.Refusals {
		d.add("<tr><th scope=\"row\">{}</th><td data-label=\"When\">", dash(r.Who))
		d.ago(r.At)
		d.add("</td><td data-label=\"What\">")
		if r.Failed {
			d.pill(bad, "failed")
		} else {
			d.pill(warn, "refused")
		}
		d.add("</td><td class=\"why\" data-label=\"Rule\">{}</td><td class=\"why\" data-label=\"Why\">{}</td>"+
			"<td data-label=\"Request\"><code>{}</code></td></tr>\n", dash(r.Rule), dash(r.Reason), dash(r.ID))
	}
	d.add("</tbody>\n</table>\n</section>\n")
}

// beginTable writes the head of a table.
func (d *document) beginTable(caption string, columns ...string) {
	d.add("<table class=\"stack\">\n<caption class=\"unseen\">{}</caption>\n<thead><tr>", caption)
	for _, c := range columns {
		d.add("<th scope=\"col\">{}</th>", c)
	}
	d.add("</tr></thead>\n<tbody>\n")
}

// dash is a text, or what stands for none.
func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// percent is a part of a whole as people read it. Only all of it is 100.
func percent(part, whole int64) string {
	n := part * 100 / whole
	if n == 0 && part > 0 {
		return "under 1%"
	}
	return strconv.FormatInt(n, 10) + "%"
}

func sum(counts []int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// added are the sums of several counts of the same times.
func added(lists ...[]int64) []int64 {
	var all []int64
	for _, list := range lists {
		for i, n := range list {
			if i == len(all) {
				all = append(all, 0)
			}
			all[i] += n
		}
	}
	return all
}
