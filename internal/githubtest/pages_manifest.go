package githubtest

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The App Manifest flow: a form in somebody's page posts a manifest to GitHub, whose page asks the person for the App's
// name, makes the App, and sends the browser on with a code that is traded for the App's key.
// https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest

// codeLife is how long all of the flow may take.
const codeLife = time.Hour

// maxAppName is how many characters GitHub allows in an App's name.
const maxAppName = 34

// manifest is what a form says of the App to be. The keys are those of GitHub's documentation.
type manifest struct {
	Name        string            `json:"name"`
	URL         string            `json:"url"`
	Hook        *hook             `json:"hook_attributes"`
	RedirectURL string            `json:"redirect_url"`
	SetupURL    string            `json:"setup_url"`
	Description string            `json:"description"`
	Public      bool              `json:"public"`
	Events      []string          `json:"default_events"`
	Permissions map[string]string `json:"default_permissions"`
}

type hook struct {
	URL string `json:"url"`
}

// proposal is a manifest that a person looks at.
type proposal struct {
	manifest
	state string
	owner *Account
	until time.Time
}

// registration is an App that a person has made, until its code is traded for its key.
type registration struct {
	app           *App
	key           *rsa.PrivateKey
	webhookSecret string // "" without a webhook
	until         time.Time
}

// parse reads a manifest and says what GitHub says is wrong with it.
func (m *manifest) parse(text string) error {
	if err := json.Unmarshal([]byte(text), m); err != nil {
		return errors.New("The manifest is not JSON")
	}
	// A hook without a URL is told of in the same words as an App without one, as users have found out.
	if m.URL == "" || m.Hook != nil && m.Hook.URL == "" {
		return errors.New(`Error "url" wasn't supplied`)
	}
	if m.Hook != nil && isLocal(m.Hook.URL) {
		return errors.New("Hook url is not supported because it isn't reachable over the public Internet (" +
			m.Hook.URL + ")")
	}
	for _, address := range []string{m.URL, m.RedirectURL, cmp.Or(m.SetupURL, m.URL)} {
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("%q must be a valid URL", address)
		}
	}
	for name, value := range m.Permissions {
		if level(value) == 0 {
			return fmt.Errorf("Default permission records resource is not included in the list: %s %s", name, value)
		}
	}
	return nil
}

func isLocal(address string) bool {
	u, err := url.Parse(address)
	return err != nil || u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.")
}

// nameProblem says why an App cannot have a name, or "".
func (gh *GitHub) nameProblem(name string) string {
	switch length := len([]rune(name)); {
	case slug(name) == "":
		return "Name can't be blank"
	case length > maxAppName:
		return fmt.Sprintf("Name is too long (maximum is %d characters)", maxAppName)
	case slices.ContainsFunc(gh.apps, func(a *App) bool { return a.Slug == slug(name) }):
		return "Name is already taken"
	}
	return ""
}

// slug is a name as it stands in URLs.
func slug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
	return strings.Join(words, "-")
}

// register makes the App of a proposal, and the code its key is had for. It is called without the lock, since making a
// key takes a while.
func (gh *GitHub) register(p *proposal, name string) (code string, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	gh.mu.Lock()
	defer gh.mu.Unlock()
	if problem := gh.nameProblem(name); problem != "" {
		return "", errors.New(problem)
	}
	id := gh.id("app")
	app := &App{
		gh: gh, ID: id, ClientID: inventClientID(id), Name: name, Slug: slug(name), owner: p.owner, created: gh.now(),
		permissions: grant(p.Permissions), events: slices.Clone(p.Events), keys: []*rsa.PublicKey{&key.PublicKey},
		private: !p.Public, homepage: p.URL, setupURL: p.SetupURL, description: p.Description,
	}
	gh.apps = append(gh.apps, app)
	made := &registration{app: app, key: key, until: p.until}
	if p.Hook != nil {
		made.webhookSecret = inventSecret()
	}
	code = inventSecret()
	gh.registrations[code] = made
	return code, nil
}

// inventSecret has the form of GitHub's client secrets, and of its codes.
func inventSecret() string {
	text := make([]byte, 20)
	rand.Read(text)
	return hex.EncodeToString(text)
}
