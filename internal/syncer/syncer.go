//go:build unix

package syncer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/watch"
	"github.com/ghapp-dev/ghapp/secret"
)

// Syncer keeps the directories of one reading of the configuration. [New] makes one, and Close
// ends it.
type Syncer struct {
	Options
	limits      *daemon.RateLimits // of a process that watches
	git         *gitsession.Session
	router      *apps.Router
	tokens      map[*apps.App]*appTokens
	directories []*directory
	of          map[*watch.Target]*directory
	askAll      func(context.Context, []*watch.Target) []watch.Answer
	watcher     *watch.Watcher
	replaced    chan struct{} // closed when another has taken its place, and no pass is under way
}

// New reads the configuration and makes a Syncer of it. Nothing is asked of GitHub for it.
func New(ctx context.Context, o Options) (*Syncer, error) {
	entries, err := o.Entries(o.Opener)
	if err != nil {
		return nil, err
	}
	limits := &daemon.RateLimits{}
	if o.Process.Watch {
		o.Opener = o.Opener.With(func(a *apps.Options) { a.Observe = limits.Observe })
	}
	return newSyncer(ctx, o, entries, limits)
}

func newSyncer(ctx context.Context, o Options, entries []config.Sync, limits *daemon.RateLimits) (
	_ *Syncer, err error,
) {
	s := &Syncer{
		Options: o, limits: limits, tokens: map[*apps.App]*appTokens{},
		of: map[*watch.Target]*directory{}, watcher: &watch.Watcher{RetryAfter: retryAfter},
		replaced: make(chan struct{}),
	}
	if s.git, err = gitsession.Listen(o.Opener); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	var first error
	overlapping := overlaps(entries)
	for i, entry := range entries {
		err := overlapping[i]
		if err == nil {
			err = s.add(ctx, entry)
		}
		if err != nil && o.Process.Watch {
			return nil, err // a configuration is used as a whole, or not at all
		}
		if err != nil {
			s.addUnusable(entry, err)
			first = cmp.Or(first, err)
		}
	}
	if s.router == nil && first != nil {
		return nil, first // no directory can be looked at
	}
	if len(s.directories) == 1 {
		s.directories[0].alone = s.router
	}
	s.askAll = newBatches(s.directories, o.Log).askAll
	s.watcher.Targets, s.watcher.AskAll = s.targets(), s.askAll
	return s, nil
}

// Close ends it. Nothing may be running any more.
func (s *Syncer) Close() { _ = s.git.Close() }

// tokenLife is longer than a token lives: an hour
// (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app).
const tokenLife = 2 * time.Hour

// handedOut keeps a token out of what git prints.
func (s *Syncer) handedOut(token secret.Text) {
	s.git.Tokens.AddUntil(token, time.Now().Add(tokenLife))
}

// answering answers git while work runs.
func (s *Syncer) answering(ctx context.Context, work func() error) error {
	return s.git.Serve(ctx, s.router, work)
}

// add adds a directory.
func (s *Syncer) add(ctx context.Context, entry config.Sync) error {
	repository, err := ghapp.ParseRepository(entry.Repository)
	if err != nil {
		return err
	}
	d := s.newDirectory(entry)
	d.repository = repository
	if err := d.revision.Validate(); err != nil {
		return err
	}
	settings, err := s.Opener.Settings(repository)
	if err != nil {
		return err
	}
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return &fault.SettingError{Err: err}
	}
	if d.tokens, err = s.open(ctx, repository); err != nil {
		return err
	}
	d.asker = &refs.Asker{
		Origin: host.Origin, API: host.API, Transport: d.tokens.app.Current().Transport,
		Token: d.token, Drop: d.invalidate, Log: s.Log,
	}
	s.prepareGit(d, host.Origin, settings.CAFile.Text)
	s.keep(d)
	return nil
}

// newDirectory is one of which it is known what is wanted, and not yet how it is got.
func (s *Syncer) newDirectory(entry config.Sync) *directory {
	return &directory{
		entry: entry, deploy: Target(entry), shown: Shown{Show: s.Show}, log: s.Log, lookupEnv: s.Opener.LookupEnv,
		revision: refs.Revision{Branch: entry.Branch, Tag: entry.Tag, Commit: entry.Commit, Version: entry.Version},
		force:    s.Process.Force, watched: s.Process.Watch,
	}
}

// addUnusable adds a directory that nothing can be done for, whose pass says why.
func (s *Syncer) addUnusable(entry config.Sync, why error) {
	d := s.newDirectory(entry)
	d.unusable = why
	d.repository, _ = ghapp.ParseRepository(entry.Repository)
	s.keep(d)
}

// keep has passes made of a directory.
func (s *Syncer) keep(d *directory) {
	if loaded, err := s.Opener.Load(); err == nil {
		d.named = slices.ContainsFunc(loaded.Syncs(), func(entry config.Sync) bool { return entry.To == d.entry.To })
	}
	d.target = &watch.Target{Name: d.entry.Name, Period: d.entry.Period, Ask: d.ask, Publish: d.publish}
	s.directories = append(s.directories, d)
	s.of[d.target] = d
}

// open opens the App of a repository. Directories of one App share its tokens.
func (s *Syncer) open(ctx context.Context, r ghapp.RepositoryName) (*appTokens, error) {
	app, err := s.Opener.App(ctx, r)
	if err != nil {
		return nil, err
	}
	opened := s.tokens[app]
	if opened == nil {
		opened = &appTokens{app: app, handedOut: s.handedOut}
		s.tokens[app] = opened
	}
	if s.router == nil {
		s.router = s.Opener.Router(app, func(a *gitauth.Answerer) {
			a.Permissions = nil // this reads
			a.HandedOut = s.handedOut
		})
	}
	return opened, nil
}

// prepareGit says how git is run for a directory.
func (s *Syncer) prepareGit(d *directory, origin, authorities string) {
	output := s.Output
	if !output.Progress {
		// What git says stands in the error, and its lines in the midst of a log help nobody.
		output = gitsession.Output{}
	}
	git := s.git.Git(output)
	d.deploy.Git = *git
	d.deploy.Scope = gitcmd.Scope{Origin: origin, Helper: gitsession.Helper(s.Opener.LookupEnv), CAFile: authorities}
	d.deploy.Environ, d.deploy.Log = git.Plain(), s.Log
	d.deploy.Printed = d.shown.Printed
}

// checkAll says what is wrong with the first directory where something is with every one.
func (s *Syncer) checkAll() error {
	var first error
	for _, d := range s.directories {
		err := d.check()
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// targets are those of all directories.
func (s *Syncer) targets() []*watch.Target {
	var list []*watch.Target
	for _, d := range s.directories {
		list = append(list, d.target)
	}
	return list
}

// unready are the directories that show nothing yet.
func (s *Syncer) unready() []string {
	return s.names(func(d *directory) bool { return d.release() == nil })
}

// busy are the directories that something is being published in.
func (s *Syncer) busy() []string {
	return s.names(func(d *directory) bool { return d.publishing.Load() })
}

func (s *Syncer) names(of func(*directory) bool) []string {
	var names []string
	for _, d := range s.directories {
		if of(d) {
			names = append(names, d.entry.Name)
		}
	}
	return names
}

// retryAfter is how long GitHub wants to be left alone after an error.
func retryAfter(err error) time.Duration {
	if limit, ok := errors.AsType[*ghapp.RateLimitError](err); ok && errors.Is(err, ghapp.ErrRateLimited) {
		return time.Until(limit.Until)
	}
	return 0
}

// Target is what an entry of the configuration says of its directory.
func Target(entry config.Sync) *deploy.Target {
	t := &deploy.Target{
		Dir: entry.To, Mode: deploy.Mode(entry.Mode), Share: deploy.Share(entry.Share), TrustParent: entry.TrustParent,
		Keep: entry.Keep, Depth: entry.Depth, Filter: entry.Filter, Sparse: entry.Sparse,
		Submodules: entry.Submodules, LFS: entry.LFS, FsckIgnore: entry.FsckIgnore,
		Check: deploy.Command{Line: entry.Check, Timeout: entry.CheckTimeout},
		Exec:  deploy.Command{Line: entry.Exec, Timeout: entry.ExecTimeout, Tries: entry.ExecTries},
	}
	if entry.VerifySignatures {
		t.Signatures = &deploy.Signatures{AllowedSigners: entry.AllowedSigners}
	}
	return t
}
