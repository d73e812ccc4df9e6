package bench

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// watcher is a `ghapp sync --watch`.
type watcher struct {
	*cloner
	cmd *exec.Cmd
}

// watching starts one, and waits until each of the paths is there.
func (c *cloner) watching(b *testing.B, paths []string, args ...string) *watcher {
	b.Helper()
	cmd := exec.Command(c.program, append(c.flags("sync", "--watch", "--log-format", "json"), args...)...)
	cmd.Env, cmd.Dir = c.env, c.base
	stderr, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), `"level":"ERROR"`) {
				fmt.Fprintln(os.Stderr, lines.Text())
			}
		}
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for _, path := range paths {
		c.appears(b, filepath.Join(c.base, path), "")
	}
	return &watcher{c, cmd}
}

// appears waits until a file has a text; any, where that is empty.
func (c *cloner) appears(b *testing.B, path, text string) {
	b.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		have, err := os.ReadFile(path)
		if err == nil && (text == "" || string(have) == text) {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("%s is not there, or not %q: %v", path, text, err)
		}
	}
}

// used is what a process has used: of the processor's time its own and its children's,
// and of memory.
func (w *watcher) used(b *testing.B) (own, children time.Duration, resident int) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	number := func(i int) int {
		n, _ := strconv.Atoi(fields[i-3])
		return n
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	own = time.Duration(number(14)+number(15)) * tick
	children = time.Duration(number(16)+number(17)) * tick
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	resident, _ = strconv.Atoi(strings.Fields(rest)[0])
	return own, children, resident << 10
}

// BenchmarkSyncNothingNew is what a pass costs that finds nothing new: requests,
// processor time (of the process, and of children, of which there are none), beside
// `git fetch` of the branch in a clone that has it.
func BenchmarkSyncNothingNew(b *testing.B) {
	c := newCloner(b, map[string]string{"file": "text"})
	if err := c.warm(); err != nil {
		b.Fatal(err)
	}
	w := c.watching(b, []string{"site/file"}, "acme/site", "--to", filepath.Join(c.base, "site"), "--period", "100ms")
	clone := c.dir()
	if err := c.git(clone); err != nil {
		b.Fatal(err)
	}
	time.Sleep(time.Second)
	for b.Loop() {
		own, children, _ := w.used(b)
		c.ResetRequests()
		time.Sleep(10 * time.Second)
		ownAfter, childrenAfter, _ := w.used(b)
		passes := float64(len(c.Requests()))
		if childrenAfter != children {
			b.Fatal("a process was started")
		}
		for _, r := range c.Requests() {
			if !strings.HasSuffix(r.Path, "/git-upload-pack") {
				b.Fatalf("%s %s", r.Method, r.Path)
			}
		}
		b.ReportMetric(float64((ownAfter-own).Microseconds())/passes, "cpu-µs/pass")
		b.ReportMetric(passes, "passes/10s")

		var before, after syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &before)
		c.ResetRequests()
		const fetches = 20
		for range fetches {
			if err := c.run("git", "-C", clone, "fetch", "--quiet", "--no-tags", "origin", "main"); err != nil {
				b.Fatal(err)
			}
		}
		requests := 0.0
		for _, r := range c.Requests() {
			if strings.HasPrefix(r.UserAgent, "git/2") { // the other one goes on meanwhile
				requests++
			}
		}
		_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &after)
		used := time.Duration(after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano())
		b.ReportMetric(float64(used.Microseconds())/fetches, "git-cpu-µs/pass")
		b.ReportMetric(requests/fetches, "git-requests/pass")
	}
}

// BenchmarkSyncPush is the time from a push to the new text in the directory, told by a
// webhook, beside what git takes to fetch and check out the same in a clone.
func BenchmarkSyncPush(b *testing.B) {
	c := newCloner(b, map[string]string{"file": "text"})
	if err := c.warm(); err != nil {
		b.Fatal(err)
	}
	secret := filepath.Join(c.base, "secret")
	if err := os.WriteFile(secret, []byte("a secret of the webhook"), 0o600); err != nil {
		b.Fatal(err)
	}
	const address = "127.0.0.1:18787"
	c.watching(b, []string{"site/file"}, "acme/site", "--to", filepath.Join(c.base, "site"), "--period", "1h", "--webhook",
		address, "--webhook-secret-file", secret)
	clone := c.dir()
	if err := c.git(clone); err != nil {
		b.Fatal(err)
	}
	n := 0
	push := func(told bool) string {
		n++
		text := strconv.Itoa(n)
		hook := githubtest.Webhook{}
		if told {
			hook = githubtest.Webhook{URL: "http://" + address + "/webhook", Secret: "a secret of the webhook", Origin: c.url}
		}
		c.app.SetWebhook(hook, "push")
		if _, err := c.Repository("acme/site").Commit("main", "Change", map[string]string{"file": text}); err != nil {
			b.Fatal(err)
		}
		return text
	}
	race(b, 20, 1,
		contestant{"sync", func() (time.Duration, error) {
			// The stand-in delivers before Commit returns.
			text := push(true)
			deliveries := c.app.Deliveries()
			took := deliveries[len(deliveries)-1].Took
			begun := time.Now()
			c.appears(b, filepath.Join(c.base, "site", "file"), text)
			return time.Since(begun) + took, nil
		}},
		contestant{"git", func() (time.Duration, error) {
			text := push(false)
			begun := time.Now()
			err := c.run("git", "-C", clone, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", "main")
			if err == nil {
				err = c.run("git", "-C", clone, "reset", "--quiet", "--hard", "FETCH_HEAD")
			}
			took := time.Since(begun)
			c.appears(b, filepath.Join(clone, "file"), text)
			return took, err
		}},
	)
}

// BenchmarkSyncMany is what 200 directories in one process take while nothing is new:
// memory, processor time, and requests in a period.
func BenchmarkSyncMany(b *testing.B) {
	const many = 200
	c := newCloner(b, map[string]string{"file": "text"})
	config := "sync:\n"
	var paths []string
	for i := range many {
		name := fmt.Sprintf("site-%d", i)
		if _, err := c.AddRepository("acme/"+name, githubtest.RepositoryOptions{}).Commit("main", "Begin",
			map[string]string{"name": name}); err != nil {
			b.Fatal(err)
		}
		config += fmt.Sprintf("  %s: {repository: acme/%s, to: %s, period: 60s}\n", name, name,
			filepath.Join(c.base, "many", name))
		paths = append(paths, filepath.Join("many", name, "name"))
	}
	file := filepath.Join(c.base, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	w := c.watching(b, paths, "--all", "--config", file)
	time.Sleep(70 * time.Second) // until all are in step
	for b.Loop() {
		own, children, _ := w.used(b)
		c.ResetRequests()
		begun := time.Now()
		time.Sleep(60 * time.Second)
		ownAfter, childrenAfter, resident := w.used(b)
		if childrenAfter != children {
			b.Fatal("a process was started")
		}
		b.ReportMetric(float64(resident)/1e6, "MB-resident")
		b.ReportMetric(100*float64(ownAfter-own)/float64(time.Since(begun)), "cpu-percent")
		b.ReportMetric(float64(len(c.Requests())), "requests/minute")
	}
}
