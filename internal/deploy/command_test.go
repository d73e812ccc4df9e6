//go:build unix

package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// until waits for something that another process does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// server prints a line for each file that appears in dir, and notes that it has lived on.
func server(dir string) string {
	return `cd "` + dir + `" && (n=1; while [ $n -le 3 ]; do
		if [ -e ask$n ]; then echo "answer $n" && : >did$n; n=$((n+1)); fi; sleep 0.02; done) & echo started`
}

// What a command leaves in the background without a word about its output would be
// killed by SIGPIPE with the next line that it prints.
func TestServerThatACommandLeavesRunningLivesOnAndIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	touch := func(name string) {
		testkit.OK(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	w.target.Exec = Command{Line: server(dir)}
	w.publish(w.commit(map[string]string{"a": "1"}))
	testkit.Equal(t, w.published().Exec, execDone)
	for _, n := range []string{"1", "2", "3"} {
		touch("ask" + n)
		until(t, "the server does its work "+n, func() bool { return exists(filepath.Join(dir, "did"+n)) })
		until(t, "its line is logged", func() bool { return strings.Contains(w.log.String(), "answer "+n) })
	}
	testkit.Contains(t, w.log.String(), "left something running")
}

// The same when the process that published is gone: its output goes nowhere.
func TestServerThatACommandLeavesRunningOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	role := w.role(w.want(w.commit(map[string]string{"a": "1"})))
	role.Exec = server(dir)
	if p := w.plays(role); p.Error != "" {
		t.Fatal(p.Error)
	}
	for _, n := range []string{"1", "2", "3"} {
		testkit.OK(t, os.WriteFile(filepath.Join(dir, "ask"+n), nil, 0o600))
		until(t, "the server does its work "+n, func() bool { return exists(filepath.Join(dir, "did"+n)) })
	}
}
