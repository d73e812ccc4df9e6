package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/ghapp-dev/ghapp/internal/page"
)

// activity is that of a day with a night in it.
func activity() page.Activity {
	var a page.Activity
	for i := range 96 {
		day := math.Max(0, math.Sin(float64(i-20)/96*2*math.Pi)) * (1 + 0.6*math.Sin(float64(i*i)))
		a.Bytes = append(a.Bytes, int64(day*42e6))
		a.Points = append(a.Points, int64(12+day*90))
	}
	a.Budgets = []page.Budget{
		{Host: "api.github.com", Resource: "core", Limit: 15000, Left: 14210, Reset: time.Now().Add(42 * time.Minute)},
		{Host: "api.github.com", Resource: "graphql", Limit: 12500, Left: 12388, Reset: time.Now().Add(42 * time.Minute)},
	}
	return a
}

// hostile is a text of somebody who wants more of the page than to be read.
const hostile = "</p><script>alert(1)</script><b>\u202eevil\x1b[31m\" onmouseover=\"alert(1)"

func commit(digit string) string { return strings.Repeat(digit, 40) }

// directories are one in each state.
func directories() page.Sync {
	now := time.Now()
	releases := []page.Release{
		{ID: "000042-1f7a7a472abf", Commit: commit("1f7a"), Published: now.Add(-3 * time.Hour)},
		{ID: "000041-c0ffeec0ffee", Commit: commit("c0ff"), Published: now.Add(-76 * time.Hour)},
		{ID: "000040-0ddba11c0ffe", Commit: commit("0dda"), Published: now.Add(-26 * 24 * time.Hour)},
	}
	of := func(name, repository string) page.Directory {
		return page.Directory{
			Name: name, Repository: repository, Address: "https://github.example/" + repository, Wanted: "branch main",
			Path: "/srv/www/" + name, Release: releases[0].ID, Commit: releases[0].Commit, Published: releases[0].Published,
			Succeeded: now.Add(-23 * time.Second), Period: time.Minute, Releases: releases,
		}
	}
	failing, held := of("shop", "acme/shop"), of("docs", "acme/handbook")
	exec := of("api", "acme/api-gateway-with-quite-a-long-name-indeed")
	failing.Succeeded = now.Add(-47 * time.Minute)
	failing.Failure = &page.Failure{
		Message: "cannot mint an installation access token for acme/shop: the repository is not among those selected",
		Hint:    "add the repository to the installation: https://github.com/organizations/acme/settings/installations/7",
		Kind:    "repository-not-selected", At: now.Add(-4 * time.Minute), Again: now.Add(11 * time.Minute),
	}
	held.Wanted, held.Held, held.HeldSince = "version v2", []string{commit("c0ff")}, now.Add(-2*time.Hour)
	held.Release, held.Commit = releases[1].ID, releases[1].Commit
	fresh := page.Directory{Name: "beta", Repository: "acme/site", Wanted: "branch next", Path: "/srv/www/beta",
		Period: 5 * time.Minute, Busy: true}
	exec.ExecFailures = 3
	evil := of(hostile, hostile)
	evil.Address, evil.Path, evil.Wanted = "javascript:alert(1)", hostile, hostile
	return page.Sync{
		Version: "1.4.0", Activity: activity(),
		Directories: []page.Directory{of("site", "acme/site"), failing, held, fresh, exec, of("blog", "acme/blog"), evil},
	}
}

// mirrors are so many, of which some are not well.
func mirrors(n int) page.Mirrors {
	now := time.Now()
	words := []string{"site", "shop", "gateway", "billing", "ledger", "search", "infra", "mobile", "docs", "tools"}
	all := func(yield func(page.Mirror, error) bool) {
		for i := range n {
			m := page.Mirror{
				Name: fmt.Sprintf("acme/%s-%05d", words[i%10], i), Size: int64(i%977) * 310_000,
				Compared: now.Add(-time.Duration(i%290) * time.Second),
			}
			m.Address = "https://github.example/" + m.Name
			if i%7 == 0 {
				m.Kept, m.KeptSince = i%13+1, now.Add(-time.Duration(i%90)*24*time.Hour)
			}
			switch {
			case i%1999 == 3:
				m.Compared = now.Add(-26 * time.Hour)
				m.Failure = &page.Failure{
					Message: "cannot fetch " + m.Name + ": the pack has an object that git's fsck refuses: missingSpaceBeforeDate",
					Hint:    "have the history mended, or let this one pass with fsck_ignore", Kind: "fsck-refused",
					At: now.Add(-9 * time.Minute), Again: now.Add(51 * time.Minute),
				}
			case i%3001 == 11:
				m.Compared = now.Add(-3 * time.Hour)
				m.Failure = &page.Failure{Message: m.Name + " is blocked (451): " + hostile,
					Hint: "the mirror is kept as it was", Kind: "blocked", At: now.Add(-20 * time.Minute)}
			case i%997 == 5:
				m.Compared = now.Add(-31 * time.Minute)
			case i%1201 == 6:
				m.Compared = time.Time{}
			case i%1301 == 7:
				m.Gone, m.Reason = now.Add(-50*time.Hour), "not-selected"
			}
			if !yield(m, nil) {
				return
			}
		}
	}
	return page.Mirrors{Version: "1.4.0", All: all, FreshFor: 15 * time.Minute, Busy: 4, Activity: activity()}
}

// exchanging is a server at which something is amiss, for a reader who may see all.
func exchanging() page.Server {
	const app = "github.example/Iv23liABCDEFGHIJKLMN"
	now := time.Now()
	s := page.Server{
		Version: "1.4.0", LastMinute: 1240, Servers: 3,
		Checks: []page.Check{
			{Name: "audit"}, {Name: "policy", Trouble: "its file cannot be used; the one before is in force", Ready: true},
			{Name: "engine", Trouble: "the bucket ghapp_kept has 2 copies that are current, of 3: " + hostile}, {Name: "Apps"},
		},
		Budgets: []page.InstallationBudget{
			{App: app, Installation: 48213377, Limit: 15000, Left: 14210, Reset: now.Add(42 * time.Minute)},
			{App: app, Installation: 48213378, Limit: 12500, Left: 2210, Reset: now.Add(3 * time.Minute)},
			{App: hostile, Installation: 7, Limit: 5000, Left: 12, Reset: now.Add(51 * time.Minute)},
		},
		Refusals: []page.Refusal{
			{At: now.Add(-3 * time.Second),
				Who:    "https://token.actions.githubusercontent.com repo:acme/site:ref:refs/heads/main",
				Reason: "no rule is about this caller", ID: "Q7ZKXN2M4P6RJ5TWB3YHVD8CGE"},
			{At: now.Add(-70 * time.Minute), Failed: true, Rule: "deploy-the-site-to-production-from-its-main-branch",
				Who: hostile, Reason: hostile, ID: "M4P6RJ5TWB3YHVD8CGEQ7ZKXN2"},
		},
	}
	for i := range 96 {
		day := math.Max(0, math.Sin(float64(i-20)/96*2*math.Pi)) * (1 + 0.6*math.Sin(float64(i*i)))
		s.Shared, s.Minted = append(s.Shared, int64(40+day*9000)), append(s.Minted, int64(2+day*90))
		s.Refused, s.Failed = append(s.Refused, int64(day*30)), append(s.Failed, int64(i%31/30))
	}
	return s
}

// shows serves a page.
func shows(t *testing.T, p page.Page) (address string) {
	t.Helper()
	server := httptest.NewServer(page.Handler(func(context.Context) (page.Page, error) { return p, nil }))
	t.Cleanup(server.Close)
	return server.URL
}

// All pages of status, in all ways to look at them. Nothing on them needs JavaScript.
func TestStatusPages(t *testing.T) {
	b := newTab(t)
	b.scripts(false)
	for _, p := range []struct {
		name, title string
		page        page.Page
	}{
		{"sync", "2 of 7 directories are failing – ghapp sync", directories()},
		{"mirror", "9,", mirrors(10_000)},
		{"server", "Not ready: engine – ghapp-server", exchanging()},
		{"mirror-none", "Nothing is mirrored yet – ghapp mirror", mirrors(0)},
	} {
		t.Run(p.name, func(t *testing.T) {
			b.t = t
			b.open(shows(t, p.page) + "/?still=1")
			background := map[string]bool{}
			for _, width := range []int64{1400, 360} {
				for _, scheme := range []string{"light", "dark"} {
					b.do(chromedp.EmulateViewport(width, 900))
					b.prefer(scheme, "reduce")
					b.photograph(fmt.Sprintf("status-%s-%s-%d", p.name, scheme, width))
					for _, fault := range eval[[]string](b, faults) {
						t.Errorf("%s, %d wide: %s", scheme, width, fault)
					}
					background[eval[string](b, `getComputedStyle(document.body).backgroundColor`)] = true
				}
			}
			if len(background) != 2 {
				t.Errorf("light and dark are %v", background)
			}
			if got := eval[string](b, `document.title`); !strings.HasPrefix(got, p.title) {
				t.Errorf("the title is %q", got)
			}
			b.status()
		})
	}
	b.t = t
	b.noProblems()
}

// status checks what a screen reader is told of a page of status.
func (b *tab) status() {
	b.t.Helper()
	count := map[string]int{}
	for _, e := range b.tree() {
		count[e.role]++
		nameless := []string{"heading", "button", "link", "image", "table", "searchbox", "combobox", "article", "navigation"}
		if e.name == "" && slices.Contains(nameless, e.role) {
			b.t.Errorf("a %s has no name", e.role)
		}
	}
	if count["main"] != 1 || count["banner"] != 1 || count["image"] != 2 {
		b.t.Errorf("the structure is %v", count)
	}
	levels := eval[string](b, `[...document.querySelectorAll("h1, h2, h3")].map(e => e.tagName[1]).join("")`)
	if !strings.HasPrefix(levels, "12") || strings.Count(levels, "1") != 1 || strings.Contains(levels, "13") {
		b.t.Errorf("the levels of headings are %s", levels)
	}
	if n := eval[int](b, `document.querySelectorAll("script, [onmouseover], [href^=javascript], iframe").length`); n != 0 {
		b.t.Errorf("%d elements that are not ours", n)
	}
}

// The page of the real program follows what becomes of its directories.
func TestStatusOfTheRealProgram(t *testing.T) {
	m, b := newMachine(t), newTab(t)
	b.scripts(false)
	address, end := m.setup("--org", "acme")
	b.open(address)
	b.await("Create a GitHub App")
	b.click("button", "Continue on")
	b.await("GitHub App name")
	b.click("button", "Create GitHub App for acme")
	b.await("Install on your account acme")
	b.click("button", "Install")
	b.await("is ready")
	end()

	cmd, _ := m.ghapp("sync", "acme/site", "--branch", "next", "--to", "site", "--watch", "--period", "200ms",
		"--status", "127.0.0.1:0", "--log-format", "json")
	cmd.Stderr = nil
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	found := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			var line struct{ Msg, Status string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "watching" {
				found <- line.Status
			}
		}
	}()
	select {
	case status := <-found:
		address = "http://" + status
	case <-time.After(patience):
		t.Fatal("it does not say where its status is")
	}
	until := func(text string) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			b.open(address)
			if seen, _ := b.text(); strings.Contains(seen, text) {
				return
			} else if time.Now().After(end) {
				t.Fatalf("%q cannot be read:\n%s", text, seen)
			}
		}
	}
	until("acme/site has no branch next")
	b.photograph("status-real-failing")
	if _, err := m.github.Repository("acme/site").Commit("next", "Begin", map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	until("The directory is up to date")
	b.await("1 release kept")
	b.photograph("status-real")
	b.noProblems()
}

// A person finds one mirror of many by its name, and comes to all the others.
func TestMirrorsAreSearched(t *testing.T) {
	b := newTab(t)
	b.scripts(false)
	b.open(shows(t, mirrors(10_000)) + "/?still=1")
	b.await("10,000 of 10,000 mirrors")
	b.click("searchbox", "Search by name")
	b.do(chromedp.KeyEvent("LEDGER-0123"))
	b.click("button", "Search")
	b.await("1 of 10,000 mirrors")
	if text, address := b.text(); !strings.Contains(text, "acme/ledger-01234") ||
		!strings.HasSuffix(address, "/?q=LEDGER-0123&show=&still=1#list") {
		t.Errorf("%s:\n%s", address, text)
	}
	b.click("link", "Show all")
	b.await("page 1 of 200")
	b.click("link", "Next")
	b.await("page 2 of 200")
	b.click("link", "10 failed")
	b.await("10 of 10,000 mirrors")
	b.noProblems()
}

// The page fetches itself again, with what was asked for, and stops to where that is wished.
func TestStatusRefreshesItself(t *testing.T) {
	b := newTab(t)
	b.scripts(false)
	b.open(shows(t, mirrors(100)) + "/?q=shop")
	const again = `document.querySelector("meta[http-equiv=refresh]")?.content || ""`
	if got := eval[string](b, again); got != "30" {
		t.Errorf("it is fetched again after %q", got)
	}
	b.click("link", "Stop")
	b.await("stands still")
	if got, q := eval[string](b, again), eval[string](b, `document.forms[0].q.value`); got != "" || q != "shop" {
		t.Errorf("it is fetched again after %q, with %q", got, q)
	}
	b.click("link", "Refresh")
	b.await("refreshes every 30 s")
	b.noProblems()
}
