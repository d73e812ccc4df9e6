package ghapp_test

import (
	"context"
	"crypto/rsa"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

func TestKeyThatIsRefusedIsNotAskedWithAtEveryQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		process := func(key *rsa.PrivateKey) *ghapp.App {
			return w.Open(t, func(c *ghapp.Config) {
				c.Store, c.RefusalLife = store, 10*time.Second
				c.Signer = signer.FromCryptoSigner(key)
			})
		}
		refused := func(app *ghapp.App) {
			t.Helper()
			_, err := app.Token(t.Context(), site())
			e := wantKind(t, err, ghapp.ErrKeyMismatch)
			if e.Status != 401 || e.Message == "" {
				t.Errorf("GitHub's word is not repeated: %v", err)
			}
		}
		old := mustToken(t, process(testkit.Key(t)), site()) // with a key that is taken
		app := process(testkit.NthKey(t, 1))
		for range 20 {
			refused(app)
			refused(process(testkit.NthKey(t, 1)))
		}
		if n := len(w.GitHub.Requests()); n != 3 {
			t.Errorf("after the two of the first token, 40 questions asked GitHub %d times", n-2)
		}
		// Another key is asked with at once, and what is cached is handed out.
		if token := mustToken(t, process(testkit.Key(t)), site()); token.Secret.Reveal() != old.Secret.Reveal() {
			t.Error("the token of the other key is gone")
		}
		// Whoever asks who the App is gets GitHub's answer.
		before := len(w.GitHub.Requests())
		_, err := app.Info(t.Context())
		wantKind(t, err, ghapp.ErrKeyMismatch)
		testkit.Equal(t, len(w.GitHub.Requests()), before+1, "GitHub was not asked who the App is")
		// It ends by itself.
		w.Registration.AddKey(&testkit.NthKey(t, 1).PublicKey)
		refused(app)
		time.Sleep(10 * time.Second)
		var running sync.WaitGroup
		for range 5 {
			running.Go(func() { mustToken(t, app, site()) })
		}
		running.Wait()
	})
}

func TestRejectedKeyIsAskedWithEachTimeUnlessToldOtherwise(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t, func(c *ghapp.Config) {
		c.Store, c.Signer = newMemory(), signer.FromCryptoSigner(testkit.NthKey(t, 1))
	})
	for range 2 {
		_, err := app.Token(context.Background(), site())
		wantKind(t, err, ghapp.ErrKeyMismatch)
	}
	testkit.Equal(t, len(w.GitHub.Requests()), 2, "GitHub was asked")
}
