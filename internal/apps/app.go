package apps

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/signer"
)

// App is an App for as long as a process runs, which may be longer than its key lives. The
// key's file is read again when it changes, and the key in it is used once GitHub has taken
// it. Where the key fails, the one before serves, or the one that the configuration has by
// now. It is safe for concurrent use; [Opener.App] opens one.
type App struct {
	opener   *Opener
	settings config.AppSettings   // with which it was opened
	chosenBy ghapp.RepositoryName // chooses the App in a configuration that is read anew

	turn   chan struct{} // holds one, who looks after the key and has the next three
	newest *Opener       // of the configuration that was read last
	path   string        // of the key's file; empty where it is in none
	file   fs.FileInfo   // as last read; nil where it is in none

	mu         sync.Mutex
	current    *Session
	candidate  signer.Signer // of a new file, until GitHub has taken it; may be nil
	tryAgainAt time.Time     // when to ask GitHub again whether it takes the candidate
}

const (
	// keyProof bounds the question whether GitHub takes a new key, during which git
	// waits, and keyPause lies between two of them.
	keyProof = 10 * time.Second
	keyPause = time.Minute
)

// App opens the App for a repository, once: of many callers, and for all repositories whose
// App it is. While one App is opened, which may take its time, the others are there.
func (o *Opener) App(ctx context.Context, r ghapp.RepositoryName) (*App, error) {
	settings, err := o.Settings(r)
	if err != nil {
		return nil, err
	}
	return o.openOnce(ctx, settings, r)
}

// All opens every App of the configuration that may be chosen, each once. The error is that of
// the first that cannot be opened.
func (o *Opener) All(ctx context.Context) ([]*App, error) {
	loaded, err := o.Load()
	if err != nil {
		return nil, err
	}
	var list []*App
	for settings, err := range loaded.Each() {
		if err != nil {
			return nil, err
		}
		var chosenBy ghapp.RepositoryName
		if len(settings.Owners) > 0 {
			chosenBy.Owner = settings.Owners[0]
		}
		app, err := o.openOnce(ctx, settings, chosenBy)
		if err != nil {
			return nil, err
		}
		list = append(list, app)
	}
	return list, nil
}

// AppAsked opens the App for a question of git's, once. The error is
// [gitauth.ErrNotOurs] for a host that the configuration does not know.
func (o *Opener) AppAsked(ctx context.Context, asked *credential.Credential) (*App, error) {
	settings, err := o.SettingsAsked(asked)
	if err != nil {
		return nil, err
	}
	return o.openOnce(ctx, settings, repositoryAsked(asked))
}

// Follow is an App for a Session that is open already.
func (o *Opener) Follow(s *Session) *App {
	return &App{opener: o, newest: o, settings: s.Settings, turn: make(chan struct{}, 1), current: s}
}

// Apps are those that [Opener.App] has opened.
func (o *Opener) Apps() []*App {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*App
	for _, name := range slices.Sorted(maps.Keys(o.apps)) {
		list = append(list, o.apps[name])
	}
	return list
}

func (o *Opener) openOnce(ctx context.Context, settings config.AppSettings, r ghapp.RepositoryName) (*App, error) {
	name := appKey(settings)
	if a := o.opened(name); a != nil {
		return a, nil
	}
	result := o.opening.DoChan(name, func() (any, error) {
		if a := o.opened(name); a != nil {
			return a, nil
		}
		a, err := o.openApp(context.WithoutCancel(ctx), settings, r)
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.apps[name] = a
		return a, nil
	})
	select {
	case found := <-result:
		if found.Err != nil {
			return nil, found.Err
		}
		return found.Val.(*App), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// appKey is the same for settings that are of one App.
func appKey(s config.AppSettings) string {
	var parts []string
	for _, v := range []config.Value{
		s.App, s.Key, s.PreviousKey, s.KeyTimeout, s.Broker, s.Identity, s.Audience,
		s.Host, s.APIURL, s.APIVersion, s.CAFile, s.Installation,
	} {
		parts = append(parts, v.Reveal())
	}
	return strings.Join(parts, "\x00")
}

func (o *Opener) opened(name string) *App {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.apps[name]
}

func (o *Opener) openApp(ctx context.Context, settings config.AppSettings, r ghapp.RepositoryName) (*App, error) {
	a := &App{opener: o, newest: o, settings: settings, chosenBy: r, turn: make(chan struct{}, 1)}
	a.path, a.file = keyFile(settings)
	var err error
	if a.current, err = o.Start(ctx, settings); err != nil {
		return nil, err
	}
	return a, nil
}

// keyFile is the file of the key of these settings, as it is before the key is read: what
// changes in between is read again. It is zero where the key is in none.
func keyFile(settings config.AppSettings) (string, fs.FileInfo) {
	path := keyuri.FilePath(settings.Key.Text)
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return path, nil
	}
	return path, info
}

// Settings are those with which the App was opened.
func (a *App) Settings() config.AppSettings { return a.settings }

// Current is the App with the key in use.
func (a *App) Current() *Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// Session is the App with the newest key that GitHub takes.
func (a *App) Session(ctx context.Context) *Session {
	select {
	case a.turn <- struct{}{}:
		a.look(ctx)
		if candidate := a.due(); candidate != nil {
			a.prove(ctx, candidate)
		}
		<-a.turn
	case <-ctx.Done():
	}
	return a.Current()
}

// Do calls fn, and where the key fails, once more with the one that the configuration has
// by now, if that is another.
func (a *App) Do(ctx context.Context, fn func(*Session) error) error {
	s := a.Session(ctx)
	err := fn(s)
	if errors.Is(err, ghapp.ErrKeyMismatch) || errors.Is(err, ghapp.ErrKey) {
		if other := a.configured(ctx, s); other != nil {
			err = fn(other)
		}
	}
	return err
}

// look reads the key's file if it has changed. What cannot be used, such as half a file or
// none, changes nothing.
func (a *App) look(ctx context.Context) {
	if a.file == nil {
		return
	}
	now, err := os.Stat(a.path)
	if err != nil || SameFile(a.file, now) {
		return
	}
	a.file = now
	current := a.Current()
	key, err := a.newest.Key(context.WithoutCancel(ctx), current.Settings, current.Store)
	var candidate signer.Signer
	if err == nil && key.Fingerprint() != current.App.Status().Fingerprint {
		candidate = key
	}
	if err != nil {
		a.opener.Log.Warn("the file of the key has changed and cannot be used; the key before is used on", "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.candidate, a.tryAgainAt = candidate, time.Time{} // none, if an error was met
}

// due is the new key that GitHub is to be asked about now, or nil.
func (a *App) due() signer.Signer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.candidate == nil || time.Now().Before(a.tryAgainAt) {
		return nil
	}
	return a.candidate
}

// prove has the App sign with the new key, if GitHub takes it. The key before is used until
// the new one has got a token; see [ghapp.App.Rotate].
func (a *App) prove(ctx context.Context, candidate signer.Signer) {
	bounded, cancel := context.WithTimeout(ctx, keyProof)
	defer cancel()
	s := a.Current()
	err := s.App.Rotate(bounded, candidate)
	if ctx.Err() != nil {
		return // nobody waits for it any more; the next one asks
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.tryAgainAt = time.Now().Add(keyPause)
		a.opener.Log.Warn("the new key in "+a.path+" is not taken; the key before is used on",
			"new", candidate.Fingerprint(), "error", err)
		return
	}
	a.candidate = nil
	a.tellOf(s.App.Status().Issuer, candidate.Fingerprint())
}

func (a *App) tellOf(issuer, fingerprint string) {
	a.opener.Tell("App %s signs with its new key %s.", issuer, fingerprint)
}

// configured takes the key that the configuration has by now, if that is another than the
// one that failed. It is nil where there is none, or where the App is on another host now:
// who holds an App sends its tokens to the host that it was opened for. No key is asked for
// twice.
func (a *App) configured(ctx context.Context, failed *Session) *Session {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil
	}
	if current := a.Current(); current != failed {
		return current // somebody else has done so
	}
	again := a.opener.Fresh()
	settings, err := again.Settings(a.chosenBy)
	if err != nil {
		return nil
	}
	samePrevious := settings.PreviousKey.Reveal() == failed.Settings.PreviousKey.Reveal()
	if settings.Key.Reveal() == failed.Settings.Key.Reveal() && samePrevious && keyuri.FilePath(settings.Key.Text) == "" {
		return nil
	}
	path, file := keyFile(settings)
	s, err := again.Connect(ctx, settings)
	if err != nil {
		a.opener.Log.Warn("the key in the configuration has changed and cannot be used", "error", diag.OneLine(err))
		return nil
	}
	if s.App.Status().Fingerprint == failed.App.Status().Fingerprint && samePrevious {
		return nil
	}
	if now, before := s.App.Status().Origin, failed.App.Status().Origin; now != before {
		a.opener.Log.Warn("the configuration has the App on another host, where this process does not go",
			"host", before, "now", now)
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.newest, a.path, a.file = again, path, file
	a.current, a.candidate = s, nil
	a.tellOf(s.App.Status().Issuer, s.App.Status().Fingerprint)
	return s
}

// NextKey is the fingerprint of a key that is configured and not taken by GitHub as yet, or
// "".
func (a *App) NextKey() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.candidate != nil {
		return a.candidate.Fingerprint()
	}
	return a.current.App.Status().RejectedKey // of two that are configured
}

// HangUp closes the connections that nobody uses at present.
func (a *App) HangUp() {
	(&http.Client{Transport: a.Current().Transport}).CloseIdleConnections()
}

// SameFile reports whether a file has not changed since. Nil is one that is not there.
func SameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
