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
	previous   *Session  // the one before current, until that has served; may be nil
	candidate  *Session  // of a new file, until GitHub has taken it; may be nil
	tryAgainAt time.Time // when to ask GitHub again whether it takes the candidate
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
		s.App, s.Key, s.PreviousKey, s.KeyTimeout, s.Host, s.APIURL, s.APIVersion, s.CAFile, s.Installation,
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

// Do calls fn with the newest key. Where that fails, fn is called once more with another
// key, if there is one: one that GitHub did take, and then refuses, has not reached all of
// its servers yet.
func (a *App) Do(ctx context.Context, fn func(*Session) error) error {
	s := a.Session(ctx)
	err := fn(s)
	if other := a.instead(ctx, s, err); other != nil {
		s = other
		err = fn(s)
	}
	if err == nil {
		a.served(s)
	}
	return err
}

// instead is the App with another key than the one of s, which has met err. It is nil where
// there is none.
func (a *App) instead(ctx context.Context, s *Session, err error) *Session {
	if errors.Is(err, ghapp.ErrKeyMismatch) {
		if before := a.fallBack(s); before != nil {
			return before
		}
	}
	if errors.Is(err, ghapp.ErrKeyMismatch) || errors.Is(err, ghapp.ErrKey) {
		return a.configured(ctx, s)
	}
	return nil
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
	var candidate *Session
	if err == nil && key.Fingerprint() != current.App.Status().Fingerprint {
		candidate, err = a.newest.withKey(current.Settings, key, current.Store)
	}
	if err != nil {
		a.opener.Log.Warn("the file of the key has changed and cannot be used; the key before is used on", "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.candidate, a.tryAgainAt = candidate, time.Time{} // none, if an error was met
}

// due is the new key that GitHub is to be asked about now, or nil.
func (a *App) due() *Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.candidate == nil || time.Now().Before(a.tryAgainAt) {
		return nil
	}
	return a.candidate
}

// prove asks GitHub whether it takes the new key, and if so, takes it into use.
func (a *App) prove(ctx context.Context, candidate *Session) {
	bounded, cancel := context.WithTimeout(ctx, keyProof)
	defer cancel()
	_, err := candidate.App.Info(bounded)
	if ctx.Err() != nil {
		return // nobody waits for it any more; the next one asks
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.tryAgainAt = time.Now().Add(keyPause)
		a.opener.Log.Warn("the new key in "+a.path+" is not taken; the key before is used on",
			"new", candidate.App.Status().Fingerprint, "error", err)
		return
	}
	a.previous = a.current
	a.use(candidate)
}

// use takes a new key into use. The lock is held.
func (a *App) use(s *Session) {
	a.current, a.candidate = s, nil
	a.opener.Tell("App %s signs with its new key %s.", s.App.Status().Issuer, s.App.Status().Fingerprint)
}

// fallBack returns to the key before that of s; nil if there is none.
func (a *App) fallBack(s *Session) *Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.current != s:
		return a.current // somebody else has done so
	case a.previous == nil:
		return nil
	}
	a.opener.Log.Warn("GitHub refuses the new key; the key before is used on", "new", s.App.Status().Fingerprint)
	a.current, a.previous, a.candidate, a.tryAgainAt = a.previous, nil, s, time.Now().Add(keyPause)
	return a.current
}

// configured takes the key that the configuration has by now, if that is another than the
// one that failed. It is nil where there is none. No key is asked for twice.
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
	a.mu.Lock()
	defer a.mu.Unlock()
	a.newest, a.path, a.file = again, path, file
	a.previous = nil
	a.use(s)
	return s
}

// served tells that s has done what it was to do, so that the key before it is not needed.
func (a *App) served(s *Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == s {
		a.previous = nil
	}
}

// Sessions are the App with each key that there is at present.
func (a *App) Sessions() []*Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc([]*Session{a.current, a.previous, a.candidate}, func(s *Session) bool { return s == nil })
}

// NextKey is the fingerprint of a key that is configured and not taken by GitHub as yet, or
// "".
func (a *App) NextKey() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.candidate != nil {
		return a.candidate.App.Status().Fingerprint
	}
	return a.current.App.Status().RejectedKey // of two that are configured
}

// HangUp closes the connections that nobody uses at present.
func (a *App) HangUp() {
	for _, s := range a.Sessions() {
		(&http.Client{Transport: s.Transport}).CloseIdleConnections()
	}
}

// SameFile reports whether a file has not changed since. Nil is one that is not there.
func SameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
