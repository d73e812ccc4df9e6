package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestNextLink(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"none", nil, ""}, {"empty", []string{""}, ""},
		{"GitHub's first page", []string{
			`<https://api.github.com/app/installations?page=2>; rel="next", <https://api.github.com/app/installations?page=9>; rel="last"`},
			"https://api.github.com/app/installations?page=2"},
		{"GitHub's middle page", []string{
			`<https://h/x?page=1>; rel="prev", <https://h/x?page=3>; rel="next", <https://h/x?page=9>; rel="last", <https://h/x?page=1>; rel="first"`},
			"https://h/x?page=3"},
		{"last page", []string{`<https://h/x?page=1>; rel="prev", <https://h/x?page=1>; rel="first"`}, ""},
		{"several headers", []string{`<https://h/1>; rel="prev"`, `<https://h/3>; rel="next"`}, "https://h/3"},
		{"no blanks", []string{`<https://h/1>;rel="prev",<https://h/3>;rel="next"`}, "https://h/3"},
		{"mixed separators",
			[]string{`<https://h/1>; rel="prev", <https://h/3>; rel="next",<https://h/9>; rel="last"`}, "https://h/3"},
		{"many blanks", []string{"<https://h/1>; rel=\"prev\" ,\t <https://h/3> ; rel = \"next\" "}, "https://h/3"},
		{"token instead of string", []string{`<https://h/3>; rel=next`}, "https://h/3"},
		{"letter case", []string{`<https://h/3>; REL="Next"`}, "https://h/3"},
		{"several relations", []string{`<https://h/3>; rel="last next"`}, "https://h/3"},
		{"comma and semicolon in the target", []string{`<https://h/3?a=1,2;b>; rel="next"`}, "https://h/3?a=1,2;b"},
		{"other parameters", []string{`<https://h/3>; title="x"; rel="next"`}, "https://h/3"},
		{"a word that holds next", []string{`<https://h/3>; rel="nextish"`}, ""},
		{"next is the target's word only", []string{`<https://h/next>; rel="prev"`}, ""},
		{"unclosed", []string{`<https://h/3; rel="next"`}, ""}, {"garbage", []string{`rel="next"`, ">;<", "<", ",,;"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			testkit.Equal(t, link(http.Header{"Link": test.lines}, "next"), test.want)
		})
	}
}

func TestNextPageStaysOnTheAPI(t *testing.T) {
	c := newClient(t, nil)
	for target, want := range map[string]string{
		"https://ghes.example/api/v3/app/installations?page=2": "/app/installations?page=2",
		"/api/v3/app/installations?page=2":                     "/app/installations?page=2",
		"?page=2":                                              "/app/installations?page=2",
		"https://ghes.example/api/v3/a%2Fb?q=%20":              "/a%2Fb?q=%20",
		// a path, see TestTwoSlashesDoNotNameAHost
		"https://ghes.example/api/v3//evil.example/x": "//evil.example/x",
	} {
		got, err := page(t, c, target)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", target, got, err, want)
		}
	}
	for _, target := range elsewhere {
		_, err := page(t, c, target)
		if redirect, ok := errors.AsType[*RedirectError](err); !ok || redirect.To == redirect.From {
			t.Errorf("%s: error %v, want a RedirectError", target, err)
		}
	}
	for _, target := range []string{"https://ghes.example/evil", "/api/v3x/y", "https://ghes.example/api/v3/../../x",
		"https://ghes.example/api/v3", "%zz"} {
		_, err := page(t, c, target)
		if _, ok := errors.AsType[*BodyError](err); !ok {
			t.Errorf("%s: error %v, want a BodyError", target, err)
		}
	}
}

func page(t testing.TB, c *Client, target string) (string, error) {
	t.Helper()
	here := testkit.Must(url.Parse("https://ghes.example/api/v3/app/installations?per_page=100"))(t)
	return c.nextPage(&response{here, http.Header{"Link": {"<" + target + `>; rel="next"`}}})
}

func FuzzNextLink(f *testing.F) {
	for _, seed := range []string{
		`<https://ghes.example/api/v3/x?page=2>; rel="next", <https://h/x>; rel="last"`,
		`<//evil.example/x>; rel=next`, `<>;rel=next`,
		`<https://ghes.example/api/v3//evil.example>; rel=next`, `<?page=2>; rel="last next"`, `<<>>;;,,`, `<http://[::1`,
		`</api/v3/%2F..%2f>;rel=next`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		target := link(http.Header{"Link": {line}}, "next")
		if !strings.Contains(line, "<"+target+">") && target != "" {
			t.Errorf("%q does not stand in %q", target, line)
		}
		c := newClient(t, nil)
		path, err := page(t, c, target)
		if err != nil || path == "" {
			return
		}
		// Whatever the server says, the next request goes to the API's own host.
		req, err := c.build(t.Context(), request{method: "GET", path: path})
		if err == nil && (origin(req.URL) != "https://ghes.example" ||
			!strings.HasPrefix(req.URL.EscapedPath(), "/api/v3/")) {
			t.Errorf("%q leads to %s", line, req.URL)
		}
	})
}

func TestPagesThatDoNotEndAreLeft(t *testing.T) {
	item := func(n int) string { return fmt.Sprintf(`{"id":%d}`, n+1) }
	full := "[" + item(0) + strings.Repeat(","+item(1), PerPage-1) + "]"
	for name, test := range map[string]struct {
		body, last string
		slow       time.Duration
		most       int // pages
	}{
		"nothing said":            {body: full, most: maxPages},
		"empty pages":             {body: "[]", most: maxPages},
		"more than the last page": {body: full, last: "?page=3", most: 8},
		"a last page of years":    {body: "[]", last: "?page=99999999", most: maxPages},
		"a last page at the cap":  {body: "[]", last: "?page=1000", most: maxPages},
		"a last page for ever":    {body: "[]", last: "?page=9223372036854775807", most: maxPages},
		"a last page below zero":  {body: "[]", last: "?page=-4", most: maxPages},
		"slow":                    {body: "[]", slow: 20 * time.Second, most: 31},
		"long pages": {body: strings.TrimSuffix(full, "]") +
			strings.Repeat(","+item(2), 40*PerPage) + "]", most: 25},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				w := &wire{handler: func(rw http.ResponseWriter, r *http.Request) {
					asked++
					time.Sleep(test.slow)
					links := fmt.Sprintf(`<?page=%d>; rel="next"`, asked+1)
					if test.last != "" {
						links += `, <` + test.last + `>; rel="last"`
					}
					says(200, test.body, "Link", links)(rw, r)
				}}
				var err error
				for _, err = range newClient(t, w).Installations(t.Context(), nil) {
				}
				if _, ok := errors.AsType[*BodyError](err); !ok || !strings.Contains(err.Error(), "do not end") ||
					asked != test.most {
					t.Errorf("%d pages, error %v; want %d", asked, err, test.most)
				}
			})
		})
	}
}

func TestPagesEndWhereTheHostsOwnCountIsFarPassed(t *testing.T) {
	asked := 0
	w := &wire{handler: func(rw http.ResponseWriter, r *http.Request) {
		asked++
		says(200, `{"total_count":120,"repositories":[{"id":1},{"id":2}]}`, "Link",
			fmt.Sprintf(`<?page=%d>; rel="next"`, asked+1))(rw, r)
	}}
	var err error
	for _, err = range newClient(t, w).Repositories(t.Context(), secret.New(canary)) {
	}
	if _, ok := errors.AsType[*BodyError](err); !ok || asked != 4 {
		t.Errorf("%d pages, error %v; want 4 for 120 entries", asked, err)
	}
}
