package apps

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/cache"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/credcache"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// Reach is how to reach a repository's host, where no App is needed for it.
func (o *Opener) Reach(r ghapp.RepositoryName) (ghapp.Config, error) {
	loaded, err := o.Load()
	if err != nil {
		return ghapp.Config{}, err
	}
	settings, err := loaded.App(config.Selector{Owner: r.Owner, Host: r.Host, AnyPort: r.AnyPort, HostOnly: true})
	if err != nil {
		return ghapp.Config{}, err
	}
	return o.ReachFor(settings)
}

// ReachFor is how to reach the host of these settings. It has neither App nor key.
func (o *Opener) ReachFor(settings config.AppSettings) (ghapp.Config, error) {
	roots, err := authorities(settings.CAFile)
	if err != nil {
		return ghapp.Config{}, err
	}
	var transport http.RoundTripper = api.NewTransport(roots)
	if o.Observe != nil {
		transport = o.Observe(transport)
	}
	return ghapp.Config{
		Client: ghapp.Client{Host: settings.Host.Text, APIURL: settings.APIURL.Text, APIVersion: settings.APIVersion.Text,
			OmitAPIVersion: settings.APIVersion.Text == config.NoAPIVersion, Transport: transport,
			UserAgent: o.UserAgent, Log: o.Log},
	}, nil
}

// authorities are the system's and those of a file. They are nil, which stands for the
// system's, where no file is named.
func authorities(file config.Value) (*x509.CertPool, error) {
	path := file.Text
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &fault.SettingError{
			Err:  fmt.Errorf("read the certificate authorities (%s): %w", file.Source, err),
			Hint: "give a PEM file that this user can read",
		}
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, &fault.SettingError{
			Err:  fmt.Errorf("%s (%s) holds no certificate", path, file.Source),
			Hint: "give a file with BEGIN CERTIFICATE in it",
		}
	}
	return roots, nil
}

// Store opens the cache that this user's processes share. It is nil where there is none, or
// where it is not safe, which is logged: ghapp works without it.
func (o *Opener) Store() ghapp.Store {
	if o.Tokens != nil {
		return o.Tokens
	}
	files, dir, err := o.Cache()
	switch {
	case err != nil:
		level := slog.LevelWarn
		if dir == "" && o.ByGit {
			level = slog.LevelInfo // git runs without HOME in many places, and each pull would say so
		}
		o.Log.Log(context.Background(), level, "tokens are not shared with other processes", "error", err)
		return nil
	case files == nil:
		return nil
	}
	return files
}

// Cache opens the cache that this user's processes share, and returns its directory, which
// is "" where there is no place for one. Both are zero where none is wanted.
func (o *Opener) Cache() (*cache.Files, string, error) {
	if o.NoCache {
		return nil, "", nil
	}
	dir, err := o.CacheDir()
	if err != nil {
		return nil, "", err
	}
	files, err := cache.Open(dir)
	if err == nil {
		files.Waiting = func() {
			o.Log.Warn("waiting for another process, which has asked GitHub for a token and has no answer yet")
		}
	}
	return files, dir, err
}

// CacheDir is the directory of this user's cache, which need not be there.
func (o *Opener) CacheDir() (string, error) {
	if dir := credcache.Dir(o.LookupEnv); dir != "" {
		return dir, nil
	}
	variable := "HOME"
	if runtime.GOOS == "windows" {
		variable = "LocalAppData"
	}
	return "", errors.New("neither XDG_CACHE_HOME nor " + variable + " names a directory")
}
