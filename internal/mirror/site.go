package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/inventory"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// known is a repository as it was listed before.
type known = inventory.Repository

// site is an installation in a pass.
type site struct {
	app     *apps.App
	session *apps.Session
	info    *ghapp.InstallationInfo
	asker   *inventory.Asker
	budget  *budget
	gate    *gate
	tokens  *tokens

	// named is since when the names are those of their repositories, by the names in lower case.
	named map[string]time.Time

	found    *inventory.Listing
	err      error
	complete bool // all that it reaches is known
	listed   int
}

// installations are those that the options are about, by their IDs.
func (p *pass) installations(ctx context.Context) (map[int64]*site, error) {
	list, err := appsOf(ctx, p.Opener, p.Entry.Owners)
	if err != nil {
		return nil, err
	}
	sites := map[int64]*site{}
	p.allListed = true
	for _, app := range list {
		session := app.Session(ctx)
		status := session.App.Status()
		p.origin.Store(&status.Origin)
		if p.state.Host == "" {
			p.state.Host = status.Host
		}
		if p.state.Host != status.Host {
			return nil, &fault.SettingError{
				Err:  fmt.Errorf("%s has mirrors of %s, and the App is on %s", p.dir, p.state.Host, status.Host),
				Hint: "keep the repositories of each host in a directory of its own",
			}
		}
		if err := p.installed(ctx, app, session, sites); err != nil {
			return nil, err
		}
	}
	for _, owner := range p.Entry.Owners {
		if !p.reached(sites, owner) && !p.hasFailed(owner) {
			p.failOwner(owner, &ghapp.Error{Kind: ghapp.ErrNotInstalled,
				Op: "mirror the repositories of " + owner, Err: errors.New("the App is not installed there")})
		}
	}
	if len(sites) == 0 && len(p.report.Failed) > 0 {
		err := p.report.Failed[0].Err
		p.report.Failed, p.owners = nil, nil
		return nil, err
	}
	if len(sites) == 0 {
		p.report.None = installedNowhere(list)
	}
	return sites, nil
}

// installedNowhere is the error of Apps of which there is no installation. What they have mirrored before is
// marked as gone all the same.
func installedNowhere(list []*apps.App) error {
	cause, hint := "the App is not installed on any account", "install it (its public page, Install); "+
		"mirrors that are there stay as they are, and go on once it is"
	for _, app := range list {
		if only := app.Settings().Installation.Text; only != "" {
			cause, hint = "the App has no installation "+text.OneLine(only), "`ghapp installations` lists those that there are"
		}
	}
	return &fault.ExitError{Code: fault.Refused, Hint: hint,
		Err: &ghapp.Error{Kind: ghapp.ErrNotInstalled, Op: "mirror", Err: errors.New(cause)}}
}

func (p *pass) reached(sites map[int64]*site, owner string) bool {
	for _, s := range sites {
		if strings.EqualFold(s.info.Account, owner) {
			return true
		}
	}
	return false
}

// hasFailed reports whether it has been told already why an owner is not mirrored.
func (p *pass) hasFailed(owner string) bool {
	return slices.ContainsFunc(p.report.Failed, func(f Failed) bool { return f.Account == owner && f.Repository == "" })
}

// appsOf are the Apps that the options are about: those of some owners, or all.
func appsOf(ctx context.Context, opener *apps.Opener, owners []string) ([]*apps.App, error) {
	if len(owners) == 0 {
		return opener.All(ctx)
	}
	var list []*apps.App
	met := map[*apps.App]bool{}
	for _, owner := range owners {
		app, err := opener.App(ctx, ghapp.RepositoryName{Owner: owner})
		if err != nil {
			return nil, err
		}
		if !met[app] {
			met[app] = true
			list = append(list, app)
		}
	}
	return list, nil
}

// installed adds the installations of an App.
func (p *pass) installed(ctx context.Context, app *apps.App, session *apps.Session, sites map[int64]*site) error {
	if session.App.Status().Broker != "" {
		return p.brokered(ctx, app, session, sites)
	}
	only := session.Installation()
	for info, err := range session.App.Installations(ctx) {
		if err != nil {
			return err
		}
		if !p.covers(info.Account) || info.AccountType == "Enterprise" ||
			only != "" && only != strconv.FormatInt(info.ID, 10) && !strings.EqualFold(only, info.Account) {
			continue
		}
		sites[info.ID] = p.site(app, session, info)
	}
	return nil
}

// brokered adds the installations of the owners that are named, as a broker tells of them with
// a token: it lists none.
func (p *pass) brokered(ctx context.Context, app *apps.App, session *apps.Session, sites map[int64]*site) error {
	if len(p.Entry.Owners) == 0 {
		return &fault.SettingError{
			Err: fmt.Errorf("whose repositories are to be mirrored is not said, and %s does not list owners",
				session.App.Status().Broker),
			Hint: "name the owners: ghapp mirror OWNER",
		}
	}
	p.allListed = false // an owner that is not named is nobody's proof of anything
	for _, owner := range p.Entry.Owners {
		if of, err := p.Opener.App(ctx, ghapp.RepositoryName{Owner: owner}); err != nil || of != app {
			continue
		}
		t, err := session.App.Token(ctx, ghapp.TokenRequest{
			Installation: owner, AllRepositories: true, Permissions: ghapp.Permissions{"metadata": "read"},
		})
		if err == nil && t.Installation == 0 {
			err = &ghapp.Error{Kind: ghapp.ErrBrokerUnreachable, Op: "mirror the repositories of " + owner,
				Err: errors.New("the broker does not say of which installation its token is")}
		}
		if err != nil {
			p.failOwner(owner, err)
			continue
		}
		sites[t.Installation] = p.site(app, session, &ghapp.InstallationInfo{ID: t.Installation, Account: owner})
	}
	return nil
}

// installation is how the site is named where a token is asked for.
func (s *site) installation() string {
	if s.session.App.Status().Broker != "" {
		return s.info.Account // a broker knows owners, and not IDs
	}
	return strconv.FormatInt(s.info.ID, 10)
}

func (p *pass) site(app *apps.App, session *apps.Session, info *ghapp.InstallationInfo) *site {
	s := &site{app: app, session: session, info: info, budget: &budget{leave: p.Entry.Leave}, gate: &gate{},
		named: map[string]time.Time{}}
	s.asker = &inventory.Asker{
		App: session.App,
		Source: session.App.TokenSource(ghapp.TokenRequest{
			Installation: s.installation(), AllRepositories: true, Permissions: ghapp.Permissions{"metadata": "read"},
		}),
		Client: ghapp.Client{Transport: session.Transport, Log: p.Log},
		Host:   session.App.Status().Host,
		REST:   !info.AllRepositories,
		Topics: len(p.Entry.Topics) > 0,
		Spare:  s.budget.spare,
		Log:    p.Log,
	}
	return s
}

// reads is a source of tokens that may read the code of some repositories of an installation.
func (s *site) reads(names []string) ghapp.TokenSource {
	r := &renewed{app: s.session.App, TokenSource: s.session.App.TokenSource(ghapp.TokenRequest{
		Installation: s.installation(), Repositories: names,
	})}
	for _, name := range names {
		if at := s.named[strings.ToLower(name)]; at.After(r.after) {
			r.after = at
		}
	}
	return r
}
