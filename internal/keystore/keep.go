package keystore

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/bridge"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

// maxNamesakes bounds the Apps of one name in a config file.
const maxNamesakes = 99

// Keep writes the key beside the config file, or into the keyring, and the App into the
// config file, under a name that none has yet. The key comes first: there is no other
// copy of it, and it stays where the config file cannot be written. The end of ctx
// ends the wait for the keyring, and loses no key.
func (t *Target) Keep(ctx context.Context, info *ghapp.AppInfo, pem secret.Text,
	owners []string) (config.AppSettings, error) {
	written := ""
	settings, err := t.enter(info, owners, func(name string) (string, error) {
		if written != "" {
			return written, nil // the config file was changed meanwhile
		}
		path := filepath.Join(t.Dir(), name+".pem")
		if t.Keyring != nil {
			uri, err := t.Keyring.keep(ctx, name, pem)
			switch {
			case err == nil:
				written = uri
				return uri, nil
			case errors.Is(err, errTaken), t.Keyring.Instead == nil:
				return "", err
			}
			defer func() {
				if written != "" {
					t.Keyring.Instead(written, err)
				}
			}()
		}
		if err := writeKey(path, pem); err != nil {
			return "", err
		}
		written = path
		return path, checkCopy(context.WithoutCancel(ctx), path, pem)
	})
	if err != nil && written != "" {
		err = &keptError{err, written, info}
	}
	return settings, err
}

// Keyring is the system's, where keys are kept under the names that their Apps have in
// the config file.
type Keyring struct {
	Options signer.Options
	// Instead is told of a key that the keyring did not take, and that is in a file
	// therefore. Nil: that key stays where it was.
	Instead func(path string, why error)
}

// Ready makes sure that the keyring takes a key, before GitHub makes the one that is
// handed out once.
func (k *Keyring) Ready(ctx context.Context) error {
	err := bridge.CheckKeyring(ctx, k.Options)
	if err == nil || ctx.Err() != nil {
		return err
	}
	hint := "leave --keyring out to keep the key in a file that only you can read"
	if e, ok := errors.AsType[*signer.KeyError](err); ok {
		hint = e.Hint() + "\n" + hint
	}
	return &fault.ExitError{Code: diag.Explain(err).ExitCode,
		Err: fmt.Errorf("the keyring does not keep what it is given, so nothing was begun: %w", err), Hint: hint}
}

// keep stores a key, and returns its key URI. The error is [errTaken] where another key
// has that name.
func (k *Keyring) keep(ctx context.Context, name string, pem secret.Text) (string, error) {
	uri := "keyring:" + name
	key, err := signer.FromText("the text of the key", pem.Reveal())
	if err != nil {
		return "", err
	}
	_, _, err = signer.Import(ctx, key, uri, signer.ImportOptions{Options: k.Options})
	if errors.Is(err, signer.ErrExists) {
		return "", errTaken
	}
	return uri, err
}

// keptError is an App that is not in the config file, though its key is kept.
type keptError struct {
	err  error
	path string // of the key, or its key URI
	info *ghapp.AppInfo
}

func (e *keptError) Error() string {
	return fmt.Sprintf("%v; the key of %s is kept in %s", e.err, e.info.Name, e.path)
}

// Unwrap returns the error with the hint for it.
func (e *keptError) Unwrap() error {
	return &fault.ExitError{Code: diag.Explain(e.err).ExitCode, Err: e.err,
		Hint: "then run ghapp setup import --app " + Issuer(e.info) + " --key " + text.ShellWord(e.path)}
}

// errTaken is a name that another file, or another key in the keyring, has.
var errTaken = errors.New("the name is taken")

// enter writes an App into the config file under a name that is free, with the key that
// keyFor gives for it, and returns its settings. An owner that another App has stays
// with that.
func (t *Target) enter(info *ghapp.AppInfo, owners []string,
	keyFor func(name string) (key string, err error)) (config.AppSettings, error) {
	var settings config.AppSettings
	err := config.Edit(t.path, t.options, func(d *config.Draft) error {
		name, key, err := t.free(d, config.AppName(info.Slug), keyFor)
		if err != nil {
			return err
		}
		settings = t.Given
		settings.Name, settings.App.Text, settings.Key = name, Issuer(info), config.Value{Text: key}
		settings.PrivateKey, settings.PreviousKey = secret.Text{}, config.Value{}
		if filepath.Dir(key) == t.Dir() {
			key = filepath.Base(key)
		}
		if err := errors.Join(d.Set(settings.App.Text, "apps", name, "app"), d.Set(key, "apps", name, "key")); err != nil {
			return err
		}
		for _, entry := range []struct {
			key   string
			value config.Value
		}{
			{"host", settings.Host}, {"api_url", settings.APIURL},
			{"api_version", settings.APIVersion}, {"ca_file", settings.CAFile},
			{"key_timeout", settings.KeyTimeout}, {"installation", settings.Installation},
		} {
			if entry.value.Source.Kind >= config.FromEnvironment {
				if err := d.Set(entry.value.Text, "apps", name, entry.key); err != nil {
					return err
				}
			}
		}
		var free []string
		for _, owner := range owners {
			if d.Claimant(settings.Host.Text, owner) == "" {
				free = append(free, owner)
			}
		}
		if len(free) == 0 {
			return nil
		}
		settings.Owners = free
		return d.Set(free, "apps", name, "owners")
	})
	return settings, err
}

// free finds a name that is free in the file, and for the key.
func (t *Target) free(d *config.Draft, base string, keyFor func(string) (string, error)) (name, key string, err error) {
	name = base
	for i := 2; i <= maxNamesakes; i++ {
		if !d.Has("apps", name) {
			if key, err = keyFor(name); !errors.Is(err, errTaken) {
				return name, key, err
			}
		}
		name = base + "-" + strconv.Itoa(i)
	}
	return "", "", &fault.SettingError{Err: fmt.Errorf("%s has %d Apps named %s already", t.path, maxNamesakes, base),
		Hint: "take those out that are not used"}
}

// Issuer is what names the App: the client ID, which old servers have none of.
func Issuer(info *ghapp.AppInfo) string {
	if info.ClientID != "" {
		return info.ClientID
	}
	return strconv.FormatInt(info.ID, 10)
}

// checkCopy proves with a signature that a file holds a key.
func checkCopy(ctx context.Context, path string, pem secret.Text) error {
	want, err := signer.FromText("the key", pem.Reveal())
	if err != nil {
		return err
	}
	got, err := signer.File(path)
	if err != nil {
		return err
	}
	message := []byte(path)
	signature, err := got.Sign(ctx, message)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(message)
	public, ok := want.Public().(*rsa.PublicKey)
	if !ok || rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) != nil {
		return fmt.Errorf("the key in %s does not sign as the one that was written there", path)
	}
	return nil
}

// writeKey makes a file of mode 0600 with a key in it. Its error is [errTaken] where
// there is a file of that name.
func writeKey(path string, pem secret.Text) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("keep the key: %w", err)
	}
	_, err = file.WriteString(pem.Reveal())
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("keep the key: %w", err)
	}
	return nil
}
