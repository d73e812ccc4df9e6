package page

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// maxWords is the length of the longest search, in bytes. No name of a repository is longer.
const maxWords = 140

// query is what a person has asked the page for, by its address.
type query struct {
	Words string // that a name is to have in it, in any case; "": any
	Show  string // the key of the states that are shown; "": all
	Page  int    // from 1
	Still bool   // it is not to fetch itself again
}

// readQuery reads an address. What is not understood is passed over.
func readQuery(u *url.URL) query {
	values := u.Query()
	words := strings.TrimSpace(strings.ToValidUTF8(values.Get("q"), ""))
	for len(words) > maxWords {
		_, last := utf8.DecodeLastRuneInString(words)
		words = words[:len(words)-last]
	}
	page, _ := strconv.Atoi(values.Get("page"))
	return query{
		Words: words, Show: text.Shorten(values.Get("show"), 20), Page: max(min(page, 1_000_000), 1),
		Still: values.Get("still") != "",
	}
}

// with is the address of another query.
func (q query) with(change func(*query)) string {
	change(&q)
	values := url.Values{}
	if q.Words != "" {
		values.Set("q", q.Words)
	}
	if q.Show != "" {
		values.Set("show", q.Show)
	}
	if q.Page > 1 {
		values.Set("page", strconv.Itoa(q.Page))
	}
	if q.Still {
		values.Set("still", "1")
	}
	return "?" + values.Encode()
}

// searches reports whether not everything is asked for.
func (q query) searches() bool { return q.Words != "" || q.Show != "" }

// finder finds what is asked for, and keeps one page of it.
type finder[T any] struct {
	query
	perPage int
	words   string // in lower case
	found   int
	shown   []T
}

func newFinder[T any](q query, perPage int) *finder[T] {
	return &finder[T]{query: q, perPage: perPage, words: strings.ToLower(q.Words)}
}

// look looks at one, which has some names.
func (f *finder[T]) look(one T, state string, names ...string) {
	if f.Show != "" && f.Show != state || !f.named(names) {
		return
	}
	if at := f.found - (f.Page-1)*f.perPage; at >= 0 && at < f.perPage {
		f.shown = append(f.shown, one)
	}
	f.found++
}

func (f *finder[T]) named(names []string) bool {
	for _, name := range names {
		if f.words == "" || strings.Contains(strings.ToLower(name), f.words) {
			return true
		}
	}
	return false
}

// pages is how many there are, at least 1.
func (f *finder[T]) pages() int { return max((f.found+f.perPage-1)/f.perPage, 1) }

// form writes what is searched by: for which name, and in which of the states.
func (d *document) form(q query, states []state) {
	id := d.id()
	d.add(`<form role="search" method="get" action="#list">
<label class="unseen" for="{}">Search by name</label>
<input id="{}" type="search" name="q" value="{}" placeholder="Search by name" maxlength="140"
 autocomplete="off" spellcheck="false">
<label class="unseen" for="{}">State</label>
<select id="{}" name="show">
<option value="">any state</option>
`, id, id, q.Words, id+"s", id+"s")
	for _, s := range states {
		d.add(`<option value="{}"`, s.key)
		if s.key == q.Show {
			d.add(" selected")
		}
		d.add(">{}</option>\n", s.label)
	}
	d.add("</select>\n")
	if q.Still {
		d.add("<input type=\"hidden\" name=\"still\" value=\"1\">\n")
	}
	d.add("<button type=\"submit\">Search</button>\n")
	if q.searches() {
		d.add(`<a class="clear" href="{}">Show all</a>`+"\n", q.with(func(q *query) { *q = query{Still: q.Still} })+"#list")
	}
	d.add("</form>\n")
}

// pager writes the way to the other pages, where there are any.
func (d *document) pager(q query, pages int) {
	if pages < 2 {
		return
	}
	d.add(`<nav class="pager" aria-label="Pages">`)
	step := func(words string, page int) {
		if page < 1 || page > pages {
			d.add(`<span class="off">{}</span>`, words)
			return
		}
		d.add(`<a href="{}">{}</a>`, q.with(func(q *query) { q.Page = page })+"#list", words)
	}
	step("Previous", min(q.Page, pages+1)-1)
	d.add("\n<span>page {} of {}</span>\n", number(int64(min(q.Page, pages))), number(int64(pages)))
	step("Next", q.Page+1)
	d.add("</nav>\n")
}
