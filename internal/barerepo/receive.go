package barerepo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/indexpack"
)

// fewObjects are so few that threads would take longer to begin than to help.
const fewObjects = 10_000

// indexer has git index-pack check, index and keep a pack that is written to it
// (https://git-scm.com/docs/git-index-pack). A pack of no objects needs none, and a small and plain
// one of a first fetch is kept without git.
type indexer struct {
	*run
	ctx     context.Context
	dir     string // GIT_DIR
	objects string // where the pack goes; empty: where the repository has its objects
	format  string
	alone   bool // it has to have all that its objects need
	options Options

	held   []byte // of the pack, as long as git is not started
	count  uint32 // how many objects it has
	to     *os.File
	ended  chan error
	broken bool // git reads no more
}

// packHead is how long the head of a pack is (gitformat-pack(5)).
const packHead = 12

// Write implements [io.Writer]. What is small is held: it may need no process.
func (x *indexer) Write(b []byte) (int, error) {
	if x.to != nil {
		return x.send(b)
	}
	x.held = append(x.held, b...)
	if len(x.held) < packHead {
		return len(b), nil
	}
	if !bytes.HasPrefix(x.held, []byte("PACK")) {
		return 0, errors.New("what came is no pack")
	}
	switch x.count = binary.BigEndian.Uint32(x.held[8:]); {
	case x.count == 0:
		x.held = x.held[:packHead]
	case !x.alone || x.format != gitwire.SHA1 || len(x.held) > indexpack.MaxBytes || x.count > indexpack.MaxObjects:
		if err := x.handOver(); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// handOver starts git, and sends it what is held.
func (x *indexer) handOver() error {
	if err := x.start(); err != nil {
		return err
	}
	held := x.held
	x.held = nil
	_, err := x.send(held)
	return err
}

// keep keeps a pack without git. It reports whether it may be kept so.
func (x *indexer) keep() (bool, error) {
	index, err := indexpack.Make(x.held)
	if err != nil {
		x.log().Debug("the pack is left to git", "repository", x.Dir, "since", err)
		return false, nil
	}
	name := filepath.Join(x.dir, "objects", "pack", "pack-"+index.Name)
	const perm = 0o444 // as git has it: neither changes
	if err := os.WriteFile(name+".pack", x.held, perm); err != nil {
		return true, err
	}
	return true, os.WriteFile(name+".idx", index.Bytes, perm)
}

func (x *indexer) send(b []byte) (int, error) {
	n, err := x.to.Write(b)
	x.broken = x.broken || err != nil
	return n, err
}

// start starts git.
func (x *indexer) start() error {
	if err := checkConfiguration(x.dir); err != nil {
		return err
	}
	read, write, err := gitcmd.Pipe()
	if err != nil {
		return err
	}
	x.to, x.ended = write, make(chan error, 1)
	// All of it is flushed at once, before it counts.
	name, value := gitcmd.WholeObjects()
	git := x.git(x.dir, x.objects, "core.fsync=none", name+"="+value)
	git.Environ = gitcmd.Bounded(git.Environ)
	git.Stdin = read
	args := x.args()
	x.processes++
	go func() {
		err := git.Run(x.ctx, gitcmd.Scope{}, args...)
		_ = read.Close()
		x.ended <- err
	}()
	return nil
}

func (x *indexer) args() []string {
	args := []string{"index-pack", "--stdin", x.options.strict()}
	if x.alone {
		args = append(args, "--check-self-contained-and-connected")
	} else {
		args = append(args, "--fix-thin")
	}
	if x.count < fewObjects {
		args = append(args, "--threads=1")
	}
	return args
}

// strict is the option that has git index-pack check objects.
func (o *Options) strict() string {
	return gitcmd.Strict(slices.DeleteFunc(slices.Concat(gitcmd.Unchecked(), o.FsckIgnore), func(name string) bool {
		return slices.ContainsFunc(o.unknown, func(n string) bool { return strings.EqualFold(n, name) })
	}))
}

// end waits until the pack is kept. sent is the error of what has written to it.
func (x *indexer) end(sent error) error {
	if x.ended == nil {
		switch {
		case sent != nil || x.count == 0 && len(x.held) == packHead:
			return sent
		case len(x.held) < packHead:
			return errors.New("the pack ends within its head")
		}
		if kept, err := x.keep(); kept {
			return err
		}
		if sent = x.handOver(); x.ended == nil {
			return sent
		}
	}
	_ = x.to.Close()
	err := <-x.ended
	switch {
	case sent != nil && !x.broken:
		return sent // git fails because of it
	case err == nil && sent != nil:
		return errors.New("the pack goes on after its end")
	case err == nil:
		return nil
	}
	return x.failure(err)
}

// failure tells of objects that are not there.
func (x *indexer) failure(err error) error {
	e, ok := errors.AsType[*gitcmd.Error](err)
	if !ok {
		return err
	}
	missing := strings.Contains(e.Stderr, "did not receive expected object") ||
		strings.Contains(e.Stderr, "unable to find ") || strings.Contains(e.Stderr, "unresolved delta")
	if missing || x.alone && e.ExitCode == 1 {
		return &Error{Problem: ErrMissing, Op: "check what came", Err: err}
	}
	return refused(err)
}

// refused is git's failure over what came, if git knows no other reason for it.
func refused(err error) error {
	e, ok := errors.AsType[*gitcmd.Error](err)
	if !ok || e.Reason != gitcmd.Unknown && e.Reason != gitcmd.ConnectionLost || e.ExitCode <= 0 {
		return err
	}
	return &Error{Problem: ErrBroken, Op: "check what came", Err: err}
}

// unknownCheck is the name of a check that this git does not know, if that is why it failed.
func unknownCheck(err error) string {
	e, ok := errors.AsType[*gitcmd.Error](err)
	if !ok {
		return ""
	}
	_, name, found := strings.Cut(e.Stderr, "Unhandled message id: ")
	if !found {
		return ""
	}
	name, _, _ = strings.Cut(name, "\n")
	return strings.TrimSpace(name)
}

// receive fetches what is wanted, into objects.
func (u *update) receive(dir, objects string, alone bool, wants, haves []string) error {
	for {
		x := &indexer{
			run: u.run, ctx: u.ctx, dir: dir, objects: objects, format: u.there.format, alone: alone, options: u.Options,
		}
		n, err := u.from.Fetch(u.ctx, gitwire.Request{
			Format: u.there.format, Wants: wants, Haves: haves,
			MaxBytes: u.MaxBytes, Stall: u.Stall, Progress: u.Progress,
		}, x)
		u.result.Requests++
		u.result.Bytes += n
		err = x.end(err)
		name := unknownCheck(err)
		if name == "" || slices.Contains(u.unknown, name) {
			return err
		}
		// A git that is older than the check cannot be told to leave it out, and leaves it out.
		u.unknown = append(u.unknown, name)
	}
}
