package cli_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// world is a GitHub with acme/site (branches main and deployment), acme/web,
// acme/hidden (not selected), octo/lib (of an owner who has not installed the App),
// and the App.
type world struct {
	github *githubtest.GitHub
	app    *githubtest.App
	keyPEM []byte
	dir    string // of its repositories
}

func newWorld(dir string, key *rsa.PrivateKey) (*world, error) {
	github, err := githubtest.New(githubtest.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	w := &world{github: github, dir: dir}
	w.app = github.AddApp(githubtest.AppOptions{
		Name: "Deployer", Owner: "acme", ID: 1234, ClientID: "Iv23liScriptedApp00",
		Permissions: map[string]string{"contents": "read", "metadata": "read"},
	})
	w.app.AddKey(&key.PublicKey)
	w.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})

	site := github.AddRepository("acme/site", githubtest.RepositoryOptions{})
	for _, branch := range []string{"main", "deployment"} {
		if _, err := site.Commit(branch, "Change "+branch,
			map[string]string{"README.md": "# site\n", branch + ".txt": branch + "\n"}); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"acme/web", "acme/hidden", "octo/lib"} {
		if _, err := github.AddRepository(name, githubtest.RepositoryOptions{}).Commit("main", "Begin",
			map[string]string{"name.txt": name + "\n"}); err != nil {
			return nil, err
		}
	}
	w.app.Install("acme", githubtest.InstallOptions{Repositories: []string{"acme/site", "acme/web"}})
	return w, nil
}

// tokens are the installation access tokens that were minted so far.
func (w *world) tokens() []string {
	var tokens []string
	for _, token := range w.github.Tokens() {
		tokens = append(tokens, token.Token)
	}
	return tokens
}

// secrets are the tokens and the key.
func (w *world) secrets() []string {
	secrets := w.tokens()
	for line := range strings.Lines(string(w.keyPEM)) {
		if line = strings.TrimSpace(line); len(line) == 64 && !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, line)
		}
	}
	return secrets
}

// search finds a secret in a text, as it is, in base64 or in a URL, and returns how
// it begins there; "" if there is none.
func search(text []byte, secrets []string) string { return needlesOf(secrets).in(text) }

// needles are secrets in every form that they may stand in, by how these begin: a text
// is gone through once, however many they are.
type needles map[[4]byte][]string

func needlesOf(secrets []string) needles {
	n := needles{}
	for _, s := range secrets {
		forms := []string{s, url.QueryEscape(s)}
		for offset := range 3 {
			// Whatever stands before it, the middle of its base64 is the same.
			coded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + s))
			forms = append(forms, coded[4:len(coded)-4])
		}
		for _, form := range forms {
			begin := [4]byte([]byte(form))
			n[begin] = append(n[begin], form)
		}
	}
	return n
}

// in returns how a secret begins that stands in a text; "" if there is none.
func (n needles) in(text []byte) string {
	for i := range max(0, len(text)-3) {
		for _, form := range n[[4]byte(text[i:])] {
			if bytes.HasPrefix(text[i:], []byte(form)) {
				return form[:8] + "…"
			}
		}
	}
	return ""
}
