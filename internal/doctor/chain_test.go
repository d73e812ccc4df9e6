package doctor

import (
	"context"
	"errors"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestBrokenLinkStopsThoseThatNeedItAndNoOthers(t *testing.T) {
	var got []string
	x := &examination{Options: Options{Tell: func(f Finding) { got = append(got, f.Link+" "+string(f.State)+" "+f.Text) }}}
	link := func(name string, found Finding, needs ...string) link {
		return link{name, needs, func(context.Context) Finding { return found }}
	}
	fine, bad := ok("fine"), broken(errors.New("bad"), "bad")

	machine := x.chain("")
	machine.walk(t.Context(), link("git", bad), link("cache", fine))
	host := x.chain("", machine)
	host.walk(t.Context(), link("DNS", fine), link("host", bad, "DNS"), link("clock", fine, "host"))
	app := x.chain("", machine)
	app.walk(t.Context(), link("key", fine))
	app.after(host)
	app.walk(t.Context(), link("App", fine, "key", "host"), link("installation", fine, "App"),
		link("nothing to tell", Finding{}), link("hooks", fine, "git"), link("agent", fine))

	want := []string{
		"git broken bad", "cache ok fine",
		"DNS ok fine", "host broken bad", "clock skipped not checked: it needs host",
		"key ok fine", "App skipped not checked: it needs host", "installation skipped not checked: it needs host",
		"hooks skipped not checked: it needs git", "agent ok fine",
	}
	testkit.Diff(t, got, want)
}

func TestNothingIsBlamedOnTheEndOfTheContext(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	x := &examination{Options: Options{Tell: func(f Finding) { t.Errorf("told: %+v", f) }}}
	x.chain("").walk(ctx,
		link{name: "DNS", check: func(context.Context) Finding { end(); return broken(context.Canceled, "broken off") }},
		link{name: "agent", check: func(context.Context) Finding { t.Error("it was checked"); return ok("") }},
	)
}
