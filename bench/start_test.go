package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/credential"
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
}

// program is run with as little between it and the clock as there can be: no pipe and
// no goroutine, only files.
type program struct {
	argv   []string
	env    []string
	stdin  *os.File // read from its beginning in each turn
	stdout *os.File
	prefix string // of what it must print
}

func newProgram(tb testing.TB, path, prefix string, args ...string) *program {
	tb.Helper()
	p := &program{argv: append([]string{path}, args...), prefix: prefix, env: []string{"HOME=" + tb.TempDir()}}
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

func (p *program) turn() (time.Duration, error) {
	if err := errors.Join(rewind(p.stdin), p.stdout.Truncate(0), rewind(p.stdout)); err != nil {
		return 0, err
	}
	start := time.Now()
	process, err := os.StartProcess(p.argv[0], p.argv, &os.ProcAttr{
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

// newHelper is git-credential-ghapp as git runs it, with an agent that has the answer.
func newHelper(tb testing.TB) *program {
	tb.Helper()
	answer := &credential.Credential{Username: "x-access-token", Password: credential.NewSecret("ghs_" + strings.Repeat("x", 36))}
	listener, err := agent.Listen(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- agent.Serve(context.Background(), listener, always{answer}) }()
	tb.Cleanup(func() {
		if err := errors.Join(listener.Close(), <-served); err != nil {
			tb.Error(err)
		}
	})
	var expected bytes.Buffer
	if err := answer.Encode(&expected); err != nil {
		tb.Fatal(err)
	}
	p := newProgram(tb, build(tb, "../cmd/git-credential-ghapp"), expected.String(), "get")
	p.env = append(p.env, "GHAPP_AGENT_SOCK="+listener.Path())
	if _, err := p.stdin.WriteString("protocol=https\nhost=github.com\npath=acme/site.git\nwwwauth[]=Basic realm=\"GitHub\"\n\n"); err != nil {
		tb.Fatal(err)
	}
	return p
}

// always is an agent with one answer.
type always struct{ answer *credential.Credential }

func (a always) Credential(context.Context, credential.Operation, *credential.Credential) (*credential.Credential, error) {
	return a.answer, nil
}

// TestStart runs what BenchmarkStart measures: a program that fails or prints something
// else would make a fine time.
func TestStart(t *testing.T) {
	for name, p := range map[string]*program{
		"line":    newProgram(t, build(t, "testdata/line"), "protocol=https\n"),
		"version": newProgram(t, build(t, "../cmd/ghapp"), "ghapp bench ", "version"),
		"helper":  newHelper(t),
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
