//go:build unix

package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// Mode is how a release gets into the place of the one before.
type Mode string

// The modes.
const (
	// Link makes the directory a symbolic link to the release.
	Link Mode = "link"
	// Directory makes the directory the release itself, by an atomic exchange
	// (renameat2(2)), where the system and the file system can do that.
	Directory Mode = "dir"
)

// Share is how a new release gets the files that the published one has already.
type Share string

// The ways to share.
const (
	// Reflink has a file of more than 64 KiB share its blocks with the old one, and makes a copy of
	// a smaller one, where the file system can share (ioctl_ficlone(2): btrfs, xfs). Elsewhere git
	// writes all files.
	Reflink Share = "reflink"
	// HardLink makes hard links where blocks cannot be shared. A program that writes to a
	// file in place, instead of replacing it, writes to all releases that share it.
	HardLink Share = "link"
	// NoShare has git write all files.
	NoShare Share = "none"
)

// Shares are all of them.
func Shares() []Share { return []Share{Reflink, HardLink, NoShare} }

// DefaultKeep is how many releases are kept where Target names no number.
const DefaultKeep = 3

// DefaultTimeout is how long a check or a command may take where Command names nothing.
const DefaultTimeout = 5 * time.Minute

// DefaultStall is how long a server may say nothing.
const DefaultStall = time.Minute

// Target is a directory that is kept at a commit. It is not to be changed while one of
// its methods runs; these may be called from several goroutines and processes at once,
// and take turns.
type Target struct {
	// Dir is the absolute path under which the published release is found. Required.
	Dir string
	// Mode is how it is published. Empty: [Link].
	Mode Mode
	// Keep is how many releases are kept, the published one among them; at least the
	// one before it stays too. 0: [DefaultKeep].
	Keep int
	// Share is how a release gets the files that have not changed. Empty: [Reflink].
	Share Share
	// TrustParent takes the directory above, and those on the way to it, although other
	// users may write there. What is ghapp's own has to be this user's all the same.
	TrustParent bool

	// Git runs git, with the environment of the user. Its Repository is set here.
	Git gitcmd.Runner
	// Scope says who answers git for a credential. Its URLs are set here.
	Scope gitcmd.Scope

	// Stall is how long a server may say nothing until it is given up, in whole seconds.
	// 0: [DefaultStall].
	Stall time.Duration
	// Depth is how many commits of the history are fetched. 0: the one that is wanted.
	Depth int
	// Filter leaves objects out until they are needed, as git fetch --filter does.
	Filter string
	// Sparse are the paths that a release has, files or directories. Empty: all.
	Sparse []string
	// Submodules has those of the commit checked out too, and theirs.
	Submodules bool
	// LFS has the large files of Git LFS in the place of their pointers.
	LFS bool
	// FsckIgnore are checks of git's that are left out when it fetches, besides those that
	// are left out always (https://git-scm.com/docs/git-fsck#_fsck_messages).
	FsckIgnore []string
	// Signatures are what is demanded of a commit. Nil: nothing.
	Signatures *Signatures

	// Check must succeed before a release is published. It runs in the release.
	Check Command
	// Exec runs once a release is published, in Dir.
	Exec Command
	// Environ is the environment of both, without secrets. Variables of ghapp's are
	// left out, and those that say what is published are added.
	Environ []string

	// Printed is told of each line that check or exec prints, after that command's name.
	// It may be called after a method has returned, for what a command has left running,
	// and from several goroutines. May be nil.
	Printed func(command, line string)
	// Log is told of each step, and of what the commands print. Nil: nothing is logged.
	Log *slog.Logger

	environs *environs // see isolated
	pack     Fetch     // of the request that is being served; nil: git fetches
}

// Command is a command line for the shell (sh -c). The zero value is none.
type Command struct {
	Line string
	// Timeout ends it, and all that it started. 0: [DefaultTimeout].
	Timeout time.Duration
	// Tries is how often it is run until it succeeds. 0: once.
	Tries int
	// Pause is the time before the second try; it doubles with each. 0: a second.
	Pause time.Duration
}

// Fetch writes a pack of a repository to w, and returns its size in bytes, as
// [gitwire.Service.Fetch] does.
type Fetch func(ctx context.Context, want gitwire.Request, w io.Writer) (int64, error)

// Request is what is to be published.
type Request struct {
	Repository string // owner/name
	URL        string // its https address
	Ref        string // its full name; empty for an exact commit
	Commit     string // hexadecimal, in full
	Force      bool   // build and publish it although it is what is published
	// Patient leaves a command after the release that has failed alone for a while, longer
	// with each time, where the caller comes by more often than that.
	Patient bool
	// Fetch fetches the repository without git fetch, where no more is wanted than the commit
	// itself, in full. Whatever goes wrong with it, git fetch is asked. Nil: git fetch alone.
	Fetch Fetch `json:"-"`
}

func (t *Target) validate() error {
	switch {
	case !filepath.IsAbs(t.Dir) || filepath.Clean(t.Dir) != t.Dir || t.Dir == "/":
		return fmt.Errorf("%q is no absolute path of a directory that can be kept", t.Dir)
	case t.Mode != "" && t.Mode != Link && t.Mode != Directory:
		return fmt.Errorf("there is no mode %q", t.Mode)
	case t.Share != "" && !slices.Contains(Shares(), t.Share):
		return fmt.Errorf("there is no way to share %q", t.Share)
	case t.Keep < 0 || t.Depth < 0 || t.Stall < 0:
		return errors.New("a number is negative")
	case t.Signatures != nil && t.Signatures.AllowedSigners != "" && !filepath.IsAbs(t.Signatures.AllowedSigners):
		return fmt.Errorf("%q is no absolute path of a file", t.Signatures.AllowedSigners)
	}
	for _, path := range t.Sparse {
		if !local(strings.TrimSuffix(path, "/")) || strings.ContainsAny(path, "\n\r\x00") {
			return fmt.Errorf("%q is no path in a repository", path)
		}
	}
	for _, name := range t.FsckIgnore {
		if err := gitcmd.CheckFsckName(name); err != nil {
			return err
		}
	}
	return nil
}

func (t *Target) mode() Mode {
	if t.Mode == "" {
		return Link
	}
	return t.Mode
}

func (t *Target) share() Share {
	if t.Share == "" {
		return Reflink
	}
	return t.Share
}

func (t *Target) keep() int {
	if t.Keep == 0 {
		return DefaultKeep
	}
	return max(t.Keep, 2)
}

func (t *Target) depth() int { return max(t.Depth, 1) }

func (t *Target) stall() time.Duration {
	if t.Stall == 0 {
		return DefaultStall
	}
	return t.Stall
}

func (t *Target) log() *slog.Logger {
	if t.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Log
}

// buildOptions are those options that decide, beside the commit, which files a release has. A
// release that was built with others is built anew.
func (t *Target) buildOptions() string {
	var parts []string
	if len(t.Sparse) > 0 {
		parts = append(parts, fmt.Sprintf("sparse %q", t.Sparse))
	}
	if t.Submodules {
		parts = append(parts, "submodules")
	}
	if t.LFS {
		parts = append(parts, "lfs")
	}
	return strings.Join(parts, ", ")
}

func (c Command) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

// fail adds to an error what was being done, unless it says so itself.
func (t *Target) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Op: op + " " + t.Dir, Err: err}
}

func (t *Target) problem(p Problem, op string, format string, args ...any) error {
	return &Error{Problem: p, Op: op + " " + t.Dir, Err: fmt.Errorf(format, args...)}
}
