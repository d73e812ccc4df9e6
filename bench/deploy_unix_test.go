//go:build unix

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// BenchmarkDeployShare is the same update with each way to share what has not changed:
// the time, and the processor's time of it, with that of git's processes.
func BenchmarkDeployShare(b *testing.B) {
	d := newDeployer(b)
	var contestants []contestant
	for _, share := range deploy.Shares() {
		target := *d.target
		target.Dir, target.Share = filepath.Join(filepath.Dir(d.work), string(share), "site"), share
		turn := d.publishing(b, &target, string(share))
		if _, err := turn(); err != nil {
			b.Fatal(err)
		}
		contestants = append(contestants, contestant{string(share), turn})
	}
	raceForProcessor(b, 20, contestants...)
}

// raceForProcessor is a race of which the processor's time is reported too, with that of git's
// processes and of the stand-in.
func raceForProcessor(b *testing.B, rounds int, contestants ...contestant) {
	spent, turns := make([]time.Duration, len(contestants)), 0
	counted := slices.Clone(contestants)
	for i, c := range contestants {
		counted[i].turn = func() (time.Duration, error) {
			before := processorTime(b)
			took, err := c.turn()
			spent[i] += processorTime(b) - before
			if i == 0 {
				turns++
			}
			return took, err
		}
	}
	race(b, rounds, 1, counted...)
	for i, c := range contestants {
		b.ReportMetric(float64(spent[i].Microseconds())/1e3/float64(turns), c.name+"-cpu-ms/op")
		if i > 0 {
			b.ReportMetric(float64(spent[0])/float64(spent[i]), contestants[0].name+"/"+c.name+"-cpu")
		}
	}
}

// BenchmarkDeploy is an update of 100 changed files in a tree of 5,000: a publication of
// `ghapp sync`, with a whole new release, beside `git fetch --depth 1` and `git
// read-tree -u` in one work tree, which everybody who looks sees half made meanwhile.
//
// What git by hand does not do, and a publication does, is to have everything written to
// the disk (syncfs(2), fsync(2)) before it counts. On a disk that is most of the
// difference, and it is that of the whole file system: so hand-flushed is the same by
// hand with one sync(1) at the end.
func BenchmarkDeploy(b *testing.B) {
	d := newDeployer(b)
	d.race(b, 20)
}

// deployer brings two directories from commit to commit, in two ways.
type deployer struct {
	*gitHub
	site    *githubtest.Repository
	target  *deploy.Target
	work    string // the work tree of git by hand
	flushed string // and another
	environ []string
	commits []string
	done    map[string]int // turns of each
}

func newDeployer(tb testing.TB) *deployer {
	tb.Helper()
	g := newGitHub(tb)
	dir, home := tb.TempDir(), tb.TempDir()
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}
	token, err := g.ghapp(tb)().Token(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	d := &deployer{
		gitHub: g, site: g.AddRepository("acme/tree", githubtest.RepositoryOptions{Public: true}), environ: environ,
		work: filepath.Join(dir, "work"), flushed: filepath.Join(dir, "flushed"), done: map[string]int{},
		target: &deploy.Target{
			Dir: filepath.Join(dir, "site"), Git: gitcmd.Runner{Environ: environ}, Environ: environ,
			Scope: gitcmd.Scope{Origin: g.url, Helper: "!printf 'username=x-access-token\\npassword=" +
				token.Secret.Reveal() + "\\n'; :"},
		},
	}
	files := map[string]string{}
	for i := range 5000 {
		files[d.name(i)] = d.text(i, 0)
	}
	d.push(tb, files)
	for _, work := range []string{d.work, d.flushed} {
		for _, args := range [][]string{{"init", "--quiet", work},
			{"-C", work, "remote", "add", "origin", g.url + "/acme/tree.git"}} {
			if err := d.git(args...); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for _, turn := range []func() (time.Duration, error){d.ghapp(tb), d.hand("hand", d.work, false),
		d.hand("flushed", d.flushed, true)} {
		if _, err := turn(); err != nil {
			tb.Fatal(err)
		}
	}
	return d
}

func (d *deployer) name(i int) string { return fmt.Sprintf("dir%02d/sub%d/file%04d.txt", i%50, i%5, i) }

func (d *deployer) text(i, version int) string {
	return strings.Repeat(fmt.Sprintf("line of file %d, version %d\n", i, version), 60)
}

func (d *deployer) push(tb testing.TB, files map[string]string) {
	tb.Helper()
	commit, err := d.site.Commit("deployment", "x", files)
	if err != nil {
		tb.Fatal(err)
	}
	d.commits = append(d.commits, commit)
}

// next is the commit of a contestant's next turn, which is made when the first of them
// comes to it.
func (d *deployer) next(name string) (string, error) {
	turn := d.done[name]
	d.done[name]++
	if turn == len(d.commits) {
		files := map[string]string{}
		for i := range 100 {
			at := i*49 + turn%49
			files[d.name(at)] = d.text(at, turn)
		}
		commit, err := d.site.Commit("deployment", "x", files)
		if err != nil {
			return "", err
		}
		d.commits = append(d.commits, commit)
	}
	return d.commits[turn], nil
}

func (d *deployer) ghapp(tb testing.TB) func() (time.Duration, error) {
	return d.publishing(tb, d.target, "ghapp")
}

// publishing is a turn of a publication in a target's directory.
func (d *deployer) publishing(tb testing.TB, target *deploy.Target, name string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		commit, err := d.next(name)
		if err != nil {
			return 0, err
		}
		start := time.Now()
		_, err = target.Publish(tb.Context(), deploy.Request{Repository: "acme/tree", URL: d.url + "/acme/tree.git",
			Ref: "refs/heads/deployment", Commit: commit})
		return time.Since(start), err
	}
}

// hand is a turn of git by hand.
func (d *deployer) hand(name, work string, flush bool) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		commit, err := d.next(name)
		if err != nil {
			return 0, err
		}
		start := time.Now()
		// By the branch, not the commit: without a ref git would not know what it has, and
		// fetch all of it.
		err = d.git("-C", work, "fetch", "--quiet", "--depth", "1", "origin", "deployment")
		if err == nil {
			err = d.git("-C", work, "read-tree", "--reset", "-u", commit)
		}
		if err == nil && flush {
			err = exec.Command("sync", "-f", work).Run()
		}
		return time.Since(start), err
	}
}

func (d *deployer) git(args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Env = d.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %q: %w\n%s", args, err, out)
	}
	return nil
}

func (d *deployer) race(b *testing.B, rounds int) {
	raceForProcessor(b, rounds,
		contestant{"ghapp", d.ghapp(b)}, contestant{"hand", d.hand("hand", d.work, false)},
		contestant{"hand-flushed", d.hand("flushed", d.flushed, true)})
	if err := d.check(); err != nil {
		b.Fatal(err)
	}
}

// check compares what the two have made.
func (d *deployer) check() error {
	for i := range 5000 {
		ours, err := os.ReadFile(filepath.Join(d.target.Dir, d.name(i)))
		if err != nil {
			return err
		}
		theirs, err := os.ReadFile(filepath.Join(d.work, d.name(i)))
		if err != nil {
			return err
		}
		if string(ours) != string(theirs) {
			return fmt.Errorf("%s differs", d.name(i))
		}
	}
	return nil
}
