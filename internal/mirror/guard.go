package mirror

import (
	"errors"
	"io/fs"
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
	if e, ok := errors.AsType[*private.Error](err); ok {
		return unsafe(e)
	}
	if err != nil {
		return &fault.SettingError{Err: err,
			Hint: "run ghapp as the user who keeps the mirrors, or give another directory with --to"}
	}
	return nil
}

// checkLinks refuses links of other users on the way from the directory of all mirrors to a place in it.
func checkLinks(dir, path string) error {
	for at := filepath.Join(dir, path); at != dir && len(at) > len(dir); at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			err = private.Closed(at, info)
		}
		if err != nil {
			return unsafe(err)
		}
	}
	return nil
}

// unsafe has the error of what another user could have prepared be one of the set-up, with its hint.
func unsafe(err error) error {
	if e, ok := errors.AsType[*private.Error](err); ok {
		return &fault.SettingError{Err: err, Hint: e.Hint}
	}
	return err
}
