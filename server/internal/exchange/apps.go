package exchange

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// Apps are the Apps of the configuration, for one generation of the policy at a time: what was
// got under another is not handed out any more. It is safe for concurrent use.
type Apps struct {
	// Options are how Apps are opened. Their Tokens and NoCache do not count.
	Options apps.Options
	// Store is where tokens of a generation are shared. Nil: in this process alone.
	Store func(generation string) ghapp.Store

	mu      sync.Mutex
	current *generation
}

// of are the Apps for a generation of the policy.
func (a *Apps) of(name string) *generation {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == nil || a.current.name != name {
		options := a.Options
		options.NoCache, options.Tokens = true, nil
		a.current = &generation{name: name, options: options, limited: map[string]*apps.Opener{}}
		if a.Store != nil {
			options.Tokens = a.Store(name)
		}
		a.current.shared = apps.New(options)
	}
	return a.current
}

// generation are the Apps for one generation of the policy.
type generation struct {
	name    string
	options apps.Options
	shared  *apps.Opener

	mu sync.Mutex
	// limited are the Apps of rules whose tokens end before their hour is over: no other rule
	// may have such a token, and no other process.
	limited map[string]*apps.Opener
}

func (g *generation) opener(grant policy.Grant) *apps.Opener {
	if grant.MaxLife == 0 {
		return g.shared
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	opener := g.limited[grant.Rule]
	if opener == nil {
		opener = apps.New(g.options)
		g.limited[grant.Rule] = opener
	}
	return opener
}

// app is the App for a grant.
func (g *generation) app(ctx context.Context, grant policy.Grant) (*apps.App, error) {
	return g.opener(grant).App(ctx, ghapp.RepositoryName{Owner: grant.Owner})
}

// token gets a token for what was granted.
func (g *generation) token(ctx context.Context, grant policy.Grant, minLife time.Duration) (*ghapp.Token, error) {
	app, err := g.app(ctx, grant)
	if err != nil {
		return nil, &Error{Outcome: Unavailable, Err: err}
	}
	if grant.MaxLife == 0 {
		return get(ctx, app, grant, minLife)
	}
	if minLife > grant.MaxLife {
		return nil, errors.New("a longer life is asked for than the rule gives")
	}
	// One token serves those who ask in the first half of its life.
	need := max(minLife, grant.MaxLife/2)
	t, err := get(ctx, app, grant, need)
	if err == nil && grant.MaxLife-ageOf(t) < need {
		if err = app.Current().App.Forget(ctx, t.Secret); err == nil {
			t, err = get(ctx, app, grant, need)
		}
	}
	return t, err
}

func get(ctx context.Context, app *apps.App, grant policy.Grant, minLife time.Duration) (t *ghapp.Token, err error) {
	err = app.Do(ctx, func(s *apps.Session) (err error) {
		t, err = s.App.Token(ctx, request(s, grant, minLife))
		return err
	})
	return t, err
}

// request is what the App is asked for: nothing but what was granted.
func request(s *apps.Session, grant policy.Grant, minLife time.Duration) ghapp.TokenRequest {
	r := ghapp.TokenRequest{Permissions: grant.Permissions, MinLife: minLife, Installation: s.Installation()}
	if grant.All {
		r.AllRepositories, r.Installation = true, grant.Owner
		return r
	}
	for _, repository := range grant.Repositories {
		r.Repositories = append(r.Repositories, repository.Name)
		r.RepositoryIDs = append(r.RepositoryIDs, repository.ID)
	}
	return r
}

// settle returns when git can use a token that may be too new for that. One that is not for
// git, or for no repository in particular, is as good as it is.
func (g *generation) settle(ctx context.Context, grant policy.Grant, t *ghapp.Token) error {
	if grant.Permissions["contents"] == "" || len(t.Repositories) == 0 {
		return nil
	}
	app, err := g.app(ctx, grant)
	if err != nil {
		return err
	}
	owner, name, _ := strings.Cut(t.Repositories[0], "/")
	s := app.Current()
	return g.opener(grant).Answerer(app).Settle(ctx, s.App, t, ghapp.RepositoryName{Owner: owner, Name: name})
}

// revoke ends a token at GitHub, and has nobody given it any more.
func (g *generation) revoke(ctx context.Context, grant policy.Grant, t *ghapp.Token) error {
	app, err := g.app(ctx, grant)
	if err != nil {
		return err
	}
	return app.Current().App.Revoke(ctx, t)
}

// host is that of the repositories of a grant, as an origin; "" where there is no App.
func (g *generation) host(ctx context.Context, grant policy.Grant) string {
	app, err := g.app(ctx, grant)
	if err != nil {
		return ""
	}
	return app.Current().App.Status().Origin
}
