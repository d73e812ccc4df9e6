//go:build unix

package syncer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// directory is one that is kept at a commit.
type directory struct {
	entry      config.Sync
	revision   refs.Revision // that is wanted
	asker      *refs.Asker
	tokens     *appTokens
	deploy     *deploy.Target
	target     *watch.Target
	shown      Shown
	log        *slog.Logger
	lookupEnv  func(name string) (value string, set bool)
	alone      *apps.Router // answers git; nil where that is other directories' too
	force      bool         // a commit that is held is published too
	watched    bool         // there are more passes than one
	named      bool         // in the config file, so that somebody may ask for its status
	unusable   error        // why nothing can be done for it, in one pass of several; nil: something can
	publishing atomic.Bool
	// unapplied are the commands that the last pass found not to have run for what is
	// published. It is read once no pass is under way.
	unapplied []string

	mu         sync.Mutex
	repository ghapp.RepositoryName // its name as the host last had it
}

// currentName is the repository's name as the host last had it.
func (d *directory) currentName() ghapp.RepositoryName {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.repository
}

func (d *directory) token(ctx context.Context, r ghapp.RepositoryName) (*ghapp.Token, error) {
	return d.tokens.token(ctx, r.String())
}

func (d *directory) invalidate(ctx context.Context, r ghapp.RepositoryName, refused *ghapp.Token) error {
	return d.tokens.invalidate(ctx, refused, r.String())
}

// release is the one that the directory shows; nil where it shows nothing, or leads to files that
// are not there.
func (d *directory) release() *deploy.Release {
	r, err := d.deploy.Published()
	if err != nil || r == nil {
		return nil
	}
	if info, err := os.Stat(d.entry.To); err != nil || !info.IsDir() {
		return nil
	}
	return r
}

// check says what is wrong with the directory, as far as that can be told without GitHub. What is
// wrong with one stops no other.
func (d *directory) check() error {
	if d.unusable != nil {
		return d.unusable
	}
	_, err := d.deploy.Published()
	if _, ok := errors.AsType[*deploy.Error](err); err != nil && !ok {
		err = &fault.SettingError{Err: err}
	}
	return err
}

// ask finds out which commit is wanted. What is wrong with the directory is told before GitHub
// is asked for anything.
func (d *directory) ask(ctx context.Context) (watch.Desired, error) {
	if err := d.check(); err != nil {
		return watch.Desired{}, err
	}
	r := d.currentName()
	found, err := d.asker.Ask(ctx, r, d.revision)
	if errors.Is(err, refs.ErrUnsupported) {
		d.log.Debug("git asks instead", "repository", r.String(), "error", err)
		found, err = d.askGit(ctx, r)
	}
	if err != nil {
		if failed := d.deploy.RunPendingExec(ctx); failed != nil {
			d.log.Warn("the command after the release has not succeeded either", "name", d.entry.Name, "error", failed)
		}
		return watch.Desired{}, err
	}
	return d.desired(found), nil
}

// desired is what was found, and notes under which name the repository has answered.
func (d *directory) desired(found refs.Found) watch.Desired {
	d.mu.Lock()
	defer d.mu.Unlock()
	if found.Repository.Name != "" && !strings.EqualFold(found.Repository.String(), d.repository.String()) {
		d.log.Warn("the repository has another name now",
			"repository", d.repository.String(), "now", found.Repository.String())
		d.repository = found.Repository
	}
	return watch.Desired{Commit: found.Commit, Value: found}
}

// askGit finds out with git which commit is wanted, where a server speaks to git alone.
func (d *directory) askGit(ctx context.Context, r ghapp.RepositoryName) (refs.Found, error) {
	address := d.asker.Origin + "/" + r.String() + ".git"
	scope := d.deploy.Scope
	scope.URLs, scope.Stays = []string{address}, true
	git := d.deploy.Git
	git.Dir = os.TempDir()
	ambient, err := git.Ambient(ctx)
	if err != nil {
		d.log.Debug("git's configuration is passed over", "error", err)
	}
	if git.Environ, err = ambient.Environ(gitcmd.Network); err != nil {
		return refs.Found{}, err
	}
	if _, set := d.lookupEnv("GIT_HTTP_LOW_SPEED_TIME"); !set {
		// A server that falls silent would be waited for as long as the connection lasts.
		git.Environ = append(git.Environ[:len(git.Environ):len(git.Environ)],
			"GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=60")
	}
	out, err := git.Output(ctx, scope, "ls-remote", "--quiet", "--symref", "--", address)
	if err != nil {
		return refs.Found{}, err
	}
	return d.revision.ReadLsRemote(r, string(out))
}

// publish brings the directory to a commit.
func (d *directory) publish(ctx context.Context, desired watch.Desired) (watch.Done, error) {
	d.publishing.Store(true)
	defer d.publishing.Store(false)
	r := d.currentName()
	if d.alone != nil {
		d.alone.Forget()
	}
	outcome, err := d.publishFrom(ctx, r, desired)
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.Reason == gitcmd.Redirected {
		// git is led to another name, which our own question was not told.
		d.asker.Discover(r)
		if now, asked := d.ask(ctx); asked == nil && d.currentName() != r {
			outcome, err = d.publishFrom(ctx, d.currentName(), now)
		}
	}
	done := watch.Done{}
	if outcome != nil {
		done.Changed, done.Bytes = outcome.Changed, outcome.Fetched
		d.unapplied = outcome.Unapplied
	}
	if _, held := errors.AsType[*deploy.HeldError](err); held && d.watched {
		return watch.Done{Held: true}, nil
	}
	if _, ok := errors.AsType[*gitcmd.Error](err); ok && d.alone != nil {
		err = d.alone.Explained(err)
	}
	return done, err
}

func (d *directory) publishFrom(
	ctx context.Context, r ghapp.RepositoryName, desired watch.Desired,
) (*deploy.Outcome, error) {
	found, _ := desired.Value.(refs.Found)
	return d.deploy.Publish(ctx, deploy.Request{
		Repository: r.String(), URL: d.asker.Origin + "/" + r.String() + ".git",
		Ref: found.Ref, Commit: desired.Commit, Force: d.force,
		// A watch has pauses of its own, and a webhook ends them.
		Patient: !d.watched,
		Fetch: func(ctx context.Context, want gitwire.Request, w io.Writer) (int64, error) {
			return d.asker.Fetch(ctx, r, want, w)
		},
	})
}

// note remembers how a pass has ended, for ghapp sync status. A nil report is one that went well.
func (d *directory) note(failed *diag.Report, again time.Time) {
	var failure *deploy.Failure
	if failed != nil {
		now := time.Now().UTC().Truncate(time.Second)
		failure = &deploy.Failure{Message: failed.Message, Kind: failed.Kind, At: now}
		if !again.IsZero() {
			failure.Again = again.UTC().Round(time.Second)
		}
	}
	err := d.deploy.Note(failure, d.named)
	level := slog.LevelDebug // the error is why the pass has failed, too
	if errors.Is(err, syscall.ENOSPC) {
		level = slog.LevelWarn
	}
	if err != nil {
		d.log.Log(context.Background(), level, "ghapp sync status will not know how the pass has ended",
			"directory", d.entry.To, "error", err)
	}
}
