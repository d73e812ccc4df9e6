package apps

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// changing is an App whose key's file changes, before a GitHub in the process.
type changing struct {
	*App
	t        *testing.T
	github   *githubtest.GitHub
	app      *githubtest.App
	answerer *gitauth.Answerer
	told     []string
}

func newChanging(t *testing.T) *changing {
	t.Helper()
	github, err := githubtest.New(githubtest.Options{Dir: t.TempDir()})
	testkit.OK(t, err)
	t.Cleanup(func() { _ = github.Close() })
	app := github.AddApp(githubtest.AppOptions{Owner: "acme"})
	app.AddKey(&testkit.Key(t).PublicKey)
	app.Install("acme", githubtest.InstallOptions{All: true})
	for _, name := range []string{"acme/site", "acme/web"} {
		github.AddRepository(name, githubtest.RepositoryOptions{})
	}
	c := &changing{t: t, github: github, app: app}
	path := filepath.Join(t.TempDir(), "app.pem")
	c.put(path, testkit.Key(t))
	o := New(Options{
		Environ: []string{"HOME=" + t.TempDir(), "GHAPP_APP=" + app.ClientID, "GHAPP_KEY=" + path},
		NoCache: true,
		Tell:    func(format string, args ...any) { c.told = append(c.told, fmt.Sprintf(format, args...)) },
		Observe: func(http.RoundTripper) http.RoundTripper { return github.RoundTripper() },
	})
	if c.App, err = o.App(t.Context(), ghapp.RepositoryName{}); err != nil {
		t.Fatal(err)
	}
	c.answerer = o.Answerer(c.App)
	c.answerer.Transport = knowing{}
	return c
}

// knowing is a git service that knows every token.
type knowing struct{}

func (knowing) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("")),
		Request: r, Header: http.Header{}}, nil
}

// put replaces the file of the key, as a whole.
func (c *changing) put(path string, key *rsa.PrivateKey) {
	c.t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	testkit.OK(c.t, os.WriteFile(path+".new", text, 0o600))
	testkit.OK(c.t, os.Rename(path+".new", path))
}

// ask asks as git does and returns the token.
func (c *changing) ask(repository string) (string, error) {
	var answer *credential.Credential
	err := c.Do(c.t.Context(), func(*Session) (err error) {
		answer, err = c.answerer.Credential(c.t.Context(), credential.Get, &credential.Credential{
			Protocol: "https", Host: "github.com", Path: repository + ".git",
		})
		return err
	})
	if err != nil {
		return "", err
	}
	return answer.Password.Reveal(), nil
}

func (c *changing) mustAsk(repository string) string {
	c.t.Helper()
	token := testkit.Must(c.ask(repository))(c.t)
	return token
}

// uses fails unless this key is in use, and that one waits to be.
func (c *changing) uses(key, next *rsa.PrivateKey) {
	c.t.Helper()
	fingerprint := func(key *rsa.PrivateKey) string {
		if key == nil {
			return ""
		}
		return signer.Fingerprint(&key.PublicKey)
	}
	if got := c.Current().App.Status().Fingerprint; got != fingerprint(key) || c.NextKey() != fingerprint(next) {
		c.t.Errorf("it uses %s, next %s; want %s, %s", got, c.NextKey(), fingerprint(key), fingerprint(next))
	}
}

// proofs is how often GitHub was asked whether it takes a key.
func (c *changing) proofs() int {
	n := 0
	for _, r := range c.github.Requests() {
		if r.Method == http.MethodGet && r.Path == "/app" {
			n++
		}
	}
	return n
}

func TestNewKeyIsUsedOnceGitHubTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t)
		c.mustAsk("acme/site")
		c.put(c.path, testkit.NthKey(t, 1))
		c.app.AddKey(&testkit.NthKey(t, 1).PublicKey)
		c.mustAsk("acme/site")
		c.uses(testkit.NthKey(t, 1), nil)
		c.app.RemoveKey(&testkit.Key(t).PublicKey)
		c.mustAsk("acme/web")
		testkit.Equal(t, c.proofs(), 1, "proofs, told: %q", c.told)
		testkit.Equal(t, len(c.told), 1, "proofs, told: %q", c.told)
	})
}

func TestNewKeyThatGitHubDoesNotTakeIsTriedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t)
		c.put(c.path, testkit.NthKey(t, 1))
		for range 60 {
			c.mustAsk("acme/site")
			c.uses(testkit.Key(t), testkit.NthKey(t, 1))
			time.Sleep(time.Second)
		}
		testkit.Equal(t, c.proofs(), 1, "proofs in a minute")
		c.app.AddKey(&testkit.NthKey(t, 1).PublicKey)
		c.mustAsk("acme/site")
		c.uses(testkit.NthKey(t, 1), nil)
	})
}

func TestOldKeyServesWhileGitHubIsOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t)
		token := c.mustAsk("acme/site")
		c.put(c.path, testkit.NthKey(t, 1))
		c.app.AddKey(&testkit.NthKey(t, 1).PublicKey)
		testkit.OK(t, c.github.Fault(githubtest.Fault{Delay: time.Hour}))
		asked := time.Now()
		testkit.Equal(t, c.mustAsk("acme/site"), token, "another token was handed out")
		if waited := time.Since(asked); waited > keyProof {
			t.Errorf("git waited for %s", waited)
		}
		c.uses(testkit.Key(t), testkit.NthKey(t, 1))
		c.github.ClearFaults()
		time.Sleep(keyPause)
		c.mustAsk("acme/site")
		c.uses(testkit.NthKey(t, 1), nil)
	})
}

// GitHub's servers learn of a key one after the other.
func TestOldKeyServesWhereANewOneIsNotKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t)
		token := c.mustAsk("acme/site")
		c.put(c.path, testkit.NthKey(t, 1))
		c.app.AddKey(&testkit.NthKey(t, 1).PublicKey)
		err := c.github.Fault(githubtest.Fault{
			Match: githubtest.MintPattern, Times: 1, Status: http.StatusUnauthorized,
			Body: `{"message":"A JSON web token could not be decoded"}`,
		})
		testkit.OK(t, err)
		testkit.Equal(t, c.mustAsk("acme/site"), token, "another token was handed out")
		c.uses(testkit.Key(t), testkit.NthKey(t, 1))
		time.Sleep(keyPause)
		if got := c.mustAsk("acme/site"); got == token {
			t.Error("the new key has minted no token")
		}
		c.uses(testkit.NthKey(t, 1), nil)
		// It has worked: the old key is not gone back to.
		c.app.RemoveKeys()
		testkit.Fails(t, testkit.ErrorOf(c.ask("acme/web")), "a key that was deleted got a token")
		c.uses(testkit.NthKey(t, 1), nil)
	})
}

func TestManyWaitForOneProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t)
		c.put(c.path, testkit.NthKey(t, 1))
		c.app.RemoveKeys()
		c.app.AddKey(&testkit.NthKey(t, 1).PublicKey)
		testkit.OK(t, c.github.Fault(githubtest.Fault{Match: "GET /app", Delay: time.Second}))
		var asking sync.WaitGroup
		for range 50 {
			asking.Go(func() {
				if _, err := c.ask("acme/site"); err != nil {
					t.Error(err)
				}
			})
		}
		asking.Wait()
		testkit.Equal(t, c.proofs(), 1)
		testkit.Equal(t, c.github.Mints(), 1)
	})
}

// One who waits for the proof of another and leaves is not held up.
func TestWhoLeavesDoesNotWaitForAProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t)
		c.put(c.path, testkit.NthKey(t, 1))
		c.app.AddKey(&testkit.NthKey(t, 1).PublicKey)
		testkit.OK(t, c.github.Fault(githubtest.Fault{Match: "GET /app", Delay: 5 * time.Second}))
		var proving sync.WaitGroup
		proving.Go(func() { c.mustAsk("acme/site") })
		synctest.Wait()
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		asked := time.Now()
		c.Session(ctx)
		testkit.Equal(t, time.Since(asked), time.Second, "waited for")
		proving.Wait()
		c.uses(testkit.NthKey(t, 1), nil)
	})
}

// Those who hold an App have an address for its tokens: when the configuration names another
// host by now, a token of that one would go there.
func TestKeyThatFailsIsNotReplacedByAnAppOfAnotherHost(t *testing.T) {
	github, err := githubtest.New(githubtest.Options{Dir: t.TempDir()})
	testkit.OK(t, err)
	t.Cleanup(func() { _ = github.Close() })
	app := github.AddApp(githubtest.AppOptions{Owner: "acme"})
	app.AddKey(&testkit.NthKey(t, 1).PublicKey)
	app.Install("acme", githubtest.InstallOptions{All: true})
	dir := t.TempDir()
	for name, key := range map[string]*rsa.PrivateKey{"old.pem": testkit.Key(t), "new.pem": testkit.NthKey(t, 1)} {
		text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		testkit.OK(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	file := filepath.Join(dir, "config.yaml")
	write := func(key, host string) {
		testkit.OK(t, os.WriteFile(file, []byte("apps:\n  deploy:\n    app: "+app.ClientID+"\n    key: "+key+
			"\n    host: "+host+"\n    owners: [acme]\n"), 0o600))
	}
	write("old.pem", "github.com")
	o := New(Options{
		Environ: []string{"HOME=" + dir, "GHAPP_CONFIG=" + file}, NoCache: true,
		Observe: func(http.RoundTripper) http.RoundTripper { return github.RoundTripper() },
	})
	a := testkit.Must(o.App(t.Context(), ghapp.RepositoryName{Owner: "acme", Name: "site"}))(t)
	write("new.pem", "ghe.example.com")
	err = a.Do(t.Context(), func(s *Session) error {
		if origin := s.App.Status().Origin; origin != "https://github.com" {
			t.Errorf("it goes on with an App on %s", origin)
			return nil
		}
		_, err := s.App.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}})
		return err
	})
	testkit.ErrorIs(t, err, ghapp.ErrKeyMismatch)
	if origin := a.Current().App.Status().Origin; origin != "https://github.com" {
		t.Errorf("the App is on %s now", origin)
	}
	write("new.pem", "github.com")
	testkit.OK(t, a.Do(t.Context(), func(s *Session) error {
		_, err := s.App.Info(t.Context())
		return err
	}))
}
