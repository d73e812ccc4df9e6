// Package gitcmd runs git so that it uses the credentials it is given and no
// others. A [Scope] says which repositories a call is about and who answers for
// them; the machine's own helpers, headers, prompts and rewrites are switched off
// for that call only, through GIT_CONFIG_COUNT in the child's environment
// (https://git-scm.com/docs/git-config#ENVIRONMENT), which carries configuration
// and never a secret. The user's proxy, certificates, filters and ssh stay as they
// are.
//
// Two things stay out of reach: git-lfs looks into ~/.netrc before it asks a helper,
// and a submodule that is rewritten by an insteadOf of exactly its own address goes
// where that says.
//
// What git prints passes through a filter before anybody sees it, and a failure of
// git's comes back as an [Error] with a [Reason].
package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"time"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/process"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// grace is how long git may take to stop when it is asked to, and how long a
// program it left behind may hold its output.
const grace = 5 * time.Second

// Runner runs git. The zero value runs the git on PATH with an empty environment
// in the current directory and shows nothing of what it prints.
type Runner struct {
	// Git is the program. Empty: git, looked for on PATH.
	Git string
	// Dir is git's working directory, which relative paths start from. Empty: that
	// of this process.
	Dir string
	// Repository is what git works in. Zero: what it finds by Dir.
	Repository Repository
	// NoBare keeps git from a repository without a work tree that it finds by Dir: one may
	// lie among the files of a clone (safe.bareRepository, from git 2.38 on).
	NoBare bool
	// Environ is the environment of the user, as os.Environ gives it.
	Environ []string
	// Own are secrets in Environ that must not reach git.
	Own childenv.Own
	// Config are settings for the call, each as "section.name=value", which go before all
	// others that are not secured by [Scope].
	Config []string
	// Stdin is what git reads. An [*os.File] is handed over as it is. Nil: nothing.
	Stdin io.Reader
	// Stdout and Stderr get what git prints; nil discards it. They are written to
	// from two goroutines.
	Stdout, Stderr io.Writer
	// Filter stands before Stdout and Stderr and before what an [Error] keeps. A
	// writer that is an io.Closer as well is closed at the end. Nil: no filter.
	Filter func(io.Writer) io.Writer
	// Progress makes git report its progress although it does not write to a
	// terminal itself.
	Progress bool
	// Grace is how long git may take to stop when the context ends, before it and
	// all it started are killed. Zero: 5 seconds.
	Grace time.Duration
}

// Repository names the parts of a repository that are not where git would look for them
// (https://git-scm.com/docs/git#_the_git_repository). Each may be empty.
type Repository struct {
	Dir      string // GIT_DIR
	WorkTree string // GIT_WORK_TREE
	Index    string // GIT_INDEX_FILE
	Objects  string // GIT_OBJECT_DIRECTORY
	Grafts   string // GIT_GRAFT_FILE
	Shallow  string // GIT_SHALLOW_FILE
}

// Run runs git with args, which the caller has made safe: a value that came from
// outside stands after "--" or is joined to its option with "=". It returns an
// [*Error] when git cannot be started, fails, or is stopped because ctx ended; the
// last unwraps to ctx's cause.
func (r *Runner) Run(ctx context.Context, s Scope, args ...string) error {
	env, err := r.environ(ctx, s)
	if err != nil {
		return err
	}
	return r.run(ctx, env, r.Stdout, r.Stderr, args)
}

// Output is [Runner.Run] with git's standard output as the result, unfiltered, and
// nothing shown.
func (r *Runner) Output(ctx context.Context, s Scope, args ...string) ([]byte, error) {
	env, err := r.environ(ctx, s)
	if err != nil {
		return nil, err
	}
	return r.output(ctx, env, args)
}

func (r *Runner) output(ctx context.Context, env environ, args []string) ([]byte, error) {
	var stdout bytes.Buffer
	plain := *r
	plain.Filter = nil
	err := plain.run(ctx, env, rawWriter{&stdout}, nil, args)
	return stdout.Bytes(), err
}

// rawWriter takes the bytes as they are, control characters too.
type rawWriter struct{ io.Writer }

// Raw is a [Runner.Stdout] that gets the bytes as git writes them, past every filter: for what
// nobody is shown.
func Raw(w io.Writer) io.Writer { return rawWriter{w} }

func (r *Runner) run(ctx context.Context, env environ, stdout, stderr io.Writer, args []string) error {
	op := args[0]
	git := r.Git
	if git == "" {
		git = "git"
	}
	path, err := exec.LookPath(git)
	if err != nil {
		return &Error{Op: op, Reason: NotInstalled, ExitCode: -1, Err: err}
	}

	tail := &tail{}
	shown := io.Writer(tail)
	if stderr != nil {
		shown = io.MultiWriter(tail, stderr)
	}
	out, closeOut := r.filter(stdout)
	errOut, closeErr := r.filter(shown)

	cmd := exec.CommandContext(ctx, path, append([]string{floor}, args...)...)
	cmd.Dir, cmd.Env = r.Dir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r.Stdin, out, errOut
	cmd.WaitDelay = r.Grace
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = grace
	}
	err = process.Run(ctx, cmd, env.allows("ssh"))
	closeOut()
	closeErr()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		// git itself is done, and did well; something that it left running in the
		// background keeps its output open.
		err = nil
	}
	if err == nil {
		return nil
	}
	return failure(ctx, op, cmd.ProcessState, err, tail.String())
}

// floor stops a git before 2.31, which would pass over GIT_CONFIG_COUNT without a
// word and use whatever credentials the machine has: such a git does not know this
// option. Newer ones read a setting from it that is wanted anyway.
const floor = "--config-env=credential.interactive=GIT_TERMINAL_PROMPT"

// filter puts the filters before w and returns what ends them.
func (r *Runner) filter(w io.Writer) (io.Writer, func()) {
	if w == nil {
		return io.Discard, func() {}
	}
	if raw, ok := w.(rawWriter); ok {
		return raw.Writer, func() {}
	}
	end := func() {}
	if r.Filter != nil {
		w = r.Filter(w)
		if closer, ok := w.(io.Closer); ok {
			end = func() { _ = closer.Close() }
		}
	}
	// A server writes what it likes into "remote:" lines, and git before 2.55 hands it
	// to the terminal as it is (CVE-2024-52005).
	unnamed := &unnamedProxy{w: w}
	own := &marked{w: unnamed}
	printable := text.NewWriter(own)
	return printable, func() {
		_ = printable.Flush()
		own.flush()
		_ = unnamed.Close()
		end()
	}
}
