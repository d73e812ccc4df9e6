package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkClone is `ghapp clone` with a token in its cache beside `git clone` with
// the token in the URL, from start to end of the process, from the real git
// http-backend over loopback.
//
// Loopback has no latency and no TLS, so small shows in full what ghapp adds: the
// start of ghapp and of the credential helper. small-50ms is the same with a server
// that takes 50 ms for each answer, as one at the other end of a good line does.
func BenchmarkClone(b *testing.B) {
	files := map[string]string{}
	for i := range 5 {
		files[fmt.Sprintf("file%d.txt", i)] = strings.Repeat("a line of text\n", 100*(i+1))
	}
	small, large := newCloner(b, files), newCloner(b, incompressible(100, 1_000_000))
	for _, c := range []*cloner{small, large} {
		if err := c.warm(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("small", func(b *testing.B) { small.race(b, 30) })
	b.Run("small-50ms", func(b *testing.B) {
		small.latency.Store(int64(50 * time.Millisecond))
		defer small.latency.Store(0)
		small.race(b, 10)
	})
	b.Run("100MB", func(b *testing.B) { large.race(b, 5) })
}

// race compares the two ways to clone.
func (c *cloner) race(b *testing.B, rounds int) {
	c.ResetRequests()
	race(b, rounds, 1, contestant{"ghapp", c.timed(c.ghapp)}, contestant{"git", c.timed(c.git)})
	if n := c.apiCalls(); n != 0 {
		b.Fatalf("the API was called %d times; the cache was not warm", n)
	}
}

// warm fills the cache with a token that GitHub's git service has taken once, after which
// a ghapp clone makes no request more than a git clone.
func (c *cloner) warm() error {
	count := func(clone func(dir string) error) (int, error) {
		c.ResetRequests()
		err := clone(c.dir())
		return len(c.Requests()), err
	}
	if err := c.ghapp(c.dir()); err != nil {
		return err
	}
	ghapp, err := count(c.ghapp)
	if err != nil {
		return err
	}
	git, err := count(c.git)
	if err == nil && ghapp > git {
		err = fmt.Errorf("a warm ghapp clone makes %d requests, a git clone %d", ghapp, git)
	}
	return err
}

// incompressible is a tree of files that no packing makes smaller, the same in every
// run.
func incompressible(files, size int) map[string]string {
	random := rand.NewChaCha8([32]byte{})
	tree := map[string]string{}
	for i := range files {
		content := make([]byte, size)
		random.Read(content)
		tree[fmt.Sprintf("blob%03d", i)] = string(content)
	}
	return tree
}

// cloner clones acme/site in two ways.
type cloner struct {
	*gitHub
	program string // the ghapp that was built
	key     string // path of the App's
	token   string // for git alone
	want    map[string]string
	env     []string
	base    string // of the directories cloned to
	clones  int
}

func newCloner(tb testing.TB, files map[string]string) *cloner {
	tb.Helper()
	g := newGitHub(tb)
	if _, err := g.Repository("acme/site").Commit("main", "files", files); err != nil {
		tb.Fatal(err)
	}
	base, home := tb.TempDir(), tb.TempDir()
	token, err := g.ghapp(tb)().Token(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	build(tb, "../cmd/git-credential-ghapp") // which ghapp looks for beside itself
	c := &cloner{
		gitHub: g, program: build(tb, "../cmd/ghapp"), key: filepath.Join(home, "app.pem"),
		token: token.Secret.Reveal(), want: files, base: base,
		// Nothing of this user's or machine's configuration has a say.
		env: []string{
			"PATH=" + programs + string(os.PathListSeparator) + os.Getenv("PATH"),
			"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, "config"), "XDG_CACHE_HOME=" + filepath.Join(home, "cache"),
			"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "TMPDIR=" + os.TempDir(),
		},
	}
	if err := os.WriteFile(c.key, g.key, 0o600); err != nil {
		tb.Fatal(err)
	}
	return c
}

func (c *cloner) ghapp(dir string) error {
	return c.run(c.program, append([]string{"clone"}, c.flags("acme/site", dir)...)...)
}

// flags say who we are to ghapp, before the arguments of a command.
func (c *cloner) flags(args ...string) []string {
	return append([]string{"--app", c.app.ClientID, "--key", c.key, "--host", c.url}, args...)
}

func (c *cloner) git(dir string) error {
	address := strings.Replace(c.url, "://", "://x-access-token:"+c.token+"@", 1)
	return c.run("git", "clone", address+"/acme/site.git", dir)
}

func (c *cloner) run(name string, args ...string) error {
	var stderr strings.Builder
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Env, cmd.Dir, cmd.Stderr = c.env, c.base, &stderr
	apart(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, stderr.String())
	}
	return nil
}

// dir is a directory that is not there yet.
func (c *cloner) dir() string {
	c.clones++
	return filepath.Join(c.base, strconv.Itoa(c.clones))
}

// timed is a turn of cloning. The clone is checked and removed after it.
func (c *cloner) timed(clone func(dir string) error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		dir := c.dir()
		start := time.Now()
		err := clone(dir)
		took := time.Since(start)
		if err != nil {
			return 0, err
		}
		if err := c.check(dir); err != nil {
			return 0, err
		}
		return took, os.RemoveAll(dir)
	}
}

// check reports whether the work tree has all files in full length.
func (c *cloner) check(dir string) error {
	for name, content := range c.want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if info.Size() != int64(len(content)) {
			return fmt.Errorf("%s has %d bytes, want %d", name, info.Size(), len(content))
		}
	}
	return nil
}

// apiCalls is how many of the requests since the last reset went to the REST API.
func (g *gitHub) apiCalls() int {
	n := 0
	for _, r := range g.Requests() {
		if strings.HasPrefix(r.Path, "/api/v3/") {
			n++
		}
	}
	return n
}

func TestAPICallsOfAClone(t *testing.T) {
	c := newCloner(t, map[string]string{"index.html": "hello\n"})
	for _, step := range []struct {
		name  string
		clone func(dir string) error
		calls int
	}{
		{"first", c.ghapp, 2}, // the installation, the token
		{"later", c.ghapp, 0},
		{"git", c.git, 0},
	} {
		c.ResetRequests()
		dir := c.dir()
		if err := step.clone(dir); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err := c.check(dir); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := c.apiCalls(); got != step.calls {
			t.Errorf("the %s clone made %d API calls, want %d", step.name, got, step.calls)
		}
		if len(c.Requests()) == step.calls {
			t.Errorf("the %s clone fetched nothing from the stand-in", step.name)
		}
	}
}
