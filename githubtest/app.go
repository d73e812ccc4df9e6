package githubtest

import (
	"crypto/rsa"

	standin "github.com/ghapp-dev/ghapp/internal/githubtest"
)

// AppOptions describes an App's registration. The zero value is valid.
type AppOptions struct {
	Name        string            // default "Deployer", with a number from the second App on
	Owner       string            // login of the account that registered it; default "app-owner"
	Permissions map[string]string // what it asks for; default contents and metadata read
	ID          int64             // App ID; default invented
	ClientID    string            // default invented, in GitHub's form: "Iv23li" and 14 characters more
}

// App is a registered GitHub App.
type App struct {
	ID       int64
	ClientID string
	Slug     string // the name as it stands in URLs; SLUG[bot] is the name its pushes are refused under

	app *standin.App
}

// AddApp registers an App, as yet without a key. It panics if its App ID or client ID is taken.
func (g *GitHub) AddApp(o AppOptions) *App {
	app := g.gh.AddApp(standin.AppOptions{
		Name: o.Name, Owner: o.Owner, Permissions: o.Permissions, ID: o.ID, ClientID: o.ClientID,
	})
	return &App{ID: app.ID, ClientID: app.ClientID, Slug: app.Slug, app: app}
}

// AddKey registers a public key: JWTs signed with its private half are accepted from now on. An App may have several.
func (a *App) AddKey(key *rsa.PublicKey) { a.app.AddKey(key) }

// RemoveKey deletes a public key from the registration. A key that is not there is no error.
func (a *App) RemoveKey(key *rsa.PublicKey) { a.app.RemoveKey(key) }

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

	installation *standin.Installation
}

// Install installs the App on an account, which is made as an organization if it is not there. On an account that has
// the App already the options replace what was there and the installation stays the same.
func (a *App) Install(account string, o InstallOptions) *Installation {
	i := a.app.Install(account, standin.InstallOptions(o))
	return &Installation{ID: i.ID, installation: i}
}

// Select sets the repositories the installation may reach, and no others. A repository that is not there is made,
// private.
func (i *Installation) Select(repositories ...string) { i.installation.Select(repositories...) }

// SelectAll gives the installation every repository of its account, present and future.
func (i *Installation) SelectAll() { i.installation.SelectAll() }

// SetPermissions sets what the installer has accepted. Tokens already minted lose what is no longer granted.
func (i *Installation) SetPermissions(permissions map[string]string) {
	i.installation.SetPermissions(permissions)
}

// Suspend suspends the installation: minting and every token of it are refused with 403.
func (i *Installation) Suspend() { i.installation.Suspend() }

// Unsuspend ends a suspension.
func (i *Installation) Unsuspend() { i.installation.Unsuspend() }

// Uninstall removes the installation: it is no longer found, and its tokens are dead. Installing the App again gives
// another ID.
func (i *Installation) Uninstall() { i.installation.Uninstall() }
