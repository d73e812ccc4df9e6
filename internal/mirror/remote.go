package mirror

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/secret"
)

// remote is a repository on GitHub, as its mirror is brought up to date from it.
type remote struct {
	run        *Run
	site       *site
	service    *gitwire.Service
	repository ghapp.RepositoryName
	bounds     *bounds
	received   func(bytes int64) // is told how many have come in all
}

// service is the git service of an installation's host, with the tokens of this pass.
func (s *site) service(p *pass) *gitwire.Service {
	settings := s.session.Settings
	host, _ := api.ParseHost(settings.Host.Text, settings.APIURL.Text) // with which the App was opened
	return &gitwire.Service{
		Origin: host.Origin, API: host.API, Transport: s.session.Transport, Log: p.Log,
		Token: func(ctx context.Context, r ghapp.RepositoryName) (*ghapp.Token, error) {
			return s.tokens.token(ctx, codeOf(r).String())
		},
		Drop: func(ctx context.Context, r ghapp.RepositoryName, refused *ghapp.Token) error {
			return s.tokens.drop(ctx, codeOf(r).String(), refused)
		},
	}
}

// codeOf is the repository that a wiki belongs to, or itself.
func codeOf(r ghapp.RepositoryName) ghapp.RepositoryName {
	r.Wiki, r.Host = false, ""
	return r
}

// Refs implements [barerepo.Remote].
func (r *remote) Refs(ctx context.Context, prefixes ...string) (*gitwire.Refs, error) {
	return r.service.Refs(ctx, r.repository, prefixes...)
}

// Fetch implements [barerepo.Remote].
func (r *remote) Fetch(ctx context.Context, q gitwire.Request, w io.Writer) (int64, error) {
	return r.service.Fetch(ctx, r.repository, q, &meter{w: w, remote: r})
}

// meter tells how many bytes have gone through it, and takes no more than the disk has room for.
type meter struct {
	*remote
	w   io.Writer
	sum int64
}

// Write implements [io.Writer].
func (m *meter) Write(b []byte) (int, error) {
	n, err := m.w.Write(b)
	m.sum += int64(n)
	m.received(m.sum)
	if err == nil {
		err = m.bounds.check(m.sum)
	}
	return n, err
}

// ByGit implements [barerepo.Remote]: git asks this process for its credential.
func (r *remote) ByGit(ctx context.Context, dir string, refspecs ...string) error {
	session, err := r.run.session(r.site.app)
	if err != nil {
		return err
	}
	settings := r.site.session.Settings
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return err
	}
	address := host.Origin + "/" + r.repository.String() + ".git"
	git := session.Git(gitsession.Output{})
	git.Dir = os.TempDir()
	ambient, err := git.Ambient(ctx)
	if err != nil {
		r.run.Log.Debug("git's configuration is passed over", "error", err)
	}
	if git.Environ, err = ambient.Environ(gitcmd.Network); err != nil {
		return err
	}
	git.Environ = gitcmd.Bounded(git.Environ)
	git.Dir, git.Repository = dir, gitcmd.Repository{Dir: dir}
	git.Environ = append(slices.Clip(git.Environ), lowSpeed(r.run.Opener.LookupEnv)...)
	scope := gitcmd.Scope{
		Origin: host.Origin, Helper: gitsession.Helper(r.run.Opener.LookupEnv), CAFile: settings.CAFile.Text,
		URLs: []string{address}, Stays: true,
	}
	args := slices.Concat([]string{"fetch", "--quiet"}, barerepo.FetchOptions(), []string{"--", address}, refspecs)
	return r.bounds.watch(ctx, dir, func(ctx context.Context) error { return git.Run(ctx, scope, args...) })
}

// lowSpeed has git leave a server that falls silent, or of which hardly anything comes, which it would
// wait for as long as the connection lasts. While the server counts objects there are signs of life
// alone: the time is what it may take for that. Who has set either has it so.
func lowSpeed(lookupEnv func(string) (string, bool)) []string {
	var list []string
	for _, entry := range []string{"GIT_HTTP_LOW_SPEED_LIMIT=1000", "GIT_HTTP_LOW_SPEED_TIME=600"} {
		name, _, _ := strings.Cut(entry, "=")
		if _, set := lookupEnv(name); !set {
			list = append(list, entry)
		}
	}
	return list
}

// tokenLife is longer than a token lives.
const tokenLife = 2 * time.Hour

// readOnly has an Answerer hand out tokens that may read, and has those kept out of what git
// prints.
func readOnly(s *gitsession.Session) func(*gitauth.Answerer) {
	return func(a *gitauth.Answerer) {
		a.Permissions = nil
		a.HandedOut = func(token secret.Text) { s.Tokens.AddUntil(token, time.Now().Add(tokenLife)) }
	}
}
