package setup

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/markup"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// stillWorks fails unless the flow can be gone through as if nothing had happened.
func (f *served) stillWorks(b *browser, state string) {
	f.t.Helper()
	f.registered <- nil
	if s := b.get(f.back(state), fromGitHub...); s.status != http.StatusSeeOther {
		f.t.Errorf("afterwards the code is answered with %d:\n%s", s.status, s.text)
	}
	testkit.Equal(f.t, <-f.traded, code, "afterwards the code")
}

// Each request here is one that a person on the way does not send. None is answered
// with what it asks for, none changes anything, and each is told what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f, b := serve(t, nil), newBrowser(t)
	f.run(t.Context())
	host := strings.TrimPrefix(f.address, "http://")
	_, port, _ := strings.Cut(host, ":")
	state := f.begin(b)
	good := strings.TrimPrefix(f.back(state), f.address)
	other := newBrowser(t)
	otherState := f.begin(other)

	for name, test := range map[string]struct {
		browser *browser
		method  string
		path    string
		headers []string
		status  int
		says    string
	}{
		"another name that leads here": {b, "GET", good,
			[]string{"Host: evil.example:" + port}, 421, "Open " + f.address},
		"localhost":              {b, "GET", "/", []string{"Host: localhost:" + port}, 421, "Open " + f.address},
		"another port":           {b, "GET", good, []string{"Host: 127.0.0.1:1"}, 421, "Open " + f.address},
		"no port":                {b, "GET", good, []string{"Host: 127.0.0.1"}, 421, "Open " + f.address},
		"POST":                   {b, "POST", good, nil, 405, "only to be looked at"},
		"HEAD":                   {b, "HEAD", "/", nil, 405, ""},
		"OPTIONS":                {b, "OPTIONS", "/", nil, 405, "only to be looked at"},
		"PUT":                    {b, "PUT", "/", nil, 405, "only to be looked at"},
		"a link of another site": {newBrowser(t), "GET", "/", fromGitHub, 403, "Go on with the setup"},
		"a link of another port": {newBrowser(t), "GET", "/", []string{"Sec-Fetch-Site: same-site",
			"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403, "Go on with the setup"},
		"a script of another site": {b, "GET", good, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors",
			"Sec-Fetch-Dest: empty", "Origin: https://evil.example"}, 403, "Another page asked"},
		"a script of an old browser": {b, "GET", good,
			[]string{"Origin: https://evil.example"}, 403, "Another page asked"},
		"a script of this page": {b, "GET", good,
			[]string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, 403, "Another page asked"},
		"a mode that is no navigation": {b, "GET", good,
			[]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403, "Another page asked"},
		"an image": {b, "GET", good, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors",
			"Sec-Fetch-Dest: image"}, 403, "Another page asked"},
		"a frame": {b, "GET", good, []string{"Sec-Fetch-Site: cross-site",
			"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403, "Another page asked"},
		"a forged state": {b, "GET", "/created?code=" + code + "&state=" + strings.Repeat("A", len(state)),
			fromGitHub, 403, "another state than the one"},
		"part of the state": {b, "GET", "/created?code=" + code + "&state=" + state[:10], fromGitHub, 403,
			"another state than the one"},
		"no state": {b, "GET", "/created?code=" + code, fromGitHub, 403,
			"another state than the one"},
		"a second state in front": {b, "GET", "/created?state=x&code=" + code + "&state=" + state, fromGitHub, 403,
			"another state than the one"},
		"another browser's state": {b, "GET", "/created?code=" + code + "&state=" + otherState, fromGitHub,
			403, "begun in another browser"},
		"the state in another browser":    {other, "GET", good, fromGitHub, 403, "begun in another browser"},
		"the state in one without a turn": {newBrowser(t), "GET", good, fromGitHub, 403, "begun in another browser"},
		"no code":                         {b, "GET", "/created?state=" + state, fromGitHub, 400, "no code in the address"},
		"a code that leaves its path": {b, "GET", "/created?code=" + url.QueryEscape("../../user") + "&state=" + state,
			fromGitHub, 400, "no code in the address"},
		"a code with a query": {b, "GET", "/created?code=" + url.QueryEscape("abcdefgh?x=y") + "&state=" + state,
			fromGitHub, 400, "no code in the address"},
		"another path": {b, "GET", "/favicon.ico", nil, 404, "one page"},
		"a path that becomes a known one": {b, "GET",
			"//created?code=" + code + "&state=" + state, fromGitHub, 404, "one page"},
		"a path that is written otherwise": {b, "GET",
			"/x/../created?code=" + code + "&state=" + state, fromGitHub, 404, "one page"},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.browser.send(test.method, f.address+test.path, test.headers...)
			testkit.Equal(t, s.status, test.status)
			testkit.Contains(t, s.text, test.says)
			testkit.Lacks(t, s.text, state, otherState, code)
			testkit.Equal(t, s.header.Get("Location"), "")
			testkit.Equal(t, len(f.traded), 0)
		})
	}
	f.stillWorks(b, state)
}

func TestACodeIsTakenOnce(t *testing.T) {
	t.Parallel()
	f, b := serve(t, nil), newBrowser(t)
	other := newBrowser(t)
	f.run(t.Context())
	state, otherState := f.begin(b), f.begin(other)
	f.stillWorks(b, state)
	for name, s := range map[string]seen{
		"again":                      b.get(f.back(state), fromGitHub...),
		"with another browser's own": other.get(f.back(otherState), fromGitHub...),
	} {
		if s.status != http.StatusGone || !strings.Contains(s.text, "This answer has been used") {
			t.Errorf("%s: status %d\n%s", name, s.status, s.text)
		}
	}
	testkit.Equal(t, len(f.traded), 0, "codes more were traded")
	// The first page has no form any more, for anybody.
	testkit.Lacks(t, newBrowser(t).get(f.address+"/", typed...).text, "<form")
}

func TestEveryBrowserHasAStateOfItsOwn(t *testing.T) {
	t.Parallel()
	f := serve(t, nil)
	states := map[string]bool{}
	for range maxTurns {
		b := newBrowser(t)
		first := f.begin(b)
		if states[first] || len(first) < 26 {
			t.Errorf("state %q", first)
		}
		states[first] = true
		testkit.Equal(t, f.begin(b), first, "a browser that looks again has the state")
	}
	if s := newBrowser(t).get(f.address+"/", typed...); s.status != 503 || !strings.Contains(s.text, "start it again") {
		t.Errorf("one browser more: status %d\n%s", s.status, s.text)
	}
}

func TestTheCookieIsForThisPortAndNoScript(t *testing.T) {
	t.Parallel()
	f := serve(t, nil)
	s := newBrowser(t).get(f.address+"/", typed...)
	_, port, _ := strings.Cut(strings.TrimPrefix(f.address, "http://"), ":")
	if !regexp.MustCompile(`^ghapp-setup-` + port +
		`=[A-Z2-7]{26}; Path=/; HttpOnly; SameSite=Lax$`).MatchString(s.header.Get("Set-Cookie")) {
		t.Errorf("Set-Cookie: %s", s.header.Get("Set-Cookie"))
	}
}

var elementPattern = regexp.MustCompile(`(?s)<(style|script)>(.*?)</`)

func TestEveryAnswerIsKeptToItself(t *testing.T) {
	t.Parallel()
	f, b := serve(t, nil), newBrowser(t)
	f.run(t.Context())
	state := f.begin(b)
	pages := map[string]seen{
		"first":   newBrowser(t).get(f.address+"/", typed...),
		"again":   b.get(f.address+"/", typed...),
		"refused": b.get(f.address+"/", "Host: evil.example"),
		"absent":  b.get(f.address + "/x"),
	}
	f.registered <- nil
	pages["redirect"] = b.get(f.back(state), fromGitHub...)
	pages["waiting"] = b.get(f.address+"/", typed...)
	want := map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy":            "strict-origin",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	}
	for name, s := range pages {
		for header, value := range want {
			testkit.Equal(t, s.header.Get(header), value, "%s: %s", name, header)
		}
		policy := s.header.Get("Content-Security-Policy")
		for _, directive := range []string{"default-src 'none'", "form-action " + origin, "base-uri 'none'",
			"frame-ancestors 'none'", "img-src data:"} {
			if !strings.Contains(policy+";", directive+";") {
				t.Errorf("%s: no %q in %q", name, directive, policy)
			}
		}
		elements := elementPattern.FindAllStringSubmatch(s.text, -1)
		if name != "redirect" && len(elements) == 0 {
			t.Errorf("%s: no style", name)
		}
		for _, element := range elements {
			if !strings.Contains(policy, element[1]+"-src "+markup.Source(element[2])) {
				t.Errorf("%s: the policy does not allow its own %s: %s", name, element[1], policy)
			}
		}
	}
}

func TestTheFormSendsItselfOnce(t *testing.T) {
	t.Parallel()
	f, b := serve(t, nil), newBrowser(t)
	first, again := b.get(f.address+"/", typed...), b.get(f.address+"/", typed...)
	testkit.Contains(t, first.text, scriptText)
	testkit.Lacks(t, again.text, "<script")
	testkit.Contains(t, again.text, `<button type="submit">Continue on github.example</button>`)
}

// The code opens the App's key, and the state stands for this person.
func TestNoSecretOfTheFlowIsLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := serve(t, nil, func(f *Flow) {
		f.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	b := newBrowser(t)
	f.run(t.Context())
	state := f.begin(b)
	b.get(f.address + "/created?code=" + code + "&state=x")
	b.get(f.back(state), "Host: evil.example")
	b.get(strings.Replace(f.back(state), "created", "nowhere", 1))
	f.stillWorks(b, state)
	b.get(f.back(state), fromGitHub...)
	if text := log.String(); strings.Count(text, "refused") < 3 || strings.Contains(text, state) ||
		strings.Contains(text, code) {
		t.Errorf("the log:\n%s", text)
	}
}

func TestWhatComesFromElsewhereIsText(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Name, p.KeyPlace, p.Organization = `<script>alert(1)</script>`, `"><b>`, "a b/../c?d"
	f := New(p, newSide().steps(), nil, nil)
	f.address = "http://127.0.0.1:8765"
	testkit.Lacks(t, f.startPage("s", false).render(), "<script>alert", `"><b>`)
	testkit.Equal(t, f.newAppURL("s"), origin+"/organizations/a%20b%2F..%2Fc%3Fd/settings/apps/new?state=s")
}
