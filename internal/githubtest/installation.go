package githubtest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// InstallOptions says what an installation may reach.
type InstallOptions struct {
	// Repositories are the names of the selected ones, "site" or "acme/site". One that is not there is made, private.
	Repositories []string

	// All selects every repository of the account, present and future. With neither All nor Repositories nothing is
	// selected.
	All bool

	// Permissions are what the installer accepted. Nil means what the App asks for.
	Permissions map[string]string
}

// Installation is an App on an account.
type Installation struct {
	ID int64

	gh          *GitHub
	app         *App
	account     *Account
	all         bool
	selected    map[int64]bool
	permissions map[string]string
	created     time.Time
	updated     time.Time
	suspended   time.Time // zero when it is not
	gone        bool

	reached   []*Repository // as of reachedAt, see GitHub.reached
	reachedAt int
}

// Install installs the App on an account, which is made as an Organization if it is not there. On an account that has
// the App already the options replace what was there and the installation stays the same.
func (a *App) Install(account string, o InstallOptions) *Installation {
	var inst *Installation
	a.gh.telling(func() (events []event) {
		inst, events = a.install(account, o)
		return events
	})
	return inst
}

func (a *App) install(account string, o InstallOptions) (*Installation, []event) {
	gh := a.gh
	owner := gh.account(account, Organization)
	inst := gh.installed(a, owner)
	made := inst == nil
	if made {
		inst = &Installation{ID: gh.id("installation"), gh: gh, app: a, account: owner, created: gh.now()}
		gh.installs[inst.ID] = inst
	}
	inst.permissions = grant(o.Permissions)
	if o.Permissions == nil {
		inst.permissions = maps.Clone(a.permissions)
	}
	events := inst.selecting(func() { inst.selectAll(o.All, o.Repositories) })
	if made {
		events = inst.installationEvents("created")
	}
	return inst, events
}

// Select sets the repositories the installation may reach, and no others. A repository that is not there is made,
// private.
func (i *Installation) Select(repositories ...string) {
	i.gh.telling(func() []event { return i.selecting(func() { i.selectAll(false, repositories) }) })
}

// SelectAll gives the installation every repository of its account, present and future.
func (i *Installation) SelectAll() {
	i.gh.telling(func() []event { return i.selecting(func() { i.selectAll(true, nil) }) })
}

// SetPermissions sets what the installer has accepted. Tokens already minted lose what is no longer granted.
func (i *Installation) SetPermissions(permissions map[string]string) {
	i.gh.telling(func() []event {
		i.permissions = grant(permissions)
		i.updated = i.gh.now()
		return i.installationEvents("new_permissions_accepted")
	})
}

// Suspend suspends the installation: minting and every token of it are refused with 403.
func (i *Installation) Suspend() {
	i.gh.telling(func() []event {
		i.suspended = i.gh.now()
		i.updated = i.suspended
		return i.installationEvents("suspend")
	})
}

// Unsuspend ends a suspension.
func (i *Installation) Unsuspend() {
	i.gh.telling(func() []event {
		i.suspended = time.Time{}
		i.updated = i.gh.now()
		return i.installationEvents("unsuspend")
	})
}

// Uninstall removes the installation: it is no longer found, and its tokens are dead. Installing the App again gives
// another ID.
func (i *Installation) Uninstall() {
	i.gh.telling(func() []event {
		events := i.installationEvents("deleted")
		i.gone = true
		i.gh.changes++
		delete(i.gh.installs, i.ID)
		return events
	})
}

func (i *Installation) selectAll(all bool, repositories []string) {
	i.all, i.selected = all, map[int64]bool{}
	i.gh.changes++
	for _, name := range repositories {
		if !strings.Contains(name, "/") {
			name = i.account.Login + "/" + name
		}
		i.selected[i.gh.repository(name).ID] = true
	}
	i.updated = i.gh.now()
}

// covers reports whether the installation reaches the repository now.
func (i *Installation) covers(r *Repository) bool {
	return !i.gone && r.owner == i.account && (i.all || i.selected[r.ID])
}

// selection is the repository_selection of the REST API.
func (i *Installation) selection() string {
	if i.all {
		return "all"
	}
	return "selected"
}

// installed finds the installation of an App on an account, or nil.
func (gh *GitHub) installed(a *App, account *Account) *Installation {
	for _, inst := range gh.installs {
		if inst.app == a && inst.account == account {
			return inst
		}
	}
	return nil
}

// installations are those of one App, oldest first.
func (gh *GitHub) installations(a *App) []*Installation {
	var list []*Installation
	for _, id := range slices.Sorted(maps.Keys(gh.installs)) {
		if inst := gh.installs[id]; inst.app == a {
			list = append(list, inst)
		}
	}
	return list
}
