package doctor

import (
	"context"
	"maps"
	"time"

	"github.com/ghapp-dev/ghapp/internal/wait"
)

// link is one check. It is skipped where one of the links that it needs is broken.
type link struct {
	name  string
	needs []string
	check func(context.Context) Finding // the zero Finding: there is nothing to tell
}

// chain is a row of links about one thing: the machine, a host, an App.
type chain struct {
	about string
	tell  func(Finding)
	waits func(link string) // what takes long; may be nil
	// stopped has, by its name, each link that is broken or skipped, and the broken
	// one that is behind it.
	stopped map[string]string
}

// chain begins a row about something, which depends on those before it.
func (x *examination) chain(about string, before ...*chain) *chain {
	c := &chain{about: about, tell: x.tell, waits: x.Waits, stopped: map[string]string{}}
	for _, other := range before {
		c.after(other)
	}
	return c
}

// after makes the links that follow depend on those of another row, too.
func (c *chain) after(other *chain) { maps.Copy(c.stopped, other.stopped) }

// walk checks links in their order.
func (c *chain) walk(ctx context.Context, links ...link) {
	for _, l := range links {
		if ctx.Err() != nil {
			return
		}
		found := Finding{State: Skipped}
		if behind := c.behind(l.needs); behind != "" {
			found.Text = "not checked: it needs " + behind
			c.stopped[l.name] = behind
		} else if found = c.check(ctx, l); found.State == "" {
			continue
		}
		if found.State == Broken {
			c.stopped[l.name] = l.name
		}
		if ctx.Err() != nil {
			return // what was found is that there was no time left
		}
		found.Link, found.About = l.name, c.about
		c.tell(found)
	}
}

// check checks a link, and says so where that takes long.
func (c *chain) check(ctx context.Context, l link) Finding {
	if c.waits != nil {
		defer time.AfterFunc(wait.Patience, func() { c.waits(l.name) }).Stop()
	}
	return l.check(ctx)
}

// behind is the broken link that keeps one from being checked which needs these.
func (c *chain) behind(needs []string) string {
	for _, name := range needs {
		if behind := c.stopped[name]; behind != "" {
			return behind
		}
	}
	return ""
}
