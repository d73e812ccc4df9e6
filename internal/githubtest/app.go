package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AppOptions describes an App's registration. The zero value is valid.
type AppOptions struct {
	Name        string            // default "Deployer", with a number from the second App on
	Owner       string            // login of the account that registered it; default "app-owner"; made if it is not there
	Permissions map[string]string // what it asks for; default contents and metadata read
	Events      []string          // webhook events it asks for; default none
	// Private: only its owner can see and install it on GitHub's pages; an App from a manifest says so itself
	Private  bool
	ID       int64  // App ID; default invented
	ClientID string // default invented, in GitHub's form: "Iv23li" and 14 characters more
}

// App is a registered GitHub App.
type App struct {
	ID       int64
	ClientID string
	Name     string
	Slug     string // the name as it stands in URLs; SLUG[bot] is the name its pushes are refused under
	BotID    int64  // of the user SLUG[bot], whose commits the App's are; it is not the App's ID

	gh          *GitHub
	owner       *Account
	permissions map[string]string
	events      []string
	keys        []*rsa.PublicKey
	created     time.Time
	webhook     Webhook
	hookID      int64 // 0 before the first webhook
	deliveries  []Delivery
	private     bool
	homepage    string // "" is the stand-in itself
	setupURL    string // where the browser goes after an installation; may be ""
	description string
}

// AddApp registers an App, as yet without a key. It panics if its App ID or client ID is taken.
func (gh *GitHub) AddApp(o AppOptions) *App {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	a := &App{gh: gh, ID: o.ID, ClientID: o.ClientID, Name: o.Name, private: o.Private,
		events: slices.Clone(o.Events), created: gh.now()}
	if a.ID == 0 {
		a.ID = gh.id("app")
	}
	if a.ClientID == "" {
		a.ClientID = inventClientID(a.ID)
	}
	if a.Name == "" {
		a.Name = "Deployer"
		if n := len(gh.apps); n > 0 {
			a.Name += " " + strconv.Itoa(n+1)
		}
	}
	a.Slug = slug(a.Name)
	a.BotID = gh.id("bot")
	for _, other := range gh.apps {
		if other.ID == a.ID || other.ClientID == a.ClientID {
			panic(fmt.Sprintf("githubtest: App ID %d or client ID %s is taken", a.ID, a.ClientID))
		}
	}
	owner := o.Owner
	if owner == "" {
		owner = "app-owner"
	}
	a.owner = gh.account(owner, Organization)
	a.permissions = grant(o.Permissions)
	if o.Permissions == nil {
		a.permissions = grant(map[string]string{"contents": "read"})
	}
	gh.apps = append(gh.apps, a)
	return a
}

// AddKey registers a public key: JWTs signed with its private half are accepted from now on. An App may have several.
func (a *App) AddKey(key *rsa.PublicKey) {
	a.gh.mu.Lock()
	defer a.gh.mu.Unlock()
	a.keys = append(a.keys, key)
}

// RemoveKey deletes a public key from the registration. A key that is not there is no error.
func (a *App) RemoveKey(key *rsa.PublicKey) {
	a.gh.mu.Lock()
	defer a.gh.mu.Unlock()
	a.keys = slices.DeleteFunc(a.keys, func(k *rsa.PublicKey) bool { return k.Equal(key) })
}

// RemoveKeys deletes every key of the registration.
func (a *App) RemoveKeys() {
	a.gh.mu.Lock()
	defer a.gh.mu.Unlock()
	a.keys = nil
}

// RotateKey deletes all keys of the registration and generates a new one of 2048 bits, as "Generate a private key" on
// GitHub's settings page does, and returns its private half.
func (a *App) RotateKey() (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("githubtest: %w", err)
	}
	a.gh.mu.Lock()
	defer a.gh.mu.Unlock()
	a.keys = []*rsa.PublicKey{&key.PublicKey}
	return key, nil
}

func inventClientID(appID int64) string {
	sum := sha256.Sum256([]byte(strconv.FormatInt(appID, 10)))
	id := []byte("Iv23li")
	for _, b := range sum[:14] {
		id = append(id, base62[int(b)%len(base62)])
	}
	return string(id)
}

// level orders the values of a permission. 0 is no value.
func level(value string) int { return slices.Index([]string{"read", "write", "admin"}, value) + 1 }

// grant is a copy of permissions as GitHub keeps them: any permission on repositories brings metadata read with it.
// https://docs.github.com/en/apps/creating-github-apps/registering-a-github-app/choosing-permissions-for-a-github-app
func grant(permissions map[string]string) map[string]string {
	granted := map[string]string{}
	maps.Copy(granted, permissions)
	for name := range permissions {
		if onRepositories(name) {
			granted["metadata"] = "read"
		}
	}
	return granted
}

// onRepositories reports whether a permission is one on repositories, and not on an organization, an enterprise or a
// person's account.
func onRepositories(permission string) bool {
	switch permission {
	case "members", "custom_properties_for_organizations",
		"email_addresses", "followers", "git_ssh_keys", "gpg_keys", "interaction_limits", "profile", "starring":
		return false
	}
	return !strings.HasPrefix(permission, "organization_") && !strings.HasPrefix(permission, "enterprise_")
}
