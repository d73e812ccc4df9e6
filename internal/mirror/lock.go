package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/filelock"
	"github.com/ghapp-dev/ghapp/internal/regular"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// BusyError is a directory that another process keeps.
type BusyError struct {
	Dir    string
	Holder string // what it says of itself; empty: nothing
}

// Error is one line.
func (e *BusyError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("%s is kept by another process, or something else has its lock", e.Dir)
	}
	return fmt.Sprintf("%s is kept by another process (%s)", e.Dir, e.Holder)
}

// lock has one process at a time keep a directory. The file is that of the lock.
func lock(ctx context.Context, dir string) (unlock func(), file fs.FileInfo, err error) {
	path := lockPath(dir)
	release, err := filelock.Take(ctx, path, 0)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, nil, busy(dir)
	}
	if err != nil {
		return nil, nil, &fault.SettingError{Err: err, Hint: "mirrors are kept in a directory that can be written to; what " +
			"is there can be read all the same: ghapp mirror status " + text.ShellWord(dir)}
	}
	if err = os.WriteFile(path, []byte(signature(os.Getpid())), 0o666); err == nil {
		file, err = os.Lstat(path)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, file) {
			_ = os.Truncate(path, 0) // who has it next may not say who that is
		}
		release()
	}, file, nil
}

func lockPath(dir string) string { return filepath.Join(dir, own, "lock") }

// signature is what the file of the lock says of who has it.
func signature(pid int) string {
	return fmt.Sprintf(signed, pid, hostname(), time.Now().UTC().Format(time.RFC3339)) + "\n"
}

const signed = "process %d on %s since %s"

func hostname() string {
	host, _ := os.Hostname()
	return text.OneLine(host)
}

// busy is the error of a lock that another has. What its file says counts only while the process that has
// written it may be there: the lock of one that was killed may be anybody's by now, such as flock(1)'s.
func busy(dir string) error {
	e := &BusyError{Dir: dir}
	hint := "wait for it, or end it; its lock goes with its process"
	content, _ := regular.Read(lockPath(dir), 4<<10)
	holder := text.Shorten(text.FirstLine(string(content)), 100)
	var pid int
	var host, since string
	if n, _ := fmt.Sscanf(holder, signed, &pid, &host, &since); n == 3 && (host != hostname() || alive(pid)) {
		e.Holder = holder
	} else {
		hint = "it has not said who it is: `fuser -v " + text.ShellWord(lockPath(dir)) + "` tells, or it is a copy that is " +
			"being made under `flock`. Wait for it, or end it"
	}
	return &fault.ExitError{Code: fault.Unreachable, Err: e, Hint: hint}
}

// alive reports whether there is a process of this machine with an ID.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// checkPresence is an error where the directory is not the one any more whose lock is held, since it was
// taken away, moved, or its disk is not mounted. Nothing is to be written into what is in its place.
func (r *Run) checkPresence() *fault.ExitError {
	if now, err := os.Lstat(lockPath(r.dir)); r.locked == nil || err == nil && os.SameFile(now, r.locked) {
		return nil
	}
	return &fault.ExitError{Code: fault.Failed,
		Err: fmt.Errorf("%s is not the directory any more that is kept: its disk is not mounted, or it was moved away",
			r.dir),
		Hint: "nothing is written to what is in its place: mount its disk again, and the next pass goes on; " +
			"to begin anew there, start ghapp again"}
}
