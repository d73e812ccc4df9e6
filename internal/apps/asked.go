package apps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/bridge"
	"github.com/ghapp-dev/ghapp/internal/cache"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/credcache"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// GitRefusalLife is after how long GitHub is asked again whether it takes a key that it has
// refused, by git's questions: a build has hundreds, and a person who has just registered
// the key waits no longer. Other commands ask at once.
const GitRefusalLife = 10 * time.Second

// SettingsAsked chooses the App for a question of git's. The error is
// [gitauth.ErrNotOurs] for a host that the configuration does not know.
func (o *Opener) SettingsAsked(asked *credential.Credential) (config.AppSettings, error) {
	r := repositoryAsked(asked)
	if _, err := api.ParseHost(r.Host, ""); err != nil {
		return config.AppSettings{}, gitauth.ErrNotOurs
	}
	settings, err := o.Settings(r)
	if gone := o.fileGone(); err != nil && gone != nil {
		return settings, gone
	}
	if errors.Is(err, config.ErrOtherHost) {
		return config.AppSettings{}, gitauth.ErrNotOurs
	}
	return settings, err
}

// repositoryAsked is what chooses the App for a question: the host and the owner.
func repositoryAsked(asked *credential.Credential) ghapp.RepositoryName {
	host := asked.Host
	if asked.Protocol != "https" {
		host = asked.Protocol + "://" + host
	}
	owner, _, _ := strings.Cut(asked.Path, "/")
	return ghapp.RepositoryName{Host: host, Owner: owner}
}

// fileGone is the failure of a helper line that leads to an App by a config file alone,
// which is not there. It is nil where that is not so.
func (o *Opener) fileGone() error {
	loaded, err := o.Load()
	if broker, _ := o.LookupEnv("GHAPP_BROKER"); err != nil || broker != "" || o.Chosen("app") {
		return nil
	}
	path, found := loaded.Path()
	if found || path.Source.Kind != config.FromFlag {
		return nil
	}
	return &fault.SettingError{
		Err: fmt.Errorf("the config file %s, which the helper's line in git's configuration names, is not there", path.Text),
		Hint: "bring it back; or, where it has moved or another takes its place, `ghapp git-setup --local` in the clone " +
			"points git to the one that is in use",
	}
}

// Answer answers one question of git's, for the App that the configuration has for the
// owner and the host in it. flags are those of the helper's line that started this process:
// for the same line and the same question git-credential-ghapp finds the answer by itself
// while it lives. Nil: the answer is not kept.
func (o *Opener) Answer(ctx context.Context, op credential.Operation, asked *credential.Credential,
	flags []string) (*credential.Credential, error) {
	settings, err := o.SettingsAsked(asked)
	if err != nil {
		return nil, err
	}
	// Looked at before they are read: what changes from now on ends the answer.
	files, lasting := o.dependencies(settings)
	app, err := o.openOnce(ctx, settings, repositoryAsked(asked))
	if err != nil {
		return nil, err
	}
	session, answerer := app.Current(), o.Answerer(app)
	var issued issuedToken
	answerer.Granted = func(_ *ghapp.App, r ghapp.TokenRequest, t *ghapp.Token) {
		issued = issuedToken{t, r.Repositories[0]}
	}
	found, err := answerer.Credential(ctx, op, asked)
	switch {
	case err != nil:
	case op == credential.Erase:
		o.dropAnswers(session)
	case issued.token != nil && lasting && flags != nil:
		if question, ok := credcache.Ask(flags, o.Environ, asked); ok {
			o.keepAnswer(ctx, session, issued, credcache.Answer{Question: question, Files: files, Credential: found})
		}
	}
	return found, err
}

// dependencies are the files that an answer for these settings rests on, as they are now.
// It is false where a change could go unnoticed: of a key or an identity that is in no file, or
// of a file that has just changed.
func (o *Opener) dependencies(settings config.AppSettings) ([]credcache.File, bool) {
	loaded, err := o.Load()
	if err != nil {
		return nil, false
	}
	var files []credcache.File
	if path, _ := loaded.Path(); path.Text != "" {
		file, ok := credcache.FileOf(path.Text, loaded.Info())
		if !ok {
			return nil, false
		}
		files = append(files, file)
	}
	paths := []string{keyuri.FilePath(settings.Key.Text)}
	if settings.Broker.Text != "" {
		// Whoever asks by another identity than that of a file is not told apart by the question.
		path, _ := strings.CutPrefix(settings.Identity.Text, "file:")
		paths[0] = path
	}
	if previous := settings.PreviousKey.Text; previous != "" {
		paths = append(paths, keyuri.FilePath(previous))
	}
	if authorities := settings.CAFile.Text; authorities != "" {
		paths = append(paths, authorities)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, false
		}
		file, ok := credcache.FileOf(path, info)
		if !ok {
			return nil, false
		}
		files = append(files, file)
	}
	return files, true
}

// issuedToken is a token that git was answered with, and the repository that it is for.
type issuedToken struct {
	token      *ghapp.Token
	repository string
}

// keepAnswer leaves what git is told for git-credential-ghapp, which then need not start
// this program for the same question. Where that cannot be, nobody misses it.
func (o *Opener) keepAnswer(ctx context.Context, s *Session, issued issuedToken, a credcache.Answer) {
	store, ok := s.Store.(*cache.Files)
	if !ok {
		return
	}
	entry := bridge.EntryOf(issued.token, issued.repository)
	a.From, a.Until = entry.From, entry.Until
	holds := func(entry []byte) bool { return bytes.Contains(entry, []byte(issued.token.Secret.Reveal())) }
	if err := store.KeepAnswer(ctx, entry.Key, holds, a); err != nil {
		o.Log.Debug("the answer is not kept for the next question", "error", err)
	}
}

// dropAnswers ends all answers that were kept, since git says of one that it was refused.
func (o *Opener) dropAnswers(s *Session) {
	store, ok := s.Store.(*cache.Files)
	if !ok {
		return
	}
	if err := store.DropAnswers(); err != nil {
		o.Log.Warn("a refused answer stays in the cache", "error", err)
	}
}
