package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// BenchmarkMirrorThousand is what `ghapp mirror` takes for a thousand small repositories: for the
// first mirror of all, for a pass with nothing new, and for one that finds one in a hundred changed.
func BenchmarkMirrorThousand(b *testing.B) {
	const many = 1000
	c := newCloner(b, map[string]string{"file": "text"})
	for i := range many - 1 {
		name := fmt.Sprintf("acme/r%03d", i)
		if _, err := c.AddRepository(name, githubtest.RepositoryOptions{}).Commit("main", "Begin",
			map[string]string{"name": name}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		dir := c.dir()
		for _, pass := range []struct {
			name    string
			changes int
			report  passReport
		}{
			{"first", 0, passReport{Mirrors: many, Made: many, Fresh: many}},
			{"nothing-new", 0, passReport{Mirrors: many, Fresh: many}},
			{"changed", many / 100, passReport{Mirrors: many, Fresh: many, Changed: many / 100}},
		} {
			for i := range pass.changes {
				if _, err := c.Repository(fmt.Sprintf("acme/r%03d", i)).Commit("main", "Change",
					map[string]string{"name": time.Now().String()}); err != nil {
					b.Fatal(err)
				}
			}
			c.ResetRequests()
			got, took := c.mirror(b, "acme", "--to", dir)
			if got != pass.report {
				b.Fatalf("%s: %+v", pass.name, got)
			}
			b.ReportMetric(float64(took.Own)/1e6, pass.name+"-MB")
			b.ReportMetric(took.processor.Seconds(), pass.name+"-cpu-s")
			b.ReportMetric(took.clock.Seconds(), pass.name+"-s")
			b.ReportMetric(float64(len(c.Requests())), pass.name+"-requests")
			time.Sleep(3 * time.Second) // what was pushed within the second of a pass is compared in the next
		}
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
	}
}

// passReport is what of a report of `ghapp mirror --json` is looked at.
type passReport struct{ Mirrors, Made, Changed, Fresh int }

// mirror runs `ghapp mirror` and looks how much memory it takes, itself.
func (c *cloner) mirror(tb testing.TB, args ...string) (_ passReport, took spent) {
	tb.Helper()
	cmd := exec.CommandContext(context.Background(), c.program, append(c.flags("mirror", "--json"), args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.env, c.base, &stdout, &stderr
	apart(cmd)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case <-tick.C:
			if now, err := peakOf(cmd.Process.Pid); err == nil {
				took.Own = max(took.Own, now)
			}
			continue
		case err := <-ended:
			tick.Stop()
			if err != nil {
				tb.Fatalf("%v: %s", err, stderr.String())
			}
		}
		break
	}
	took.clock = time.Since(began)
	took.processor = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	var reports []passReport
	if err := json.Unmarshal(stdout.Bytes(), &reports); err != nil || len(reports) != 1 {
		tb.Fatalf("%v: %s", err, stdout.String())
	}
	return reports[0], took
}

// BenchmarkMirrorLFS is `ghapp mirror --lfs` of a mirror that lacks its large files, 32 of 8 MB,
// beside `git lfs fetch --all` in a clone. What is compared is the processor's time of the clients;
// that of a pass in which nothing is missing is taken off ours.
func BenchmarkMirrorLFS(b *testing.B) {
	if _, err := exec.LookPath("git-lfs"); err != nil {
		b.Skip(err)
	}
	const files, size = 32, 8 << 20
	c := newCloner(b, map[string]string{"file": "text"})
	r := c.Repository("acme/site")
	random := rand.NewChaCha8([32]byte{})
	tree := map[string]string{".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
	for i := range files {
		text := make([]byte, size)
		_, _ = random.Read(text)
		tree[fmt.Sprintf("%02d.bin", i)] = r.AddObject(string(text))
	}
	if _, err := r.Commit("main", "Begin", tree); err != nil {
		b.Fatal(err)
	}
	address := strings.Replace(c.url, "://", "://x-access-token:"+c.token+"@", 1) + "/acme/site.git"
	var clocks [2][]time.Duration
	race(b, 3, files,
		contestant{"ghapp", func() (time.Duration, error) {
			dir := c.dir()
			c.mirror(b, "acme", "--to", dir)
			_, took := c.mirror(b, "acme", "--to", dir, "--lfs")
			_, idle := c.mirror(b, "acme", "--to", dir, "--lfs")
			clocks[0] = append(clocks[0], took.clock-idle.clock)
			return took.processor - idle.processor, c.lfsFiles(filepath.Join(dir, "acme", "site.git"), files)
		}},
		contestant{"git-lfs", func() (time.Duration, error) {
			dir := c.dir()
			if err := c.run("git", "clone", "--quiet", "--mirror", address, dir); err != nil {
				return 0, err
			}
			cmd := exec.CommandContext(context.Background(), "git", "-C", dir, "lfs", "fetch", "--all")
			cmd.Env = c.env
			apart(cmd)
			began := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return 0, fmt.Errorf("%w: %s", err, out)
			}
			clocks[1] = append(clocks[1], time.Since(began))
			return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), c.lfsFiles(dir, files)
		}},
	)
	b.ReportMetric(median(clocks[0])/median(clocks[1]), "clock-ghapp/git-lfs")
}

// lfsFiles counts the large files of a repository, and takes it away.
func (c *cloner) lfsFiles(dir string, want int) error {
	found, err := filepath.Glob(filepath.Join(dir, "lfs", "objects", "??", "??", "*"))
	if err == nil && len(found) != want {
		err = fmt.Errorf("%d large files are in %s, want %d", len(found), dir, want)
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	return err
}
