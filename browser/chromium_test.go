package browser

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what should take a moment.
const patience = 30 * time.Second

// tab is a page in a browser of its own, and the person in front of it.
type tab struct {
	t      *testing.T
	ctx    context.Context
	clicks int // of the mouse

	mu       sync.Mutex
	problems []string // that the browser has told of
}

// newTab starts a browser with a new profile.
func newTab(t *testing.T) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("the program chromium is missing: %v", err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update",
		"disable-sync", "disable-dev-shm-usage", "hide-scrollbars"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	limited, cancelTime := context.WithTimeout(t.Context(), 5*time.Minute)
	allocator, cancelBrowser := chromedp.NewExecAllocator(limited, options...)
	ctx, cancelTab := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && limited.Err() == nil {
			t.Error(err)
		}
		cancelTab()
		cancelBrowser()
		cancelTime()
	})
	b := &tab{t: t, ctx: ctx}
	b.do(chromedp.EmulateViewport(1000, 800))
	if err := chromedp.Listen(ctx, b.heard); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, accessibility.Enable, cdp.Empty{})
	return b
}

// heard keeps what the browser complains of: what a policy forbids, and scripts that
// fail. That an address answers with an error is not among it.
func (b *tab) heard(event any) {
	if e, ok := event.(*log.EventEntryAdded); ok && e.Entry.Source != log.EntrySourceNetwork {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, e.Entry.Text)
	}
}

// noProblems fails if the browser has complained of anything.
func (b *tab) noProblems() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		b.t.Errorf("the browser complains: %s", problem)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// eval evaluates an expression of JavaScript, as a developer does: it works where pages
// may run none.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	result, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return result
}

func (b *tab) open(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

// scripts lets pages run scripts, or not.
func (b *tab) scripts(on bool) {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// prefer sets what the person has asked for in the system's settings.
func (b *tab) prefer(scheme, motion string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
	}})
}

// text is what can be read on the page, and its address. While a page is being left it
// may be neither.
func (b *tab) text() (text, address string) {
	got, err := chromedp.Run(b.ctx,
		chromedp.Evaluate[[]string](`[document.body ? document.body.innerText : "", location.href]`))
	if err != nil || len(got) != 2 {
		return "", ""
	}
	return got[0], got[1]
}

// await waits until a text can be read.
func (b *tab) await(text string) {
	b.t.Helper()
	var seen, address string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if seen, address = b.text(); strings.Contains(seen, text) {
			return
		}
	}
	b.t.Fatalf("%q cannot be read on %s:\n%s", text, address, seen)
}

// element is what a screen reader knows of a part of a page.
type element struct {
	role, name string
	node       cdp.BackendNodeID
}

// tree is what a screen reader knows of the page.
func (b *tab) tree() []element {
	b.t.Helper()
	var list []element
	for _, node := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if !node.Ignored {
			list = append(list, element{said(node.Role), said(node.Name), node.BackendDOMNodeID})
		}
	}
	return list
}

func said(value *accessibility.Value) string {
	if value == nil {
		return ""
	}
	var text string
	_ = json.Unmarshal(value.Value, &text) // what is no text is not said
	return text
}

// find returns the one element of a role whose name begins so.
func (b *tab) find(role, name string) element {
	b.t.Helper()
	var found []element
	tree := b.tree()
	for _, e := range tree {
		if e.role == role && strings.HasPrefix(e.name, name) {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		b.t.Fatalf("there are %d of role %s with the name %q…: %+v", len(found), role, name, tree)
	}
	return found[0]
}

// click presses a button, a link or a choice with the mouse, in its middle.
func (b *tab) click(role, name string) {
	b.t.Helper()
	target := b.find(role, name)
	call(b, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: target.node})
	box := call(b, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: target.node}).Quads
	if len(box) == 0 {
		b.t.Fatalf("%s %q is not to be seen", role, name)
	}
	q := box[0]
	b.clicks++
	b.do(chromedp.MouseClickXY((q[0]+q[4])/2, (q[1]+q[5])/2))
}

// focused is the role and the name of what has the keyboard.
func (b *tab) focused() string {
	b.t.Helper()
	for _, node := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		for _, p := range node.Properties {
			if p.Name == accessibility.PropertyNameFocused && string(p.Value.Value) == "true" &&
				said(node.Role) != "RootWebArea" {
				return said(node.Role) + " " + said(node.Name)
			}
		}
	}
	return ""
}

// photograph keeps what is to be seen.
func (b *tab) photograph(name string) {
	b.t.Helper()
	dir := cmp.Or(os.Getenv("CI_ARTIFACTS"), filepath.Join("..", "build"))
	dir = filepath.Join(dir, "screenshots")
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
