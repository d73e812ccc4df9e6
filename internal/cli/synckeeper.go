//go:build unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/watch"
	"github.com/ghapp-dev/ghapp/secret"
)

// keeper keeps directories at their commits: it asks, and answers git while it fetches.
type keeper struct {
	command  *command
	log      *slog.Logger
	session  *gitsession.Session
	hosts    *apps.Router
	sessions map[string]*appSession // by the name of an App, and a host
	kept     []*kept
	of       map[*watch.Target]*kept
	groups   map[string]*group // of targets
	watcher  *watch.Watcher
	again    bool
	over     chan struct{} // closed when another has taken its place, and no pass is under way
}

// kept is one directory.
type kept struct {
	keeper  *keeper
	entry   config.Sync
	want    refs.Revision
	asker   *refs.Asker
	session *appSession
	deploy  *deploy.Target
	target  *watch.Target
	printed printed
	// unapplied are the commands that the last pass found not to have run for what is
	// published. It is read once no pass is under way.
	unapplied []string

	mu      sync.Mutex
	present ghapp.RepositoryName // its name as the host last had it
}

// manyAtOnce is from how many repositories of one owner on one question asks for all.
const manyAtOnce = 10

// keep makes the keeper of directories. Nothing is asked of GitHub for it.
func (c *command) keep(ctx context.Context, entries []config.Sync, log *slog.Logger, again bool) (_ *keeper, err error) {
	k := &keeper{
		command: c, log: log, again: again,
		sessions: map[string]*appSession{}, of: map[*watch.Target]*kept{}, groups: map[string]*group{}, watcher: &watch.Watcher{RetryAfter: stayAway},
		over: make(chan struct{}),
	}
	if k.session, err = gitsession.Listen(c.apps()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if err := apart(entries); err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if err := k.add(ctx, entry); err != nil {
			return nil, err
		}
	}
	k.together()
	k.watcher.Targets, k.watcher.AskAll = k.watched(), k.askAll
	return k, nil
}

// tokenLife is longer than a token lives: an hour
// (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app).
const tokenLife = 2 * time.Hour

// handedOut keeps a token out of what git prints.
func (k *keeper) handedOut(token secret.Text) {
	k.session.Tokens.AddUntil(token, time.Now().Add(tokenLife))
}

func (k *keeper) close() { _ = k.session.Close() }

// serving answers git while work runs.
func (k *keeper) serving(ctx context.Context, work func() error) error {
	return k.session.Serve(ctx, k.hosts, work)
}

// add adds a directory.
func (k *keeper) add(ctx context.Context, entry config.Sync) error {
	c := k.command
	repository, err := ghapp.ParseRepository(entry.Repository)
	if err != nil {
		return err
	}
	want := refs.Revision{Branch: entry.Branch, Tag: entry.Tag, Commit: entry.Commit, Version: entry.Version}
	if err := want.Validate(); err != nil {
		return err
	}
	settings, err := c.apps().Settings(repository)
	if err != nil {
		return err
	}
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return &diag.SettingError{Err: err}
	}
	t := &kept{keeper: k, entry: entry, want: want, deploy: deployed(entry), present: repository}
	// What is wrong with the directory is told before GitHub is asked for anything.
	if _, err := t.deploy.Published(); err != nil {
		if _, ok := errors.AsType[*deploy.Error](err); !ok {
			err = &diag.SettingError{Err: err}
		}
		return err
	}
	name := settings.Name + "\x00" + host.Origin
	if t.session = k.sessions[name]; t.session == nil {
		app, err := c.apps().App(ctx, repository)
		if err != nil {
			return err
		}
		t.session = &appSession{keeper: k, app: app}
		k.sessions[name] = t.session
	}
	if k.hosts == nil {
		k.hosts = c.apps().Router(t.session.app, func(a *gitauth.Answerer) {
			a.Permissions = nil // this reads
			a.HandedOut = k.handedOut
		})
	}
	t.asker = &refs.Asker{Origin: host.Origin, Transport: t.session.app.Current().Transport, Token: t.token, Drop: t.drop, Log: k.log}
	output := c.gitOutput()
	if !output.Progress {
		// What git says stands in the error, and its lines in the midst of a log help nobody.
		output = gitsession.Output{}
	}
	git := k.session.Git(output)
	t.deploy.Git = *git
	t.deploy.Scope = gitcmd.Scope{Origin: host.Origin, Helper: gitsession.Helper(c.lookup), CAFile: settings.CAFile.Text}
	t.deploy.Environ, t.deploy.Log = git.Plain(), k.log
	t.deploy.Printed = t.printed.by(c, k.log, k.watching)
	t.target = &watch.Target{Name: entry.Name, Period: entry.Period, Ask: t.ask, Publish: t.publish}
	k.kept = append(k.kept, t)
	k.of[t.target] = t
	return nil
}

// watched are the targets of all directories.
func (k *keeper) watched() []*watch.Target {
	var list []*watch.Target
	for _, t := range k.kept {
		list = append(list, t.target)
	}
	return list
}

// unready are the directories that show nothing yet.
func (k *keeper) unready() []string {
	var names []string
	for _, t := range k.kept {
		if t.shown() == nil {
			names = append(names, t.entry.Name)
		}
	}
	return names
}

// shown is the release that the directory shows; nil where it shows nothing, or leads to
// files that are not there.
func (t *kept) shown() *deploy.Release {
	r, err := t.deploy.Published()
	if err != nil || r == nil {
		return nil
	}
	if info, err := os.Stat(t.entry.To); err != nil || !info.IsDir() {
		return nil
	}
	return r
}

// together has those asked in one question that are many of one owner: a token is for the
// repositories of one owner, and for 500 at most.
func (k *keeper) together() {
	const most = 400
	list := map[string][]*kept{}
	for _, t := range k.kept {
		if t.want.Commit == "" && t.want.Version == "" {
			key := strings.ToLower(t.session.app.Current().Settings.Name + "\x00" + t.asker.Origin + "\x00" + t.present.Owner)
			list[key] = append(list[key], t)
		}
	}
	for key, all := range list {
		if len(all) < manyAtOnce {
			continue
		}
		for some := range slices.Chunk(all, most) {
			name := fmt.Sprint(key, len(k.groups))
			var repositories []string
			for _, t := range some {
				repositories = append(repositories, t.present.String())
				t.target.Group = name
			}
			first := some[0]
			k.groups[name] = &group{asker: refs.GraphQL{
				Source: tokensFor{first.session, repositories}, Transport: first.session.app.Current().Transport,
			}}
		}
	}
}

// presently is the repository's name as the host last had it.
func (t *kept) presently() ghapp.RepositoryName {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.present
}

func (t *kept) token(ctx context.Context, r ghapp.RepositoryName) (*ghapp.Token, error) {
	return t.session.token(ctx, r.String())
}

func (t *kept) drop(ctx context.Context, r ghapp.RepositoryName, refused *ghapp.Token) error {
	return t.session.drop(ctx, refused, r.String())
}

// ask finds out which commit is wanted.
func (t *kept) ask(ctx context.Context) (watch.Desired, error) {
	r := t.presently()
	found, err := t.asker.Ask(ctx, r, t.want)
	if errors.Is(err, refs.ErrUnsupported) {
		t.keeper.log.Debug("git asks instead", "repository", r.String(), "error", err)
		found, err = t.askGit(ctx, r)
	}
	if err != nil {
		if owed := t.deploy.RunPendingExec(ctx); owed != nil {
			t.keeper.log.Warn("the command after the release has not succeeded either", "name", t.entry.Name, "error", owed)
		}
		return watch.Desired{}, err
	}
	return t.found(found), nil
}

// found notes under which name the repository has answered.
func (t *kept) found(found refs.Found) watch.Desired {
	t.mu.Lock()
	defer t.mu.Unlock()
	if found.Repository.Name != "" && !strings.EqualFold(found.Repository.String(), t.present.String()) {
		t.keeper.log.Warn("the repository has another name now", "repository", t.present.String(), "now", found.Repository.String())
		t.present = found.Repository
	}
	return watch.Desired{Commit: found.Commit, Value: found}
}

// askAll asks about many repositories of one owner at once. What one question cannot
// answer is asked about alone.
func (k *keeper) askAll(ctx context.Context, targets []*watch.Target) []watch.Answer {
	answers := make([]watch.Answer, len(targets))
	alone := k.askMany(ctx, targets, answers)
	var asked errgroup.Group
	asked.SetLimit(watch.MaxQuestions)
	for _, i := range alone {
		asked.Go(func() error {
			answers[i].Desired, answers[i].Err = targets[i].Ask(ctx)
			return nil
		})
	}
	_ = asked.Wait()
	return answers
}

// publish brings the directory to a commit.
func (t *kept) publish(ctx context.Context, wanted watch.Desired) (watch.Done, error) {
	r := t.presently()
	if t.alone() {
		t.keeper.hosts.Forget()
	}
	outcome, err := t.publishFrom(ctx, r, wanted)
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.Reason == gitcmd.Redirected {
		// git is led to another name, which our own question was not told.
		t.asker.Discover(r)
		if now, asked := t.ask(ctx); asked == nil && t.presently() != r {
			outcome, err = t.publishFrom(ctx, t.presently(), now)
		}
	}
	done := watch.Done{}
	if outcome != nil {
		done.Changed, done.Bytes = outcome.Changed, outcome.Fetched
		t.unapplied = outcome.Unapplied
	}
	if _, held := errors.AsType[*deploy.HeldError](err); held && t.keeper.watching() {
		return watch.Done{Held: true}, nil
	}
	if _, ok := errors.AsType[*gitcmd.Error](err); ok && t.alone() {
		err = t.keeper.hosts.Explained(err)
	}
	return done, err
}

// alone reports whether it is this directory's git that was refused a credential.
func (t *kept) alone() bool { return len(t.keeper.kept) == 1 }

func (t *kept) publishFrom(ctx context.Context, r ghapp.RepositoryName, wanted watch.Desired) (*deploy.Outcome, error) {
	found, _ := wanted.Value.(refs.Found)
	return t.deploy.Publish(ctx, deploy.Request{
		Repository: r.String(), URL: t.asker.Origin + "/" + r.String() + ".git",
		Ref: found.Ref, Commit: wanted.Commit, Force: t.keeper.again,
		// Who watches has pauses of its own, and a wish ends them.
		Patient: !t.keeper.watching(),
	})
}

func (k *keeper) watching() bool { return k.watcher.OnPass != nil }

// stayAway is how long GitHub wants to be left alone after an error.
func stayAway(err error) time.Duration {
	if limit, ok := errors.AsType[*ghapp.RateLimitError](err); ok && errors.Is(err, ghapp.ErrRateLimited) {
		return time.Until(limit.Until)
	}
	return 0
}

// askGit finds out with git which commit is wanted, where a server speaks to git alone.
func (t *kept) askGit(ctx context.Context, r ghapp.RepositoryName) (refs.Found, error) {
	address := t.asker.Origin + "/" + r.String() + ".git"
	scope := t.deploy.Scope
	scope.URLs, scope.Stays = []string{address}, true
	git := t.deploy.Git
	git.Dir = os.TempDir()
	ambient, err := git.Ambient(ctx)
	if err != nil {
		t.keeper.log.Debug("git's configuration is passed over", "error", err)
	}
	if git.Environ, err = ambient.Environ(gitcmd.Network); err != nil {
		return refs.Found{}, err
	}
	if _, set := t.keeper.command.lookup("GIT_HTTP_LOW_SPEED_TIME"); !set {
		// A server that falls silent would be waited for as long as the connection lasts.
		git.Environ = append(git.Environ[:len(git.Environ):len(git.Environ)], "GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=60")
	}
	out, err := git.Output(ctx, scope, "ls-remote", "--quiet", "--symref", "--", address)
	if err != nil {
		return refs.Found{}, err
	}
	return t.want.ReadLsRemote(r, string(out))
}

// askMany asks one question about many, and returns those that it does not answer. One
// repository that the App does not reach keeps GitHub from making a token for all of
// them; then each is asked about alone for a while, and tells its own trouble.
func (k *keeper) askMany(ctx context.Context, targets []*watch.Target, answers []watch.Answer) (alone []int) {
	g := k.groups[targets[0].Group]
	now := time.Now()
	answered := make([]refs.Answer, len(targets))
	if g.rests(now) {
		for i := range answered {
			answered[i].Err = refs.ErrUnsupported
		}
	} else {
		var questions []refs.Question
		for _, target := range targets {
			t := k.of[target]
			questions = append(questions, refs.Question{Repository: t.presently(), Revision: t.want})
		}
		list, err := g.asker.Ask(ctx, questions)
		if err != nil {
			k.log.Info("many repositories are asked about one by one", "directories", len(targets), "error", err)
			g.rest(now.Add(restFor))
			list = answered
			for i := range list {
				list[i].Err = refs.ErrUnsupported
			}
		}
		answered = list
	}
	for i, a := range answered {
		switch {
		case a.Err == nil:
			answers[i].Desired = k.of[targets[i]].found(a.Found)
		default:
			// The git service, which is asked next, has the last word.
			alone = append(alone, i)
		}
	}
	return alone
}

// group is several directories of one owner that are asked about together.
type group struct {
	asker refs.GraphQL

	mu    sync.Mutex
	until time.Time
}

// restFor is how long a question about many is not asked after it has failed.
const restFor = 10 * time.Minute

// rests reports whether each is asked about alone.
func (g *group) rests(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now.Before(g.until)
}

func (g *group) rest(until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = until
}
