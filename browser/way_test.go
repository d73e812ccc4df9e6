package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A person goes from no configuration to a clone with two clicks.
func TestTwoClicksFromNothingToAClone(t *testing.T) {
	m, b := newMachine(t), newTab(t)
	address, end := m.setup("--org", "acme")

	b.open(address) // as the program does that opens browsers
	b.await("GitHub App name")
	b.photograph("way-1-github-asks-for-the-app")
	b.click("button", "Create GitHub App for acme")

	b.await("Install on your account acme")
	b.photograph("way-2-github-asks-for-the-installation")
	b.click("button", "Install")

	b.await("is ready")
	b.photograph("way-3-ready")
	if b.clicks != 2 {
		t.Errorf("it took %d clicks", b.clicks)
	}
	b.noProblems()

	told := end()
	if !strings.Contains(told, "ghapp clone acme/") {
		t.Errorf("the terminal says:\n%s", told)
	}
	m.clones("acme/site", "site")
}

// Without JavaScript it is a click more, on the first page.
func TestTheWholeWayWithoutJavaScript(t *testing.T) {
	m, b := newMachine(t), newTab(t)
	b.scripts(false)
	address, end := m.setup("--user", "--name", "No Script")

	b.open(address)
	b.await("Create a GitHub App")
	b.click("button", "Continue on")
	b.await("GitHub App name")
	b.click("button", "Create GitHub App for octocat")
	b.await("Install on your account octocat")
	b.click("radio", "Only select repositories")
	b.click("checkbox", "octocat/notes")
	b.click("button", "Install")
	b.await("No Script is ready") // the page asks for this by itself
	b.noProblems()
	end()
	m.clones("octocat/notes", "notes")
}

// Each page can be used with the keyboard alone, and shows where that is.
func TestTheWholeWayWithTheKeyboard(t *testing.T) {
	m, b := newMachine(t), newTab(t)
	b.scripts(false)
	address, end := m.setup("--org", "acme", "--name", "By Hand")
	b.open(address)
	b.await("Create a GitHub App")
	b.tabTo("button Continue on")
	if outline := eval[string](b,
		`getComputedStyle(document.activeElement).outlineStyle + " " + getComputedStyle(document.activeElement).outlineWidth`); outline !=
		"solid 3px" {
		t.Errorf("the keyboard is marked by %q", outline)
	}
	b.photograph("keyboard-focus")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.await("GitHub App name")
	b.tabTo("button Create GitHub App")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.await("Install on your account acme")
	b.tabTo("button Install")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.await("By Hand is ready")
	if b.clicks != 0 {
		t.Errorf("%d clicks", b.clicks)
	}
	end()
}

// tabTo presses the tabulator until something has the keyboard.
func (b *tab) tabTo(what string) {
	b.t.Helper()
	var seen []string
	for range 20 {
		b.do(chromedp.KeyEvent(kb.Tab))
		now := b.focused()
		if strings.HasPrefix(now, what) {
			return
		}
		seen = append(seen, now)
	}
	b.t.Fatalf("the tabulator does not lead to %q, but to %q", what, seen)
}
