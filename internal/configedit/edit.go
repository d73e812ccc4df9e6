package configedit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// Edit has a copy of the file edited until it is right, and puts that in the place of the
// file. run is the editor. What ghapp would not read is given to retry, which says
// whether it is edited again, or with which error Edit ends. kept is the path of the copy
// where that was changed and nothing was written; it is "" otherwise.
func (f *File) Edit(run func(copied string) error,
	retry func(*config.Error) (bool, error)) (changed bool, kept string, err error) {
	before, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, "", notWritten(err)
	}
	copied, err := f.copy(before)
	if err != nil {
		return false, "", notWritten(fmt.Errorf("copy the config file %s to edit it: %w", f.path, err))
	}
	for {
		err := run(copied)
		after, unread := os.ReadFile(copied)
		if unread != nil {
			return false, "", errors.Join(err, fmt.Errorf("read what was edited: %w", unread))
		}
		untouched := bytes.Equal(before, after)
		if err == nil && (before != nil || !untouched) { // not a file of nothing
			err = f.put(before, after, copied)
		}
		if err == nil {
			_ = os.Remove(copied)
			return !untouched, "", nil
		}
		if wrong, ok := errors.AsType[*config.Error](err); ok {
			again, instead := retry(wrong)
			if again {
				continue
			}
			err = instead
		}
		if untouched {
			_ = os.Remove(copied)
			return false, "", err
		}
		_ = os.Chmod(copied, 0o600) // some editors make a new file
		return false, copied, err
	}
}

// copy is a file beside the config file, for its owner alone, since there may be a PIN in
// it. Its name ends as that of the config file, by which an editor knows what it is, and
// it is in the same directory, from which paths are taken.
func (f *File) copy(text []byte) (path string, err error) {
	dir, name := filepath.Split(f.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	ending := filepath.Ext(name)
	made, err := os.CreateTemp(dir, strings.TrimSuffix(name, ending)+".edit-*"+ending)
	if err != nil {
		return "", err
	}
	_, err = made.Write(text)
	if err = errors.Join(err, made.Close()); err != nil {
		_ = os.Remove(made.Name())
		return "", err
	}
	return made.Name(), nil
}

// put puts what was edited in the place of the file, if that is still what it was. The
// lines of an error are those of the copy, which is there to be looked at.
func (f *File) put(before, after []byte, copied string) error {
	err := config.Edit(f.path, f.options, func(d *config.Draft) error {
		if !bytes.Equal(d.Bytes(), before) {
			return &fault.SettingError{
				Err:  fmt.Errorf("%s was changed by somebody else meanwhile, and is left so", f.path),
				Hint: "compare the two, and edit the file once more",
			}
		}
		d.SetBytes(after)
		return nil
	})
	if wrong, ok := errors.AsType[*config.Error](err); ok {
		for i := range wrong.Problems {
			if wrong.Problems[i].File == f.path {
				wrong.Problems[i].File = copied
			}
		}
	}
	if err == nil {
		return nil
	}
	return notWritten(err)
}
