package bench

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newFor is less than what ghapp takes for the time that a new token needs to be
// known everywhere: ten seconds.
const newFor = 8 * time.Second

// BenchmarkFirstSeconds is what git pays while the token is new, which is when most jobs use
// it: the helper's answer beside that with an old token, and a small clone beside git's own.
// In both there is no agent.
func BenchmarkFirstSeconds(b *testing.B) {
	b.Run("helper", func(b *testing.B) {
		race(b, 100, 1, contestant{"new", newYoungHelper(b).turn}, contestant{"old", newCachedHelper(b).turn})
	})
	b.Run("clone", func(b *testing.B) {
		c := newCloner(b, map[string]string{"index.html": "hello\n"})
		fresh := c.timed(c.ghapp)
		race(b, 30, 1, contestant{"ghapp", func() (time.Duration, error) {
			if err := c.mintAnew(); err != nil {
				return 0, err
			}
			return fresh()
		}}, contestant{"git", c.timed(c.git)})
	})
}

// mintAnew has the cache hold a token that has just been minted.
func (c *cloner) mintAnew() error {
	if err := os.RemoveAll(c.cacheDir()); err != nil {
		return err
	}
	return c.run(c.program, append([]string{"token"}, c.flags("acme/site")...)...)
}

func (c *cloner) cacheDir() string {
	for _, entry := range c.env {
		if dir, ok := strings.CutPrefix(entry, "XDG_CACHE_HOME="); ok {
			return filepath.Join(dir, "ghapp")
		}
	}
	return ""
}

// youngHelper is git-credential-ghapp without an agent, while the token is new.
type youngHelper struct {
	*cloner
	program *program
	minted  time.Time
}

func newYoungHelper(tb testing.TB) *youngHelper {
	tb.Helper()
	h := &youngHelper{cloner: newCloner(tb, map[string]string{"index.html": "hello\n"})}
	h.program = newProgram(tb, build(tb, "../cmd/git-credential-ghapp"),
		"username=x-access-token\npassword=ghs_", append(h.flags(), "get")...)
	h.program.env = h.env
	address, err := url.Parse(h.url)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := fmt.Fprintf(h.program.stdin, "protocol=%s\nhost=%s\npath=acme/site.git\n\n",
		address.Scheme, address.Host); err != nil {
		tb.Fatal(err)
	}
	return h
}

// turn asks once. The first question for a token, which has it tried at the git service,
// is left out of the time: there is one such in a token's life.
func (h *youngHelper) turn() (time.Duration, error) {
	if time.Since(h.minted) > newFor {
		h.minted = time.Now()
		if err := h.mintAnew(); err != nil {
			return 0, err
		}
		if _, err := h.program.turn(); err != nil {
			return 0, err
		}
	}
	return h.program.turn()
}

func TestRequestsInATokensFirstSeconds(t *testing.T) {
	h := newYoungHelper(t)
	h.ResetRequests()
	for range 50 {
		if _, err := h.turn(); err != nil {
			t.Fatal(err)
		}
	}
	if time.Since(h.minted) > newFor {
		t.Skip("the machine is too slow to ask that often while a token is new")
	}
	api, all := h.apiCalls(), len(h.Requests())
	if api != 2 || all != 3 {
		t.Errorf("fifty questions took %d calls of the API and %d requests of the git service, want 2 and 1", api, all-api)
	}

	// And a clone takes what git takes.
	if err := h.mintAnew(); err != nil {
		t.Fatal(err)
	}
	h.ResetRequests()
	if err := h.ghapp(h.dir()); err != nil {
		t.Fatal(err)
	}
	ours := len(h.Requests())
	h.ResetRequests()
	if err := h.git(h.dir()); err != nil {
		t.Fatal(err)
	}
	if git := len(h.Requests()); ours > git {
		t.Errorf("a clone with a new token took %d requests, git's own %d", ours, git)
	}
}
