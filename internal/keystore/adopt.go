package keystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/secret"
)

// Movable reports whether the key can be put elsewhere: what it is comes to ghapp.
func Movable(s config.AppSettings) bool {
	return !s.PrivateKey.IsZero() || keyuri.FilePath(s.Key.Text) != "" || keyuri.Scheme(s.Key.Text) == "env"
}

// Exposure is a key that others can read.
type Exposure struct {
	To string // where it would be moved
	*keyfile.Exposure
}

// Hint is what to do about the key, where it is not moved.
func (e *Exposure) Hint() string {
	return "pass --move to move it to " + e.To + ", or run: " + e.Exposure.Hint()
}

// MayMove reports whether a key is to be moved: since others can read it, or into the
// keyring. Where it has to be moved and allowed says that nobody has agreed, it returns
// why, so that somebody may be asked.
func (t *Target) MayMove(settings config.AppSettings, allowed bool) (move bool, ask *Exposure, err error) {
	path := keyuri.FilePath(settings.Key.Text)
	if path == "" || !settings.PrivateKey.IsZero() {
		return false, nil, nil
	}
	exposure, err := keyfile.Exposed(path)
	if err != nil || exposure == nil && (t.Keyring == nil || !allowed) {
		return false, nil, err
	}
	info, err := os.Lstat(path)
	link := err == nil && info.Mode()&fs.ModeSymlink != 0
	switch {
	case link && exposure == nil:
		return false, nil, &fault.SettingError{Err: errors.New("--move: " + path + " is a link"),
			Hint: "name the file that it leads to"}
	case link:
		return false, nil, &fault.SettingError{
			Err:  errors.New(exposure.String() + ", and is a link"),
			Hint: "name the file that it leads to, or run: " + exposure.Hint(),
		}
	case allowed:
		return true, nil, nil
	}
	to := t.Dir()
	if t.Keyring != nil {
		to = "the keyring"
	}
	return false, &Exposure{To: to, Exposure: exposure}, nil
}

// Adopt writes the App into the configuration, with the key where it is, or with a copy
// of it beside the config file or in the keyring.
func (t *Target) Adopt(ctx context.Context, s config.AppSettings, info *ghapp.AppInfo,
	installations []*ghapp.InstallationInfo, move bool) (config.AppSettings, error) {
	var owners []string
	for _, i := range installations {
		if i.AccountType != "Enterprise" {
			owners = append(owners, i.Account)
		}
	}
	pem := s.PrivateKey
	if pem.IsZero() && (move || t.Keyring != nil) {
		var err error
		if pem, err = t.keyText(s.Key); err != nil {
			return s, err
		}
	}
	if !pem.IsZero() {
		if err := t.Ready(); err != nil {
			return s, err
		}
		settings, err := t.Keep(ctx, info, pem, owners)
		if kept, ok := errors.AsType[*keptError](err); ok && keyuri.FilePath(kept.path) != "" {
			err = errors.Join(kept.err, os.Remove(kept.path)) // there is another copy
		}
		return settings, err
	}
	if s.Key.HasSecret() {
		return s, &fault.SettingError{Err: errors.New("the key URI has a secret in it, which does not belong in a file"),
			Hint: "say in the URI where the secret is (pin-source=file:/path)"}
	}
	return t.enter(info, owners, func(string) (string, error) { return s.Key.Text, nil })
}

// keyText is what a file or a variable has.
func (t *Target) keyText(key config.Value) (secret.Text, error) {
	if name, ok := strings.CutPrefix(key.Text, "env:"); ok {
		text, _ := t.options.LookupEnv(name)
		return secret.New(text), nil
	}
	text, err := os.ReadFile(keyuri.FilePath(key.Text))
	if err != nil {
		return secret.Text{}, fmt.Errorf("read the key: %w", err)
	}
	return secret.New(string(text)), nil
}
