package browser

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/setup"
	"github.com/ghapp-dev/ghapp/secret"
)

const github = "https://github.example"

// flow is one whose steps the test takes.
type flow struct {
	*setup.Flow
	address   string
	traded    atomic.Int32 // codes
	installed atomic.Bool
	proof     chan error // what comes of the proof
}

// newFlow serves the pages of a flow, from the App on or, where that is there already,
// from its installation on.
func newFlow(t *testing.T, origin string, app *setup.App) *flow {
	t.Helper()
	f := &flow{proof: make(chan error, 1)}
	plan := setup.Plan{
		Origin: origin, Organization: "acme", Name: "ghapp build1", Machine: "build1", KeyPlace: "~/.config/ghapp",
		Permissions: ghapp.Permissions{"contents": "read", "metadata": "read"},
	}
	made := &setup.App{Name: "ghapp build1", Slug: "ghapp-build1", Owner: "acme", Page: origin + "/apps/ghapp-build1"}
	f.Flow = setup.New(plan, setup.Steps{
		Register: func(context.Context, secret.Text) (*setup.App, error) { f.traded.Add(1); return made, nil },
		Installation: func(context.Context) (*ghapp.InstallationInfo, error) {
			if !f.installed.Load() {
				return nil, nil
			}
			return &ghapp.InstallationInfo{ID: 7, Account: "acme", AllRepositories: true}, nil
		},
		Prove: func(ctx context.Context, _ *ghapp.InstallationInfo) (*setup.Proof, error) {
			select {
			case err := <-f.proof:
				return &setup.Proof{Repository: "acme/a-repository-with-quite-a-long-name", Refs: 12}, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		Explain: func(err error) (string, string) {
			return err.Error(), "check the network, https_proxy and --host; if GitHub itself fails, " +
				"https://www.githubstatus.com says so"
		},
	}, app, nil)
	listener, err := setup.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	address, end := f.Serve(listener)
	f.address = address
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = f.Run(ctx, func(*setup.App) {})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := end(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// app is one that is there already.
var app = setup.App{Name: "ghapp build1", Slug: "ghapp-build1", Owner: "acme", Page: github + "/apps/ghapp-build1"}

// pages are all that a person can see, each with how to get there.
var pages = []struct {
	name, title string
	app         *setup.App
	show        func(*tab, *flow)
}{
	{"1-create", "Create a GitHub App", nil, func(b *tab, f *flow) { b.open(f.address) }},
	{"2-install", "Install ghapp build1", &app, func(b *tab, f *flow) { b.open(f.address) }},
	{"3-trying", "Install ghapp build1", &app, func(b *tab, f *flow) {
		f.installed.Store(true)
		b.open(f.address + "/installed")
		b.await("Trying it out")
	}},
	{"4-ready", "ghapp build1 is ready", &app, func(b *tab, f *flow) {
		f.installed.Store(true)
		f.proof <- nil
		b.open(f.address + "/installed")
		b.await("is ready")
	}},
	{"5-stopped", "The setup has stopped", &app, func(b *tab, f *flow) {
		f.installed.Store(true)
		f.proof <- errors.New("cannot mint an installation access token for acme/a-repository-with-quite-a-long-name: " +
			"cannot reach api.github.com: dial tcp: lookup api.github.com: no such host")
		b.open(f.address + "/installed")
		b.await("has stopped")
	}},
	{"6-forged", "This is not an answer to this setup", nil,
		func(b *tab, f *flow) { b.open(f.address + "/created?code=0123456789abcdef&state=forged") }},
	{"7-absent", "There is no such page", nil, func(b *tab, f *flow) { b.open(f.address + "/nowhere") }},
}

// faults looks at a page as it is shown: what is too wide for the window, what has too
// little contrast (WCAG 2.2, 1.4.3), what is too small to be hit (2.5.8), what moves.
const faults = `(() => {
	const list = [];
	const color = text => {
		const c = document.createElement("canvas").getContext("2d");
		c.fillStyle = text;
		c.fillRect(0, 0, 1, 1);
		return [...c.getImageData(0, 0, 1, 1).data];
	};
	const light = rgb => rgb.slice(0, 3)
		.map(v => v / 255)
		.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = e => {
		for (; e; e = e.parentElement) {
			const c = color(getComputedStyle(e).backgroundColor);
			if (c[3] === 255) return c;
		}
		return [255, 255, 255, 255];
	};
	const contrast = (a, b) => {
		const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
		return (x + 0.05) / (y + 0.05);
	};
	const wide = document.documentElement.scrollWidth;
	if (wide > window.innerWidth) list.push("the page is " + wide + " wide");
	let texts = 0;
	for (const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); walker.nextNode();) {
		const text = walker.currentNode.data.trim(), e = walker.currentNode.parentElement;
		if (!text || ["STYLE", "SCRIPT"].includes(e.tagName) || e.className === "unseen") continue;
		texts++;
		const ratio = contrast(color(getComputedStyle(e).color), behind(e));
		if (ratio < 4.5) list.push("contrast " + ratio.toFixed(2) + ": " + text);
		if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline") list.push("cut off: " + text);
	}
	if (texts < 3) list.push("there is hardly anything to read");
	for (const e of document.querySelectorAll("button, a")) {
		const box = e.getBoundingClientRect(), small = box.height < 24 || box.width < 24;
		if (getComputedStyle(e).display !== "inline" && small) list.push("too small: " + e.textContent);
	}
	for (const e of document.querySelectorAll(".turning")) list.push("moves: " + getComputedStyle(e).animationName);
	return list;
})()`

func TestPages(t *testing.T) {
	b := newTab(t)
	b.scripts(false) // the first page would leave
	for _, p := range pages {
		t.Run(p.name, func(t *testing.T) {
			b.t = t
			f := newFlow(t, github, p.app)
			p.show(b, f)
			for _, width := range []int64{1000, 360} {
				for _, scheme := range []string{"light", "dark"} {
					b.do(chromedp.EmulateViewport(width, 800))
					b.prefer(scheme, "reduce")
					b.photograph(fmt.Sprintf("page-%s-%s-%d", p.name, scheme, width))
					for _, fault := range eval[[]string](b, faults) {
						if fault != "moves: none" {
							t.Errorf("%s, %d wide: %s", scheme, width, fault)
						}
					}
				}
			}
			b.prefer("light", "no-preference")
			if moving := strings.Contains(strings.Join(eval[[]string](b, faults), "\n"),
				"moves: turn"); moving != (eval[int](b, `document.querySelectorAll(".busy").length`) > 0) {
				t.Errorf("something moves: %t", moving)
			}
			b.structure(p.title)
		})
	}
	b.t = t
	b.noProblems()
}

// structure checks what a screen reader is told of the page.
func (b *tab) structure(title string) {
	b.t.Helper()
	if got := eval[string](b, `document.documentElement.lang + "|" + document.title`); got != "en|"+title+
		" – ghapp setup" {
		b.t.Errorf("language and title are %q", got)
	}
	count := map[string]int{}
	for _, e := range b.tree() {
		count[e.role]++
		switch e.role {
		case "heading":
			if count["heading"] == 1 && e.name != title {
				b.t.Errorf("the first heading is %q", e.name)
			}
		case "button", "link", "list", "form":
			if e.name == "" && e.role != "form" {
				b.t.Errorf("a %s has no name", e.role)
			}
		case "image", "img":
			b.t.Errorf("an image is told of: %q", e.name)
		}
	}
	if count["main"] != 1 || count["banner"] != 1 || eval[int](b, `document.querySelectorAll("h1").length`) != 1 {
		b.t.Errorf("the structure is %v", count)
	}
	bad := eval[bool](b, `document.querySelector("h1.bad") !== null`)
	if alerts := count["alert"]; (alerts == 1) != bad {
		b.t.Errorf("%d alerts; that something is wrong is shown: %t", alerts, bad)
	}
	if busy := eval[bool](b, `document.querySelector(".busy") !== null`); (count["status"] == 1) != busy {
		b.t.Errorf("%d statuses; that something is waited for is shown: %t", count["status"], busy)
	}
}

// The steps say which is the current one, and which are done, not by colour alone.
func TestStepsAreTold(t *testing.T) {
	b := newTab(t)
	b.open(newFlow(t, github, &app).address)
	b.await("Waiting for GitHub")
	if got := eval[[]string](b,
		`[...document.querySelectorAll(".steps li")].map(e => (e.getAttribute("aria-current") || "") + " " + e.textContent)`); strings.Join(
		got, "|") != " Create the App, done|step Install it| Ready" {
		t.Errorf("%q", got)
	}
	b.noProblems()
}
