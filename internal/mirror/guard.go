package mirror

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/private"
)

// occupy makes the directory of all mirrors and ours in it. It refuses what another user could
// have prepared or may write to: links there would lead what we write elsewhere, root's most of
// all, and what belongs to root would be in the way of who keeps the mirrors.
func occupy(dir string) error {
	err := os.MkdirAll(dir, 0o777)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return &fault.SettingError{Err: err, Hint: "give a directory that can be written to with --to"}
	}
	info, err := os.Lstat(dir)
	if err == nil {
		err = private.Closed(dir, info)
	}
	if err == nil {
		err = private.Make(filepath.Join(dir, own), 0o755, private.Ours)
	}
	if unsafe, ok := errors.AsType[*private.Error](err); ok {
		return &fault.SettingError{Err: err, Hint: unsafe.Hint}
	}
	if err != nil {
		return &fault.SettingError{Err: err,
			Hint: "run ghapp as the user who keeps the mirrors, or give another directory with --to"}
	}
	return nil
}
