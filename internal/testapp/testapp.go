// Package testapp is an App for tests: registered and installed at a GitHub in this process.
package testapp

import (
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// TestApp is an App with the key of [testkit.Key]. [New] makes one.
type TestApp struct {
	GitHub       *githubtest.GitHub // ends with the test
	Registration *githubtest.App
	Installation *githubtest.Installation // on acme
}

// New registers an App, and installs it on acme.
func New(t testing.TB, registered githubtest.AppOptions, installed githubtest.InstallOptions) *TestApp {
	t.Helper()
	github := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	t.Cleanup(func() { testkit.OK(t, github.Close()) })
	a := &TestApp{GitHub: github, Registration: github.AddApp(registered)}
	a.Registration.AddKey(&testkit.Key(t).PublicKey)
	a.Installation = a.Registration.Install("acme", installed)
	return a
}

// Config is that of the App on github.com, which GitHub answers without a socket.
func (a *TestApp) Config(t testing.TB) ghapp.Config {
	t.Helper()
	return ghapp.Config{
		Client: ghapp.Client{Transport: a.GitHub.RoundTripper()},
		Issuer: a.Registration.ClientID,
		Signer: signer.FromCryptoSigner(testkit.Key(t)),
	}
}

// Open is the App as a new process has it.
func (a *TestApp) Open(t testing.TB, edit ...func(*ghapp.Config)) *ghapp.App {
	t.Helper()
	c := a.Config(t)
	for _, f := range edit {
		f(&c)
	}
	return testkit.Must(ghapp.New(c))(t)
}
