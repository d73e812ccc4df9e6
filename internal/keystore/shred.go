package keystore

import (
	"errors"
	"fmt"
	"os"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// ShredLimits is what overwriting a file cannot do.
const ShredLimits = `On an SSD, on a file system that copies on write (btrfs, ZFS, APFS), and in
snapshots and backups, old copies may be left: to be rid of them, replace the key with ghapp keys rotate.`

// keyInUse is a key of an App in the config file.
type keyInUse struct{ app, path string }

// othersThan are the keys in files that the config file names beside one of an App's, "" for none.
func (t *Target) othersThan(app string, key config.Value) []keyInUse {
	var others []keyInUse
	for _, user := range t.Apps {
		for _, other := range []config.Value{user.Key, user.PreviousKey} {
			if user.Name == app && other.Reveal() == key.Reveal() {
				continue
			}
			others = append(others, keyInUse{user.Name, keyuri.FilePath(other.Text)})
		}
	}
	return others
}

// mayShred refuses what is no file of one key's own.
func mayShred(path string, others []keyInUse) error {
	info, err := os.Lstat(path)
	if err != nil {
		return &fault.SettingError{Err: fmt.Errorf("--shred: %w", err), Hint: "leave --shred out"}
	}
	if !info.Mode().IsRegular() {
		return &fault.SettingError{Err: fmt.Errorf("--shred: %s is no regular file", path),
			Hint: "leave --shred out, and remove by hand what it leads to"}
	}
	for _, key := range others {
		if other, err := os.Stat(key.path); err == nil && os.SameFile(info, other) {
			return &fault.SettingError{Err: fmt.Errorf("--shred: %s is the key of %s too", path, key.app),
				Hint: "leave --shred out"}
		}
	}
	return nil
}

// shredFile overwrites a file before it is removed, so that its blocks hold no key where
// the file system writes in place.
func shredFile(path string) (err error) {
	named, err := os.Lstat(path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(named, info) {
		err = errors.New("it is another file now")
	}
	if err == nil {
		_, err = file.Write(make([]byte, info.Size()))
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}
