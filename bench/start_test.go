package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/cache"
	"github.com/ghapp-dev/ghapp/internal/credcache"
	"github.com/ghapp-dev/ghapp/secret"
)

// BenchmarkStart runs whole processes beside a Go program that prints one line, which
// is the least that the system, the Go runtime and this harness cost.
func BenchmarkStart(b *testing.B) {
	line := newProgram(b, build(b, "testdata/line"), "protocol=https\n")

	b.Run("version", func(b *testing.B) {
		version := newProgram(b, build(b, "../cmd/ghapp"), "ghapp bench ", "version")
		race(b, 200, 1, contestant{"ghapp", version.turn}, contestant{"line", line.turn})
	})
	b.Run("helper", func(b *testing.B) {
		race(b, 200, 1, contestant{"ghapp", newHelper(b).turn}, contestant{"line", line.turn})
	})
	b.Run("helper-cached", func(b *testing.B) {
		race(b, 200, 1, contestant{"ghapp", newCachedHelper(b).turn}, contestant{"line", line.turn})
	})
	b.Run("before", func(b *testing.B) {
		before := newProgram(b, builtBefore(b, "ghapp"), "ghapp ", "version")
		race(b, 200, 1, contestant{"ghapp", newProgram(b, build(b, "../cmd/ghapp"), "ghapp ", "version").turn},
			contestant{"before", before.turn})
	})
	b.Run("helper-before", func(b *testing.B) {
		before := newHelper(b).with(b, builtBefore(b, "git-credential-ghapp"))
		race(b, 200, 1, contestant{"ghapp", newHelper(b).turn}, contestant{"before", before.turn})
	})
}

// builtBefore copies a program of another commit's from the directory that BENCH_BEFORE
// names: what a change costs is seen beside what was there before it.
func builtBefore(b *testing.B, name string) string {
	b.Helper()
	dir := os.Getenv("BENCH_BEFORE")
	if dir == "" {
		b.Skip("BENCH_BEFORE names no directory with the programs of another commit")
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(programs, name+"-before")
	if err := os.WriteFile(path, text, 0o755); err != nil {
		b.Fatal(err)
	}
	return path
}

// copies is how many of a program are measured, each a file of its own. Where the pages
// of a file happen to lie in memory makes its starts a tenth quicker or slower, all of
// them alike.
const copies = 12

// program is run with as little between it and the clock as there can be: no pipe and
// no goroutine, only files.
type program struct {
	copies []string // of the program, which take turns
	turns  int
	argv   []string
	env    []string
	stdin  *os.File // read from its beginning in each turn
	stdout *os.File
	prefix string // of what it must print
}

func newProgram(tb testing.TB, path, prefix string, args ...string) *program {
	tb.Helper()
	p := (&program{argv: append([]string{path}, args...), prefix: prefix,
		env: []string{"HOME=" + tb.TempDir()}}).with(tb, path)
	for _, file := range []**os.File{&p.stdin, &p.stdout} {
		f, err := os.CreateTemp(tb.TempDir(), "")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { f.Close() })
		*file = f
	}
	return p
}

// with is the same with the program at path.
func (p *program) with(tb testing.TB, path string) *program {
	tb.Helper()
	p.copies = nil
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	many := 1
	if _, measured := tb.(*testing.B); measured {
		many = copies
	}
	for i := range many {
		p.copies = append(p.copies, fmt.Sprintf("%s-%d", path, i))
		if err := os.WriteFile(p.copies[i], text, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	return p
}

func (p *program) turn() (time.Duration, error) {
	if err := errors.Join(rewind(p.stdin), p.stdout.Truncate(0), rewind(p.stdout)); err != nil {
		return 0, err
	}
	p.turns++
	start := time.Now()
	process, err := os.StartProcess(p.copies[p.turns%len(p.copies)], p.argv, &os.ProcAttr{
		Env: p.env, Files: []*os.File{p.stdin, p.stdout, os.Stderr},
	})
	if err != nil {
		return 0, err
	}
	state, err := process.Wait()
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	printed := make([]byte, len(p.prefix))
	if _, err := p.stdout.ReadAt(printed, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if !state.Success() || string(printed) != p.prefix {
		return 0, fmt.Errorf("%v: %v, printed %q", p.argv, state, printed)
	}
	return took, nil
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// question is what git asks the helper.
const question = "protocol=https\nhost=github.com\npath=acme/site.git\nwwwauth[]=Basic realm=\"GitHub\"\n\n"

// answered is what git-credential-ghapp says to it.
func answered() *credential.Credential {
	return &credential.Credential{Username: "x-access-token", Password: secret.New("ghs_" + strings.Repeat("x", 36))}
}

// newHelper is git-credential-ghapp as git runs it, with an agent that has the answer.
func newHelper(tb testing.TB) *program {
	tb.Helper()
	listener, err := agent.Listen(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- agent.Serve(context.Background(), listener, always{answered()}) }()
	tb.Cleanup(func() {
		if err := errors.Join(listener.Close(), <-served); err != nil {
			tb.Error(err)
		}
	})
	p := newAsked(tb)
	p.env = append(p.env, "GHAPP_AGENT_SOCK="+listener.Path())
	return p
}

// newCachedHelper is git-credential-ghapp without an agent, after ghapp has answered
// the same question before.
func newCachedHelper(tb testing.TB) *program {
	tb.Helper()
	p := newAsked(tb)
	_, home, _ := strings.Cut(p.env[0], "=")
	asked, err := credential.Parse(strings.NewReader(question))
	if err != nil {
		tb.Fatal(err)
	}
	key := filepath.Join(home, "app.pem")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	info, err := os.Stat(key)
	if err != nil {
		tb.Fatal(err)
	}
	stamp, supported := credcache.StampOf(info)
	about, ok := credcache.Ask(nil, p.env, asked)
	if !supported || !ok {
		tb.Skip("no answers are kept on this system")
	}
	lookup := func(name string) (string, bool) { return map[string]string{"HOME": home}[name], name == "HOME" }
	files, err := cache.Open(credcache.Dir(lookup))
	if err != nil {
		tb.Fatal(err)
	}
	entry := strings.Repeat("0", 64)
	kept := credcache.Answer{
		Question: about, From: time.Now().Add(-time.Hour), Until: time.Now().Add(24 * time.Hour), Credential: answered(),
		Files: []credcache.File{{Path: filepath.Join(home, ".config", "ghapp", "config.yaml")}, {Path: key, Stamp: stamp}},
	}
	if err := errors.Join(
		files.Put(tb.Context(), entry, []byte("token")),
		files.KeepAnswer(tb.Context(), entry, func([]byte) bool { return true }, kept),
	); err != nil {
		tb.Fatal(err)
	}
	return p
}

// newAsked is git-credential-ghapp, asked by git. It is right when it gives the answer.
func newAsked(tb testing.TB) *program {
	tb.Helper()
	var expected bytes.Buffer
	if err := answered().Encode(&expected); err != nil {
		tb.Fatal(err)
	}
	p := newProgram(tb, build(tb, "../cmd/git-credential-ghapp"), expected.String(), "get")
	if _, err := p.stdin.WriteString(question); err != nil {
		tb.Fatal(err)
	}
	return p
}

// always is an agent with one answer.
type always struct{ answer *credential.Credential }

func (a always) Credential(context.Context, credential.Operation,
	*credential.Credential) (*credential.Credential, error) {
	return a.answer, nil
}

// TestStart runs what BenchmarkStart measures: a program that fails or prints something
// else would make a fine time.
func TestStart(t *testing.T) {
	for name, p := range map[string]*program{
		"line":    newProgram(t, build(t, "testdata/line"), "protocol=https\n"),
		"version": newProgram(t, build(t, "../cmd/ghapp"), "ghapp bench ", "version"),
		"helper":  newHelper(t),
		"cached":  newCachedHelper(t),
	} {
		if _, err := p.turn(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	silent := newProgram(t, build(t, "../cmd/git-credential-ghapp"), "username=", "store")
	if _, err := silent.turn(); err == nil {
		t.Error("a program that printed nothing passed for one that answered")
	}
}
