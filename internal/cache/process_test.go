//go:build unix

package cache

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The tests of this file run the test binary again, as other processes of the
// same user or of another one.

// roleVariable tells a process that it is one of those, and which.
const roleVariable = "CACHE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// play is the program of such a process. Arguments: the directory, the key, and
// what the role wants.
func play(role string, args []string) int {
	f, err := Open(args[0])
	if err != nil {
		return report(outcome{Error: err.Error(), Kind: fmt.Sprintf("%T", err)})
	}
	ctx, key := context.Background(), args[1]
	store := func(text string) outcome {
		var o outcome
		err := f.Update(ctx, key, func(_ context.Context, old []byte) ([]byte, error) {
			o.Called = true
			return []byte(text), nil
		})
		if err != nil {
			o.Error, o.Kind = err.Error(), fmt.Sprintf("%T", err)
		}
		if failed, ok := errors.AsType[*StoreError](err); ok {
			o.Ran = failed.Ran
		}
		return o
	}
	switch role {
	case "get":
		entry, err := f.Get(ctx, key)
		o := outcome{Entry: string(entry)}
		if err != nil {
			o.Error, o.Kind = err.Error(), fmt.Sprintf("%T", err)
		}
		return report(o)
	case "update":
		return report(store(args[2]))
	case "update, on a full disk":
		// A limit on the size of files stands in for it.
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 1000, Max: 1000}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return report(outcome{Error: err.Error()})
		}
		return report(store(strings.Repeat("x", 4000)))
	case "one of many":
		fmt.Println("ready")
		var o outcome
		err := f.Update(ctx, key, func(_ context.Context, old []byte) ([]byte, error) {
			if old != nil {
				o.Entry = string(old)
				return old, nil
			}
			o.Called = true
			_, err := io.ReadAll(os.Stdin) // until all the others wait
			return []byte("minted"), err
		})
		if err != nil {
			o.Error = err.Error()
		}
		return report(o)
	case "write without end":
		for n := 0; ; n++ {
			letter := string(rune('a' + n%26))
			if o := store(strings.Repeat(letter, 64<<10)); o.Error != "" {
				return report(o)
			}
			fmt.Println(n)
		}
	case "answer without end":
		return report(outcome{Error: keepWithoutEnd(f, key, func(n int) { fmt.Println(n) }).Error()})
	case "stop":
		return report(outcome{Error: stopAt(f, key, args[2]).Error()})
	}
	return report(outcome{Error: "no such role"})
}

// steps are the steps of an update, in order, after each of which a process may
// be killed.
var steps = []string{"locked", "in fn", "file made", "file half written", "file written", "renamed", "removed"}

// stopAt does what Update does up to a step, says so, and waits to be killed.
func stopAt(f *Files, key, step string) error {
	reached := func(name string) {
		if name == step {
			fmt.Println(step)
			_, _ = io.ReadAll(os.Stdin)
		}
	}
	if step == "in fn" {
		return f.Update(context.Background(), key, func(context.Context, []byte) ([]byte, error) {
			reached(step)
			return nil, nil
		})
	}
	root, err := f.ensure()
	if err != nil {
		return err
	}
	if _, err := f.lock(context.Background(), root, shardOf(key)); err != nil {
		return err
	}
	reached("locked")
	if strings.HasPrefix(step, "file ") && step != "file written" {
		// What stage leaves when it is killed between two system calls.
		text := map[string]string{"file made": "", "file half written": "ne"}[step]
		if err := os.WriteFile(filepath.Join(f.dir, tempPrefix+"KILLED"), []byte(text), 0o600); err != nil {
			return err
		}
		reached(step)
	}
	file, err := stage(root, key, []byte("new"))
	if err != nil {
		return err
	}
	reached("file written")
	if err := file.Commit(); err != nil {
		return err
	}
	reached("renamed")
	if err := remove(root, key); err != nil {
		return err
	}
	reached("removed")
	return errors.New("no such step")
}

// outcome is what such a process says of itself.
type outcome struct {
	Called, Ran  bool
	Entry, Error string
	Kind         string // of the error
}

func report(o outcome) int {
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		return 1
	}
	return 0
}

// process is a started one.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Scanner
}

func start(t *testing.T, binary, role string, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	// The race detector would sleep for a second at the end of each.
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	if binary != os.Args[0] && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	in := testkit.Must(cmd.StdinPipe())(t)
	out := testkit.Must(cmd.StdoutPipe())(t)
	testkit.OK(t, cmd.Start())
	return &process{t, cmd, in, bufio.NewScanner(out)}
}

// line waits for the next line the process writes.
func (p *process) line() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Errorf("the process ended early: %v, %v", p.out.Err(), p.cmd.Wait())
	}
	return p.out.Text()
}

func (p *process) kill() {
	p.t.Helper()
	testkit.OK(p.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // "signal: killed"
}

// outcome waits for the end of the process.
func (p *process) outcome() outcome {
	p.t.Helper()
	_ = p.in.Close()
	var o outcome
	testkit.OK(p.t, json.Unmarshal([]byte(p.line()), &o))
	testkit.OK(p.t, p.cmd.Wait())
	return o
}

// forAnotherUser returns a copy of the test binary that another user may run, and
// a directory that belongs to that user: nobody where the tests run as root, and
// else the same one.
func forAnotherUser(t *testing.T) (binary, dir string) {
	t.Helper()
	parent := t.TempDir()
	self := testkit.Must(os.Executable())(t)
	text := testkit.Must(os.ReadFile(self))(t)
	binary, dir = filepath.Join(parent, "binary"), filepath.Join(parent, "home")
	err := errors.Join(
		os.Chmod(filepath.Dir(parent), 0o755), os.Chmod(parent, 0o755),
		os.WriteFile(binary, text, 0o755), os.Chmod(binary, 0o755),
		os.Mkdir(dir, 0o700),
	)
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(dir, nobody, nobody)
	}
	testkit.OK(t, err)
	return binary, dir
}

func TestFiftyProcessesMintOnce(t *testing.T) {
	dir := newDir(t)
	const many = 50
	processes := make([]*process, many)
	for i := range processes {
		processes[i] = start(t, os.Args[0], "one of many", dir, keyOf("k"))
	}
	for _, p := range processes {
		if line := p.line(); line != "ready" {
			t.Fatalf("got %q", line)
		}
	}
	begin := time.Now()
	for _, p := range processes {
		testkit.OK(t, p.in.Close())
	}
	mints := 0
	for _, p := range processes {
		o := p.outcome()
		if o.Called {
			mints++
		} else if o.Entry != "minted" {
			t.Errorf("a process got %+v", o)
		}
	}
	t.Logf("fifty processes were through %s after the mint could end", time.Since(begin))
	testkit.Equal(t, mints, 1, "mints")
}

// TestKilledProcess kills a process after each step of an update: what it had
// finished stays, what it had begun is not seen, and its lock is free.
func TestKilledProcess(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			dir := newDir(t)
			f := open(t, dir)
			put(t, f, keyOf("k"), "old")
			p := start(t, os.Args[0], "stop", dir, keyOf("k"), step)
			if line := p.line(); line != step {
				t.Fatalf("got %q", line)
			}
			root, err := f.open()
			testkit.OK(t, err)
			defer root.Close()
			if unlock, ok := f.tryLock(root, shardOf(keyOf("k"))); ok {
				unlock()
				t.Error("the lock is free while its holder lives")
			}
			p.kill()
			want := map[string]string{"renamed": "new", "removed": ""}
			expected, ok := want[step]
			if !ok {
				expected = "old"
			}
			testkit.Equal(t, string(get(t, f, keyOf("k"))), expected, "the entry")
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err = f.Update(ctx, keyOf("k"), func(_ context.Context, old []byte) ([]byte, error) {
				testkit.Equal(t, string(old), expected, "Update was given %q", old)
				return []byte("next"), nil
			})
			testkit.OK(t, err, "the update after it")
		})
	}
}

// TestProcessKilledAnywhere kills processes that do nothing but write, wherever
// they are.
func TestProcessKilledAnywhere(t *testing.T) {
	testkit.Long(t)
	dir := newDir(t)
	f := open(t, dir)
	const kills = 20
	for range kills {
		p := start(t, os.Args[0], "write without end", dir, keyOf("k"))
		for range 1 + rand.IntN(20) {
			p.line()
		}
		p.kill()
		entry := get(t, f, keyOf("k"))
		if len(entry) != 64<<10 || len(bytes.Trim(entry, string(entry[:1]))) != 0 {
			t.Fatalf("the entry has %d bytes, or not all are the same", len(entry))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := f.Update(ctx, keyOf("k"), func(_ context.Context, old []byte) ([]byte, error) { return old, nil })
		cancel()
		testkit.OK(t, err, "the update after it")
	}
	left := testkit.Must(filepath.Glob(filepath.Join(dir, tempPrefix+"*")))(t)
	if len(left) > kills {
		t.Errorf("%d unfinished files after %d kills", len(left), kills)
	}
}

func TestFullDisk(t *testing.T) {
	dir := newDir(t)
	f := open(t, dir)
	put(t, f, keyOf("k"), "old")
	got := start(t, os.Args[0], "update, on a full disk", dir, keyOf("k")).outcome()
	want := outcome{Called: true, Ran: true, Kind: "*cache.StoreError",
		Error: "cannot write to the cache in " + dir + ": " + syscall.EFBIG.Error()}
	testkit.Equal(t, got, want)
	testkit.Equal(t, string(get(t, f, keyOf("k"))), "old", "the entry")
	if left, _ := filepath.Glob(filepath.Join(dir, tempPrefix+"*")); len(left) != 0 {
		t.Errorf("unfinished files: %v", left)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	binary, home := forAnotherUser(t)
	dir := filepath.Join(home, "cache")
	known, unknown := strings.Repeat("a", 64), strings.Repeat("b", 64)
	do := func(role, key string) outcome {
		t.Helper()
		return start(t, binary, role, dir, key, "text").outcome()
	}
	if got, want := do("update", known), (outcome{Called: true}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	testkit.OK(t, os.Chmod(dir, 0o500))
	defer os.Chmod(dir, 0o700)
	if got, want := do("get", known), (outcome{Entry: "text"}); got != want {
		t.Errorf("get: got %+v, want %+v", got, want)
	}
	// Nothing to write: no error.
	if got, want := do("update", known), (outcome{Called: true}); got != want {
		t.Errorf("the same text: got %+v, want %+v", got, want)
	}
	// A lock that is there can be taken; the failure comes after fn.
	got := start(t, binary, "update", dir, known, "other text").outcome()
	want := outcome{Called: true, Ran: true, Kind: "*cache.StoreError",
		Error: "cannot write to the cache in " + dir + ": " + syscall.EACCES.Error()}
	testkit.Equal(t, got, want, "with a lock file")
	// Without one the failure comes before.
	want = outcome{Kind: "*cache.StoreError", Error: "cannot lock the cache in " + dir + ": " + syscall.EACCES.Error()}
	testkit.Equal(t, do("update", unknown), want, "without a lock file")
}

// TestTwoUsers has two users share one path, whoever comes first. Where the tests
// do not run as root, the two are the same user, who is not refused.
func TestTwoUsers(t *testing.T) {
	binary, home := forAnotherUser(t)
	theirs := filepath.Join(home, "cache")
	if got := start(t, binary, "update", theirs, keyOf("k"), "theirs").outcome(); got != (outcome{Called: true}) {
		t.Fatalf("got %+v", got)
	}
	mine := newDir(t)
	f := open(t, mine)
	put(t, f, keyOf("k"), "mine")
	testkit.OK(t, errors.Join(os.Chmod(filepath.Dir(filepath.Dir(mine)), 0o755), os.Chmod(filepath.Dir(mine), 0o755)))
	_, err := Open(theirs)
	got := start(t, binary, "get", mine, keyOf("k")).outcome()
	if os.Geteuid() != 0 {
		if err != nil || got != (outcome{Entry: "mine"}) {
			t.Errorf("the same user is refused: %v, %+v", err, got)
		}
		return
	}
	checkRefused(t, err, "", theirs,
		fmt.Sprintf("it belongs to user %d, not 0; run ghapp as its owner, or name a directory of your own", nobody))
	want := outcome{Kind: "*cache.DirError", Error: "the cache directory " + mine + " is not used: " +
		"it belongs to user 0, not " + strconv.Itoa(nobody) + "; run ghapp as its owner, or name a directory of your own"}
	testkit.Equal(t, got, want)
}

// TestLocksAreFew counts the files that locks leave behind, after updates of
// thousands of keys.
func TestLocksAreFew(t *testing.T) {
	f := open(t, newDir(t))
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 500 {
				err := f.Update(t.Context(), keyOf(fmt.Sprint(worker, i)),
					func(context.Context, []byte) ([]byte, error) { return nil, nil })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	names := testkit.Must(os.ReadDir(f.Dir()))(t)
	if len(names) > shards+1 {
		t.Errorf("%d files are left, want %d at most", len(names), shards+1)
	}
}
