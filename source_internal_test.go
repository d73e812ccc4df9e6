package ghapp

import (
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

func TestWarmTokenAsksTheWallClockToo(t *testing.T) {
	// Not in a synctest bubble, whose times have no monotonic reading.
	key := testkit.Key(t)
	gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	defer gh.Close()
	registration := gh.AddApp(githubtest.AppOptions{})
	registration.AddKey(&key.PublicKey)
	registration.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	app, err := New(Config{Client: Client{Transport: gh.RoundTripper()}, Issuer: registration.ClientID,
		Signer: signer.FromCryptoSigner(key)})
	testkit.OK(t, err)
	s := app.TokenSource(TokenRequest{Repositories: []string{"acme/site"}}).(*source)
	first := testkit.Must(s.Token(t.Context()))(t)
	l := s.warm.Load()
	if next := time.Duration(l.check.Load()) - time.Since(app.tokens.start); next > time.Second {
		t.Errorf("the wall clock is asked after %s, want a second at most", next)
	}

	// The machine sleeps for two hours: the wall clock has gone on, the monotonic one
	// has not, so by its own limit the warm token is good. A second later by that clock:
	first.MintedAt = wallMoved(t, first.MintedAt, -2*time.Hour)
	first.ExpiresAt = first.ExpiresAt.Add(-2 * time.Hour)
	l.check.Store(0)
	if time.Since(app.tokens.start) >= l.until {
		t.Fatal("the warm token has run out by itself: this test proves nothing")
	}
	next, err := s.Token(t.Context())
	if err != nil || next == first || next.Life() < 59*time.Minute {
		t.Errorf("a token that expired while the machine slept was handed out (%v)", err)
	}
	// While all is well the warm token is only put off by another second.
	l = s.warm.Load()
	l.check.Store(0)
	if again, err := s.Token(t.Context()); err != nil || again != next || s.warm.Load() != l || l.check.Load() == 0 {
		t.Errorf("a good warm token was not kept (%v)", err)
	}
}
