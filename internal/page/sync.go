package page

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/markup"
)

// Sync is the page of ghapp sync.
type Sync struct {
	Version     string
	Directories []Directory // in any order
	Activity    Activity
}

// Directory is one that is kept at a commit.
type Directory struct {
	Name       string
	Repository string // OWNER/NAME
	Address    string // of the repository's page; "": it has none
	Wanted     string // what it is kept at, such as "branch main"
	Path       string // where it is
	// Release is the ID of the one that it shows, and Commit is its commit; "": none.
	Release, Commit string
	Published       time.Time     // when that was put into its place
	Succeeded       time.Time     // when a pass last ended well; zero: none has since the start
	Period          time.Duration // the time between two questions
	Busy            bool          // it is being published just now
	// ExecFailures is how often in a row the command after the release has failed.
	ExecFailures int
	Held         []string // commits that are not to be published
	HeldSince    time.Time
	Failure      *Failure  // of the last pass; nil where that ended well
	Releases     []Release // that are kept, the newest first
}

// Release is one that can be gone back to.
type Release struct {
	ID, Commit string
	Published  time.Time
}

// perSyncPage is how many directories are on one page.
const perSyncPage = 60

// The keys of the states of a directory.
const (
	failing     = "failing"
	held        = "held"
	unpublished = "unpublished"
	current     = "current"
)

func (y *Directory) state() string {
	switch {
	case y.Failure != nil, y.ExecFailures > 0:
		return failing
	case y.Release == "":
		return unpublished
	case len(y.Held) > 0:
		return held
	}
	return current
}

func (y Sync) build(q query, _ time.Time) *view {
	states := []state{
		{failing, "failing", bad, 0}, {held, "held", warn, 0}, {unpublished, "not published yet", plain, 0},
		{current, "up to date", good, 0},
	}
	rank := map[string]int{}
	for i, s := range states {
		rank[s.key] = i
	}
	list := slices.Clone(y.Directories)
	slices.SortFunc(list, func(a, b Directory) int {
		return cmp.Or(rank[a.state()]-rank[b.state()], cmp.Compare(a.Name, b.Name))
	})
	found := newFinder[Directory](q, perSyncPage)
	for _, one := range list {
		states[rank[one.state()]].count++
		found.look(one, one.state(), one.Name, one.Repository)
	}
	v := &view{program: "ghapp sync", version: y.Version}
	v.title, v.mark = headline(states, len(list))
	slices.Reverse(states) // the best first
	v.body = func(d *document) {
		d.summary(q, v.title, v.mark, states)
		d.add("<section id=\"list\">\n<div class=\"head\">\n<h2>Directories</h2>\n")
		if len(list) > 8 || q.searches() {
			d.form(q, states)
		}
		d.add("</div>\n")
		if q.searches() {
			d.add("<p class=\"found\" role=\"status\">{} of {}</p>\n", number(int64(found.found)),
				counted(len(list), "directory", "directories"))
		}
		d.add("<ul class=\"cards\">\n")
		for _, one := range found.shown {
			d.directory(&one)
		}
		d.add("</ul>\n")
		d.pager(q, found.pages())
		d.add("</section>\n")
		d.activity(y.Activity)
	}
	return v
}

// headline says in a sentence how all directories are.
func headline(states []state, all int) (string, tone) {
	some := func(n int, words string) string {
		return number(int64(n)) + " of " + counted(all, "directory", "directories") + " " + words
	}
	count := map[string]int{}
	for _, s := range states {
		count[s.key] = s.count
	}
	switch {
	case all == 0:
		return "No directory is kept", plain
	case count[failing] == all && all == 1:
		return "The directory is failing", bad
	case count[failing] == all:
		return "All " + number(int64(all)) + " directories are failing", bad
	case count[failing] == 1:
		return some(1, "is failing"), bad
	case count[failing] > 1:
		return some(count[failing], "are failing"), bad
	case count[unpublished] > 0:
		return some(count[unpublished], "not published yet"), plain
	case count[held] > 0:
		return some(count[held], "held after a rollback"), warn
	case all == 1:
		return "The directory is up to date", good
	}
	return "All " + number(int64(all)) + " directories are up to date", good
}

// directory writes one.
func (d *document) directory(y *Directory) {
	id := d.id()
	words, mark := "Up to date", good
	switch y.state() {
	case failing:
		words, mark = "Failing", bad
	case held:
		words, mark = "Held", warn
	case unpublished:
		words, mark = "Not published yet", plain
	}
	d.add("<li>\n<article class=\"card {}\" aria-labelledby=\"{}\">\n<div class=\"head\">\n<h3 id=\"{}\">{}</h3>\n",
		string(mark), id, id, y.Name)
	d.pill(mark, words)
	d.add("</div>\n<p class=\"from\">")
	if y.Address != "" {
		d.add(`<a href="{}" rel="noreferrer">{}</a>`, markup.Address(y.Address), y.Repository)
	} else {
		d.add("{}", y.Repository)
	}
	d.add(` <span class="dot">·</span> {}</p>`+"\n<dl class=\"facts\">\n", y.Wanted)
	d.facts(y)
	d.add("</dl>\n")
	if y.Failure != nil {
		d.failure(y.Failure)
	}
	if y.ExecFailures > 1 || y.ExecFailures > 0 && y.Failure == nil {
		d.add("<p class=\"remark\">The command after the release has failed")
		if y.ExecFailures > 1 {
			d.add(" {} times in a row", number(int64(y.ExecFailures)))
		}
		d.add("; it is tried again.</p>\n")
	}
	if len(y.Held) > 0 {
		d.add("<p class=\"remark\">Rolled back")
		if !y.HeldSince.IsZero() {
			d.add(" ")
			d.ago(y.HeldSince)
		}
		d.add("; not published until the branch moves on:")
		for _, commit := range y.Held {
			d.add(" <code title=\"{}\">{}</code>", commit, short(commit))
		}
		d.add("</p>\n")
	}
	d.releases(y)
	d.add("</article>\n</li>\n")
}

// facts writes what is known of a directory, as names and values.
func (d *document) facts(y *Directory) {
	d.add("<div><dt>Commit</dt><dd>")
	if y.Commit != "" {
		d.add("<code title=\"{}\">{}</code>", y.Commit, short(y.Commit))
	} else {
		d.add("none")
	}
	d.add("</dd></div>\n<div><dt>Published</dt><dd>")
	d.ago(y.Published)
	d.add("</dd></div>\n<div><dt>Last good pass</dt><dd>")
	if y.Succeeded.IsZero() {
		d.add("none since the start")
	} else {
		d.ago(y.Succeeded)
	}
	d.add("</dd></div>\n<div><dt>Asked</dt><dd>every {}", duration(y.Period))
	if y.Busy {
		d.add(", publishing now")
	}
	d.add("</dd></div>\n<div class=\"long\"><dt>Directory</dt><dd><code>{}</code></dd></div>\n", y.Path)
}

// releases writes which are kept, to be opened by who wants to see them.
func (d *document) releases(y *Directory) {
	if len(y.Releases) == 0 {
		return
	}
	d.add("<details>\n<summary>{}</summary>\n<div class=\"wide\">\n<table>\n"+
		"<caption class=\"unseen\">Releases of {}</caption>\n"+
		"<thead><tr><th scope=\"col\">Release</th><th scope=\"col\">Commit</th><th scope=\"col\">Published</th>"+
		"<th scope=\"col\">State</th></tr></thead>\n<tbody>\n",
		counted(len(y.Releases), "release kept", "releases kept"), y.Name)
	for _, r := range y.Releases {
		words := "kept"
		switch {
		case r.ID == y.Release:
			words = "published"
		case slices.Contains(y.Held, r.Commit):
			words = "held"
		}
		number, _, _ := strings.Cut(r.ID, "-")
		d.add("<tr><th scope=\"row\"><code title=\"{}\">{}</code></th><td><code title=\"{}\">{}</code></td><td>",
			r.ID, number, r.Commit, short(r.Commit))
		d.ago(r.Published)
		d.add("</td><td>{}</td></tr>\n", words)
	}
	d.add("</tbody>\n</table>\n</div>\n</details>\n")
}

// short is how a commit is shown.
func short(commit string) string { return commit[:min(12, len(commit))] }
