package page_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/markup"
	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// get asks for a page.
func get(t *testing.T, p page.Page, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	page.Handler(func(context.Context) (page.Page, error) { return p, nil }).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	testkit.Equal(t, w.Code, http.StatusOK, target)
	return w
}

// skeleton parses a page and returns its elements with the names of their attributes, and apart
// from these what a person can read.
func skeleton(t *testing.T, text string) (elements []string, read string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "link", "input"}, xml.HTMLEntity
	var words strings.Builder
	var open []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			testkit.Equal(t, len(open), 0, "elements that are not closed", open)
			return elements, strings.Join(strings.Fields(words.String()), " ")
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		switch e := token.(type) {
		case xml.StartElement:
			name := e.Name.Local
			open = append(open, name)
			for _, a := range e.Attr {
				name += " " + a.Name.Local
			}
			elements = append(elements, name)
		case xml.EndElement:
			testkit.Equal(t, e.Name.Local, open[len(open)-1], "closes")
			open = open[:len(open)-1]
			if !slices.Contains([]string{"a", "b", "code", "time"}, e.Name.Local) { // these stand in a sentence
				words.WriteByte(' ')
			}
		case xml.CharData:
			if !slices.Contains(open, "style") && !slices.Contains(open, "svg") {
				words.Write(e)
			}
		case xml.Comment, xml.ProcInst:
			elements = append(elements, "something else")
		}
	}
}

// read is what a person can read of a page.
func read(t *testing.T, p page.Page, target string) string {
	t.Helper()
	_, text := skeleton(t, get(t, p, target).Body.String())
	return text
}

// day has n in each part of it.
func day(n int64) []int64 { return slices.Repeat([]int64{n}, 96) }

// directory has a text wherever there can be one.
func directory(text string) page.Directory {
	at := time.Now().Add(-time.Hour)
	return page.Directory{
		Name: text, Repository: text, Address: "https://x/" + text, Wanted: text, Path: text, Release: text, Commit: text,
		Published: at, Succeeded: at, Period: time.Minute, Held: []string{text}, HeldSince: at,
		Failure:  &page.Failure{Message: text, Hint: text, Kind: text, At: at, Again: at.Add(2 * time.Hour)},
		Releases: []page.Release{{ID: text, Commit: text, Published: at}},
	}
}

func sync(text string) page.Sync {
	return page.Sync{Version: text, Directories: []page.Directory{directory(text)}, Activity: page.Activity{
		Bytes: day(1), Points: day(0),
		Budgets: []page.Budget{{Host: text, Resource: text, Limit: 5000, Left: 4000, Reset: time.Now().Add(time.Hour)}},
	}}
}

func mirrors(list ...page.Mirror) page.Mirrors {
	return page.Mirrors{FreshFor: 15 * time.Minute, All: func(yield func(page.Mirror, error) bool) {
		for _, m := range list {
			if !yield(m, nil) {
				return
			}
		}
	}}
}

func mirror(text string) page.Mirrors {
	p := mirrors(page.Mirror{
		Name: text, Address: "https://x/" + text, Compared: time.Now().Add(-time.Hour), Size: 1,
		Kept: 1, KeptSince: time.Now(),
		Failure: &page.Failure{Message: text, Hint: text, Kind: text, At: time.Now(), Again: time.Now()},
	})
	p.Version = text
	p.Failures = []page.Other{{Name: text, Failure: page.Failure{Message: text, Hint: text, Kind: text}}}
	return p
}

// server has a text wherever there can be one.
func server(text string) page.Server {
	at := time.Now().Add(-time.Hour)
	return page.Server{
		Version: text, Checks: []page.Check{{Name: text, Trouble: text}, {Name: text, Trouble: text, Ready: true}},
		LastMinute: 7, Shared: day(3), Minted: day(1), Refused: day(1), Failed: day(0), Servers: 3,
		Budgets: []page.InstallationBudget{
			{App: text, Installation: 7, Limit: 5000, Left: 4000, Reset: at.Add(2 * time.Hour)},
		},
		Refusals: []page.Refusal{{At: at, Rule: text, Who: text, Reason: text, ID: text}},
	}
}

// Whatever a text is that a server or a repository has chosen, and wherever it stands, the page has
// the same elements, nothing that is not printable, and no address that runs something.
func FuzzTextsBecomeNoMarkup(f *testing.F) {
	for _, text := range []string{
		"x", `"><script>alert(1)</script>`, `' onclick='alert(1)`, `" onclick="alert(1)`, "</style><b>",
		"<!-- ", "{}", "&lt;b&gt;",
		"a\x00b", "\xff\xfe", "\u2028", "javascript:alert(1)", "\x1b[31m", "\u202egpj.exe", strings.Repeat("long ", 5000),
		"two\nlines", "#list", "?q=", "é\u0301",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.TrimSpace(text) == "" {
			t.Skip()
		}
		one := strings.Join(strings.Fields(text), " ") // of one line, as most are
		target := "/?" + url.Values{"q": {text}, "show": {text}, "page": {text}, "still": {text}}.Encode()
		for _, show := range []func(string) page.Page{
			func(s string) page.Page { return sync(s) }, func(s string) page.Page { return mirror(s) },
			func(s string) page.Page { return server(s) },
		} {
			for _, target := range []string{"/", target} {
				elements, _ := skeleton(t, get(t, show(one), target).Body.String())
				want, _ := skeleton(t, get(t, show("x"), strings.ReplaceAll(target, url.QueryEscape(text), "x")).Body.String())
				if target == "/" {
					testkit.Diff(t, elements, want)
				} else if slices.ContainsFunc(elements, func(e string) bool {
					return !slices.Contains(want, e) && e != "meta http-equiv content" && strings.Contains(e, "on")
				}) {
					t.Errorf("%q", elements)
				}
				body := get(t, show(text), target).Body.String()
				testkit.Lacks(t, body, "<script", "href=\"javascript:", "\x1b", "\u202e", "\x00")
				if len(body) > 100_000 {
					t.Errorf("the page has %d bytes", len(body))
				}
			}
		}
	})
}

// The page is all there is, its style is the only thing that its policy lets in, and nobody may keep
// it or show it in a frame.
func TestPageIsSelfContained(t *testing.T) {
	for _, p := range []page.Page{sync("x"), mirror("x"), server("x")} {
		w := get(t, p, "/")
		body := w.Body.String()
		_, style, _ := strings.Cut(body, "<style>")
		style, _, _ = strings.Cut(style, "</style>")
		testkit.Equal(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'; style-src "+markup.Source(style)+
			"; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		testkit.Equal(t, w.Header().Get("Content-Type"), "text/html; charset=utf-8")
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
		} {
			testkit.Equal(t, w.Header().Get(name), want, name)
		}
		testkit.Lacks(t, body, "<script", " style=", "@import", "url(", "<img", "method=\"post\"")
		for _, found := range regexp.MustCompile(`(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			if !slices.ContainsFunc([]string{"?", "#list", "https://x/x", "data:image/svg+xml,"}, func(prefix string) bool {
				return strings.HasPrefix(found[1], prefix)
			}) {
				t.Errorf("leads to %q", found[1])
			}
		}
	}
}

// What is given as the address of a repository runs nothing.
func TestNamesLeadToPages(t *testing.T) {
	y := page.Sync{Directories: []page.Directory{{Name: "x", Address: "javascript:alert(1)"}}}
	for _, p := range []page.Page{y, mirrors(page.Mirror{Name: "x", Address: "javascript:alert(1)"})} {
		body := get(t, p, "/").Body.String()
		testkit.Lacks(t, body, "javascript:")
		testkit.Contains(t, body, `<a href="#" rel="noreferrer">`)
	}
}

// Of a failure to look a stranger is told nothing but that.
func TestWhatCannotBeReadIsNotHalfShown(t *testing.T) {
	broken := page.Mirrors{All: func(yield func(page.Mirror, error) bool) {
		_ = yield(page.Mirror{Name: "acme/site"}, nil) && yield(page.Mirror{}, errors.New("/secret/place: is damaged"))
	}}
	for _, h := range []http.Handler{
		page.Handler(func(context.Context) (page.Page, error) { return broken, nil }),
		page.Handler(func(context.Context) (page.Page, error) { return nil, errors.New("/secret/place: is damaged") }),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		testkit.Equal(t, w.Code, http.StatusInternalServerError)
		testkit.Equal(t, w.Body.String(), "the status cannot be read; the log says why\n")
	}
}

func TestDirectoriesAreShownWorstFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		well := page.Directory{
			Name: "b-well", Repository: "acme/well", Wanted: "branch main", Path: "/srv/well", Release: "000003-1f7a7a472abf",
			Commit: "1f7a7a472abf0123", Published: now.Add(-49 * time.Hour), Succeeded: now.Add(-5 * time.Second),
			Period: time.Minute,
			Releases: []page.Release{
				{ID: "000003-1f7a7a472abf", Commit: "1f7a7a472abf0123", Published: now.Add(-49 * time.Hour)},
				{ID: "000002-c0ffee", Commit: "c0ffee", Published: now.Add(-500 * time.Hour)},
			},
		}
		bad, heldBack, exec := well, well, well
		bad.Name, bad.Failure = "z-bad", &page.Failure{Message: "cannot fetch\nsecond line", Hint: "mend it", Kind: "offline",
			At: now.Add(-2 * time.Minute), Again: now.Add(3 * time.Minute)}
		heldBack.Name, heldBack.Held, heldBack.HeldSince = "a-held", []string{"c0ffee"}, now.Add(-time.Hour)
		early := page.Directory{Name: "early", Repository: "acme/early", Wanted: "tag v1", Period: time.Minute, Busy: true}
		exec.Name, exec.ExecFailures = "exec", 2
		text := read(t, page.Sync{Version: "1.2.3", Directories: []page.Directory{well, bad, heldBack, early, exec}}, "/")
		at := 0
		for _, want := range []string{
			"ghapp sync 1.2.3", "refreshes every 30 s · Stop", "2 of 5 directories are failing", "1 up to date", "2 failing",
			"Directories", "exec Failing", "The command after the release has failed 2 times in a row; it is tried again.",
			"z-bad Failing acme/well · branch main",
			"Commit 1f7a7a472abf Published 2 days ago Last good pass 5 s ago Asked every 1 min",
			"Directory /srv/well", "cannot fetch second line mend it failed 2 min ago · tried again in 3 min · offline",
			"2 releases kept", "000003 1f7a7a472abf 2 days ago published", "000002 c0ffee 20 days ago kept",
			"a-held Held", "Rolled back 1 h ago; not published until the branch moves on: c0ffee",
			"000002 c0ffee 20 days ago held",
			"early Not published yet", "Commit none Published never Last good pass none since the start", "publishing now",
			"b-well Up to date",
		} {
			i := strings.Index(text[at:], want)
			if i < 0 {
				t.Fatalf("%q is not read there:\n%s", want, text[at:])
			}
			at += i
		}
		text = read(t, page.Sync{Directories: []page.Directory{well, bad}}, "/?q=B-WELL&still=1")
		testkit.Contains(t, text, "1 of 2 directories", "stands still · Refresh", "b-well Up to date")
		testkit.Lacks(t, text, "z-bad")
		testkit.Contains(t, read(t, page.Sync{Directories: []page.Directory{well}}, "/"), "The directory is up to date")
		testkit.Contains(t, read(t, page.Sync{}, "/"), "No directory is kept")
		well.Succeeded, well.Period = now, 200*time.Millisecond
		well.Failure = &page.Failure{Message: "x", At: now, Again: now}
		well.ExecFailures = 1
		text = read(t, page.Sync{Directories: []page.Directory{well}}, "/")
		testkit.Contains(t, text, "The directory is failing", "Last good pass just now Asked every 200 ms",
			"failed just now · tried again now")
		testkit.Lacks(t, text, "times in a row", "The command after")
	})
}

func TestMirrorsAreCountedAndFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		var list []page.Mirror
		for i := range 1234 {
			m := page.Mirror{Name: fmt.Sprintf("acme/r%04d", i), Size: 1e6}
			m.Compared = now.Add(-time.Duration(i%100) * time.Second)
			switch i {
			case 100, 200:
				m.Compared = now.Add(-2 * time.Hour)
				m.Failure = &page.Failure{Message: "cannot fetch " + m.Name, Hint: "wait", Kind: "offline",
					At: now.Add(-time.Duration(i) * time.Second), Again: now.Add(time.Duration(i) * time.Minute)}
			case 300:
				m.Failure, m.Compared = &page.Failure{Message: "another cause"}, time.Time{}
			case 400:
				m.Compared = now.Add(-16 * time.Minute)
			case 500:
				m.Compared = time.Time{}
			case 600:
				m.Reason = "not-selected"
				m.Gone, m.Kept, m.KeptSince = now.Add(-72*time.Hour), 3, time.Date(1999, 12, 24, 0, 0, 0, 0, time.UTC)
			}
			list = append(list, m)
		}
		p := mirrors(list...)
		text := read(t, p, "/")
		testkit.Contains(t, text, "1,228 of 1,233 mirrors are current", "1,228 current", "1 stale", "3 failed",
			"1 waiting",
			"1 gone, and kept", "1.1 GiB on the disk", "3 refs of left-behind history kept in 1 mirror",
			"2 mirrors acme/r0100, acme/r0200 cannot fetch acme/r0100 wait failed 1 min ago · tried again in 1 h · offline",
			"1 mirror acme/r0300 another cause",
			"The stalest Mirror As on GitHub State Why acme/r0300 never failed another cause "+
				"acme/r0100 2 h ago failed cannot fetch acme/r0100 acme/r0200 2 h ago failed cannot fetch acme/r0200 "+
				"acme/r0400 16 min ago stale – acme/r0099 1 min ago current –",
			"1,234 of 1,234 mirrors", "acme/r0049", "Previous page 1 of 25 Next")
		_, stalest, _ := strings.Cut(text, "The stalest")
		stalest, all, _ := strings.Cut(stalest, "any state")
		testkit.Equal(t, strings.Count(stalest, "acme/r"), 10+2 /* in the reasons */, stalest)
		testkit.Equal(t, strings.Count(all, "acme/r"), 50, all)

		for target, want := range map[string]string{
			"/?q=R0600": "1 of 1,234 mirrors Mirror State As on GitHub Size Kept history " +
				"acme/r0600 gone, and kept not-selected 3 days ago",
			"/?q=r060&page=1":          "10 of 1,234 mirrors",
			"/?show=failing":           "3 of 1,234 mirrors",
			"/?show=failing&q=r01":     "1 of 1,234 mirrors",
			"/?page=25":                "Previous page 25 of 25 Next",
			"/?page=-1":                "Previous page 1 of 25 Next",
			"/?page=99999999999999999": "Previous page 25 of 25 Next",
			"/?q=nowhere":              "0 of 1,234 mirrors",
			"/?show=nothing":           "0 of 1,234 mirrors",
		} {
			testkit.Contains(t, read(t, p, target), want)
		}
		testkit.Contains(t, read(t, p, "/?q=r0600"), "3 refs since 24 Dec 1999")
		body := get(t, p, "/?q=r0&page=2&still=1").Body.String()
		testkit.Contains(t, body, `href="?page=3&amp;q=r0&amp;still=1#list"`, `href="?q=r0&amp;still=1#list"`, `value="r0"`)
		testkit.Lacks(t, body, "http-equiv=\"refresh\"")
		testkit.Contains(t, get(t, p, "/?q=r0").Body.String(), `<meta http-equiv="refresh" content="30">`)
	})
}

// Where an owner or a directory fails, no page says that all is well.
func TestFailuresOfWhatIsNoMirrorAreShown(t *testing.T) {
	failed := []page.Other{{Name: "other", Failure: page.Failure{Message: "not installed", Hint: "install it"}}}
	well := page.Mirror{Name: "acme/site", Compared: time.Now()}
	p := mirrors(well)
	testkit.Contains(t, read(t, p, "/"), "The mirror is current")
	p.Failures = failed
	text := read(t, p, "/")
	testkit.Contains(t, text, "1 of 1 mirror is current, and 1 other failure", "other not installed install it")
	none := mirrors()
	none.Failures = failed
	testkit.Contains(t, read(t, none, "/"), "0 of 0 mirrors are current, and 1 other failure", "install it")
}

func TestServerTellsWhatIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		well := page.Server{
			Version: "1.2.3", Checks: []page.Check{{Name: "audit"}, {Name: "engine"}}, LastMinute: 1200,
			Shared: day(970), Minted: day(20), Refused: day(10), Failed: day(0), Servers: 3,
			Budgets: []page.InstallationBudget{
				{App: "github.com/Iv1", Installation: 42, Limit: 15000, Left: 14210, Reset: now.Add(42 * time.Minute)},
			},
		}
		text := read(t, well, "/")
		testkit.Contains(t, text, "ghapp-server 1.2.3", "Tokens are handed out",
			"93,120 shared 1,920 minted 960 refused",
			"1,200 exchanges in the last minute", "97% of the tokens of the last day were shared",
			"3 servers share the work", "audit well –", "Exchanges 96,000", "Refused and failed 960",
			"Installation 42 github.com/Iv1 14,210 of 15,000 left all again in 42 min", "is not told here; the audit has it")
		testkit.Lacks(t, text, "failed 0")

		bad := well
		bad.Checks = []page.Check{
			{Name: "audit", Trouble: "the disk is full"}, {Name: "policy", Trouble: "line 3", Ready: true},
		}
		bad.RefusalsAt = "refusals"
		text = read(t, bad, "/")
		testkit.Contains(t, text, "Not ready: audit", "audit not ready the disk is full", "policy to be mended line 3",
			"to who has the token of the status")
		bad.Checks = bad.Checks[1:]
		testkit.Contains(t, read(t, bad, "/"), "not everything is well: policy")

		bad.Refusals = []page.Refusal{
			{At: now.Add(-2 * time.Minute), Who: "https://ci repo:acme/site", Reason: "no rule", ID: "AB12"},
		}
		testkit.Contains(t, read(t, bad, "/"), "https://ci repo:acme/site 2 min ago refused – no rule AB12")
		bad.Refusals = []page.Refusal{}
		testkit.Contains(t, read(t, bad, "/"), "None since the start.")
		testkit.Contains(t, read(t, page.Server{}, "/"), "0 exchanges in the last minute")
	})
}

// The bar of a budget is as long as what is left of it, and an answer that makes no sense breaks nothing.
func TestBudgetsAreDrawnAsWhatIsLeft(t *testing.T) {
	for _, b := range []struct {
		left, limit int64
		want        string
	}{
		{4000, 5000, `<rect class="good" x="0.0" width="800.0"`},
		{1000, 5000, `<rect class="warn" x="0.0" width="200.0"`},
		{100, 5000, `<rect class="bad" x="0.0" width="20.0"`},
		{0, 5000, `<rect class="plain" x="0.0" width="1000.0"`},
		{9000, 5000, `<rect class="good" x="0.0" width="1000.0"`},
		{-5, 5000, `<rect class="plain" x="0.0" width="1000.0"`},
		{0, 0, "0 of 0 left"},
	} {
		p := page.Server{Budgets: []page.InstallationBudget{{Installation: 1, Left: b.left, Limit: b.limit}}}
		testkit.Contains(t, get(t, p, "/").Body.String(), b.want)
	}
}

// A page of a hundred thousand mirrors keeps only those that it shows.
func TestManyMirrorsAreGoneThroughOnce(t *testing.T) {
	p := page.Mirrors{FreshFor: time.Hour, All: func(yield func(page.Mirror, error) bool) {
		m := page.Mirror{Name: "acme/one-of-many", Compared: time.Now(), Failure: &page.Failure{Kind: "offline"}}
		for range 100_000 {
			if !yield(m, nil) {
				return
			}
		}
	}}
	allocated := testing.AllocsPerRun(1, func() { get(t, p, "/?q=one") })
	if allocated > 20_000 {
		t.Errorf("%.0f allocations", allocated)
	}
}

func BenchmarkMirrors100000(b *testing.B) {
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("Acme/Repository-%06d", i)
	}
	p := page.Mirrors{FreshFor: time.Hour, All: func(yield func(page.Mirror, error) bool) {
		now := time.Now()
		for i := range names {
			if !yield(page.Mirror{Name: names[i], Compared: now.Add(-time.Duration(i)), Size: 1}, nil) {
				return
			}
		}
	}}
	h := page.Handler(func(context.Context) (page.Page, error) { return p, nil })
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/?q=repository-0999", nil))
	}
}
