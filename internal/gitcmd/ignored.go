package gitcmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// Unignored reports whether the file lies in a git work tree and git does not
// ignore it, so that `git add .` would take it along, or already has. git is asked
// only if there is a .git above the file.
func (r *Runner) Unignored(ctx context.Context, file string) (bool, error) {
	path, err := r.absolute(file)
	if err != nil {
		return false, err
	}
	if !inWorkTree(path) {
		return false, nil
	}
	asker := *r
	asker.Dir = filepath.Dir(path)
	_, err = asker.Output(ctx, Scope{}, "check-ignore", "--quiet", "--", filepath.Base(path))
	if e, ok := errors.AsType[*Error](err); ok && e.ExitCode == 1 {
		return true, nil
	}
	return false, err
}

// inWorkTree looks for .git, a directory or a file, in the directories above path.
// What lies in a .git itself is never added.
func inWorkTree(path string) bool {
	found := false
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if filepath.Base(dir) == ".git" {
			return false
		}
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			found = true
		}
		if dir == filepath.Dir(dir) {
			return found
		}
	}
}
