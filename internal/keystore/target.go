// Package keystore puts private keys where they are kept, and the Apps that have them into
// the config file: beside that file, into the keyring of the system, or with a program or
// a device that only signs. It replaces a key while another serves, and removes the
// files of those that are not needed any more.
package keystore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/configedit"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/private"
)

// Target is the config file that an App is written to, with the keys that are kept beside
// it. [OpenTarget] finds it.
type Target struct {
	// Given is what flags and variables say: the host, how to reach it, and the App.
	Given config.AppSettings
	// Apps are those that are in the file already.
	Apps []config.AppSettings
	// Keyring takes the keys; nil: they are kept in files beside the config file.
	Keyring *Keyring

	path    string
	options config.Options
}

// OpenTarget reads the configuration, whose file need not be there yet, and returns what
// it has read as well.
func OpenTarget(o *apps.Opener) (*Target, *config.Config, error) {
	options := config.Options{Flags: o.Flags, LookupEnv: o.LookupEnv, New: true}
	loaded, err := config.Load(options)
	if err != nil {
		return nil, nil, err
	}
	for _, warning := range loaded.Warnings() {
		o.Log.Warn(warning.String())
	}
	path, _ := loaded.Path()
	if path.Text == "" {
		return nil, nil, configedit.NoPlace()
	}
	return &Target{path: path.Text, Given: loaded.Given(), Apps: loaded.Apps(), options: options}, loaded, nil
}

// Path is that of the config file.
func (t *Target) Path() string { return t.path }

// Dir is the directory of the config file, in which keys are kept.
func (t *Target) Dir() string { return filepath.Dir(t.path) }

// Ready makes sure that a key can be written, before GitHub makes the one that is
// handed out once.
func (t *Target) Ready() error {
	err := os.MkdirAll(t.Dir(), 0o700)
	if err == nil {
		// Nobody else is to put another key, or another config file, in its place.
		err = private.Way(t.Dir())
	}
	if err == nil {
		var file *os.File
		if file, err = os.CreateTemp(t.Dir(), ".ghapp-*"); err == nil {
			err = errors.Join(file.Close(), os.Remove(file.Name()))
		}
	}
	if e, ok := errors.AsType[*private.Error](err); ok {
		return &fault.SettingError{Err: fmt.Errorf("the App's key is not kept in %s: %w", t.Dir(), err), Hint: e.Hint}
	}
	if err != nil {
		return &fault.SettingError{Err: fmt.Errorf("the App's key cannot be kept in %s: %w", t.Dir(), err),
			Hint: "make the directory writable, or name another config file with --config"}
	}
	return nil
}

// written is a key as the config file says it: beside the file, by its name alone.
func (t *Target) written(key config.Value) string {
	if path := keyuri.FilePath(key.Text); path != "" && filepath.Dir(path) == t.Dir() &&
		keyuri.Scheme(filepath.Base(path)) == "" {
		return filepath.Base(path)
	}
	return key.Reveal()
}
