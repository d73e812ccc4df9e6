package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/answer"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/cache"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/signer"
)

// session is an App, ready to be used, and the settings that named it.
type session struct {
	app       *ghapp.App
	settings  config.AppSettings
	transport http.RoundTripper
	store     ghapp.Store
}

// installation is what --installation says, or "".
func (s *session) installation() string { return s.settings.Installation.Text }

// load reads flags, environment and file, once for a command.
func (c *command) load() (*config.Config, error) {
	if c.loaded != nil {
		return c.loaded, nil
	}
	loaded, err := config.Load(config.Options{Flags: c.givenFlags(), LookupEnv: c.lookup, HelperLine: c.byGit})
	if err != nil {
		return nil, err
	}
	for _, warning := range loaded.Warnings() {
		c.log().Warn(warning.String())
	}
	c.loaded = loaded
	return loaded, nil
}

// settings chooses the App for a repository; of the zero Repository, the App in
// general.
func (c *command) settings(r ghapp.RepositoryName) (config.AppSettings, error) {
	loaded, err := c.load()
	if err != nil {
		return config.AppSettings{}, err
	}
	return loaded.App(config.Selector{Owner: r.Owner, Host: r.Host})
}

// open makes the App for a repository.
func (c *command) open(ctx context.Context, r ghapp.RepositoryName) (*session, error) {
	settings, err := c.settings(r)
	if err != nil {
		return nil, err
	}
	return c.start(ctx, settings)
}

func (c *command) start(ctx context.Context, settings config.AppSettings) (*session, error) {
	session, err := c.connect(ctx, settings)
	if err == nil {
		c.warnOfKey(ctx, settings)
	}
	return session, err
}

// connect is start without a word about the key.
func (c *command) connect(ctx context.Context, settings config.AppSettings) (*session, error) {
	store := c.store()
	key, err := c.key(ctx, settings, store)
	if err != nil {
		return nil, err
	}
	reach, err := c.reachFor(settings)
	if err != nil {
		return nil, err
	}
	reach.Issuer, reach.Signer, reach.Store, reach.Unshared = settings.App.Text, key, store, c.ownTokens
	reach.FallbackSigner = c.previousKey(settings, store)
	reach.RefusalLife = c.refusalLife
	app, err := ghapp.New(reach)
	if err != nil {
		return nil, &diag.SettingError{Err: err}
	}
	return &session{app: app, settings: settings, transport: reach.Transport, store: reach.Store}, nil
}

// key opens the private key that the settings name. Where the store remembers what is
// public of it, nobody is asked for anything before a signature is needed.
func (c *command) key(ctx context.Context, settings config.AppSettings, store ghapp.Store) (signer.Signer, error) {
	if !settings.PrivateKey.IsZero() {
		key, err := signer.FromText(settings.PrivateKeySource.String(), settings.PrivateKey.Reveal())
		if err != nil {
			return nil, err // and not as a Signer that holds nothing
		}
		return key, nil
	}
	return c.openKey(ctx, settings.Key, settings, store)
}

// previousKey opens the key before the newest one when it is needed. It is nil where
// there is none.
func (c *command) previousKey(settings config.AppSettings, store ghapp.Store) func(context.Context) (ghapp.Signer, error) {
	if settings.PreviousKey.Text == "" {
		return nil
	}
	return func(ctx context.Context) (ghapp.Signer, error) {
		return c.openKey(ctx, settings.PreviousKey, settings, store)
	}
}

func (c *command) openKey(ctx context.Context, key config.Value, settings config.AppSettings, store ghapp.Store) (signer.Signer, error) {
	o := c.keyOptions(settings)
	if signer.Scheme(key.Text) == "env" {
		o.Environ = c.Environ // it is read from there, and no program is started
	}
	o.Memory, _ = store.(signer.Memory)
	return signer.Open(ctx, key.Reveal(), o)
}

// keyOptions are for whoever holds a key.
func (c *command) keyOptions(settings config.AppSettings) signer.Options {
	timeout, _ := time.ParseDuration(settings.KeyTimeout.Text) // it was checked when it was read
	o := signer.Options{Environ: childenv.For(c.Environ, c.own()), Timeout: timeout}
	if !c.quiet && !c.json {
		o.Notice = func(line string) { fmt.Fprintf(c.Stderr, "ghapp: key: %s\n", text.OneLine(line)) }
	}
	return o
}

// warnOfKey says so when others can read the key, or when it is about to be
// committed.
func (c *command) warnOfKey(ctx context.Context, settings config.AppSettings) {
	for _, key := range []config.Value{settings.Key, settings.PreviousKey} {
		if path := signer.FilePath(key.Text); path != "" && !c.quiet {
			c.warnOfKeyFile(ctx, path)
		}
	}
}

func (c *command) warnOfKeyFile(ctx context.Context, path string) {
	if exposure, err := signer.Exposed(path); err == nil && exposure != nil {
		c.log().Warn(exposure.String() + "; run: " + exposure.Cure())
	}
	git := gitcmd.Runner{Environ: c.Environ, Own: c.own()}
	if unignored, err := git.Unignored(ctx, path); err == nil && unignored {
		c.log().Warn(fmt.Sprintf("the private key %s lies in a git work tree that does not ignore it; move it out, so that nobody commits it", path))
	}
}

// reach is how to reach a repository's host, where no App is needed for it.
func (c *command) reach(r ghapp.RepositoryName) (ghapp.Config, error) {
	loaded, err := c.load()
	if err != nil {
		return ghapp.Config{}, err
	}
	settings, err := loaded.App(config.Selector{Owner: r.Owner, Host: r.Host, HostOnly: true})
	if err != nil {
		return ghapp.Config{}, err
	}
	return c.reachFor(settings)
}

func (c *command) reachFor(settings config.AppSettings) (ghapp.Config, error) {
	var roots *x509.CertPool
	if path := settings.CAFile.Text; path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return ghapp.Config{}, &diag.SettingError{Err: fmt.Errorf("read the certificate authorities (%s): %w", settings.CAFile.Source, err), Hint: "give a PEM file that this user can read"}
		}
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(text) {
			return ghapp.Config{}, &diag.SettingError{Err: fmt.Errorf("%s (%s) holds no certificate", path, settings.CAFile.Source), Hint: "give a file with BEGIN CERTIFICATE in it"}
		}
	}
	var transport http.RoundTripper = api.NewTransport(roots)
	if c.observe != nil {
		transport = c.observe(transport)
	}
	return ghapp.Config{
		Host: settings.Host.Text, APIURL: settings.APIURL.Text, APIVersion: settings.APIVersion.Text,
		Transport: transport, UserAgent: "ghapp-cli/" + c.release(), Log: c.log(),
	}, nil
}

// store opens the cache that this user's processes share. Where there is none, or
// it is not safe, the command works without it and says so.
func (c *command) store() ghapp.Store {
	if c.noCache {
		return nil
	}
	dir, err := c.cacheDir()
	if err != nil {
		level := slog.LevelWarn
		if c.byGit {
			level = slog.LevelInfo // git runs without HOME in many places, and each pull would say so
		}
		c.log().Log(context.Background(), level, "tokens are not shared with other processes", "error", err)
		return nil
	}
	files, err := cache.Open(filepath.Join(dir, "ghapp"))
	if err != nil {
		c.log().Warn("tokens are not shared with other processes", "error", err)
		return nil
	}
	return files
}

// cacheDir is the directory for the caches of programs, on the Env's environment.
func (c *command) cacheDir() (string, error) {
	if dir := answer.Dir(c.lookup); dir != "" {
		return filepath.Dir(dir), nil
	}
	variable := "HOME"
	if runtime.GOOS == "windows" {
		variable = "LocalAppData"
	}
	return "", errors.New("neither XDG_CACHE_HOME nor " + variable + " names a directory")
}
