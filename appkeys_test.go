package ghapp_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// withTwoKeys has a newest key that GitHub does not know, and the world's before it.
// opened counts how often that is opened.
func withTwoKeys(t *testing.T, opened *atomic.Int32) func(*ghapp.Config) {
	return func(c *ghapp.Config) {
		c.FallbackSigner = func(context.Context) (ghapp.Signer, error) {
			opened.Add(1)
			return signer.FromCryptoSigner(testkit.Key(t)), nil
		}
		c.Signer = signer.FromCryptoSigner(testkit.NthKey(t, 1))
	}
}

func fingerprintOf(t *testing.T, w *world, key *rsa.PrivateKey) string {
	t.Helper()
	return w.Open(t, func(c *ghapp.Config) { c.Signer = signer.FromCryptoSigner(key) }).Status().Fingerprint
}

func TestPreviousKeyServesWhileTheNewestIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var opened atomic.Int32
		var log logBuffer
		app := w.Open(t, withTwoKeys(t, &opened), func(c *ghapp.Config) { c.Log = logTo(&log) })
		older, newest := fingerprintOf(t, w, testkit.Key(t)), fingerprintOf(t, w, testkit.NthKey(t, 1))
		if app.Status().Fingerprint != newest || app.Status().RejectedKey != "" || opened.Load() != 0 {
			t.Errorf("before any question: %s in use, %q refused, opened %d times", app.Status().Fingerprint,
				app.Status().RejectedKey, opened.Load())
		}
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() { mustToken(t, app, site()) })
			group.Go(func() {
				if _, err := app.Info(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if app.Status().Fingerprint != older || app.Status().RejectedKey != newest ||
			opened.Load() != 1 || w.GitHub.Mints() != 1 {
			t.Errorf("%s in use, %s refused, opened %d times, %d mints", app.Status().Fingerprint,
				app.Status().RejectedKey, opened.Load(), w.GitHub.Mints())
		}
		if lines := log.lines("GitHub does not take the newest key"); len(lines) == 0 ||
			!strings.Contains(lines[0], newest) || !strings.Contains(lines[0], older) {
			t.Errorf("the log: %s", log.String())
		}
		testkit.Must(app.FindInstallation(t.Context(), "acme"))(t)
		listed := 0
		for _, err := range app.Installations(t.Context()) {
			testkit.OK(t, err)
			listed++
		}
		if token, err := app.TokenSource(site()).Token(t.Context()); err != nil || listed != 1 {
			t.Errorf("%v, %v, %d installations", token, err, listed)
		}

		// GitHub gets to know the newest key, which is tried again after a minute.
		w.Registration.AddKey(&testkit.NthKey(t, 1).PublicKey)
		time.Sleep(2 * time.Minute)
		mustToken(t, app, site())
		if app.Status().Fingerprint != newest || app.Status().RejectedKey != "" || w.GitHub.Mints() != 2 {
			t.Errorf("%s in use, %q refused, %d mints", app.Status().Fingerprint, app.Status().RejectedKey, w.GitHub.Mints())
		}
	})
}

// A key before that the configuration names stays, however well the newest has served: GitHub
// may lose that one again. Only Rotate lets go of the one before.
func TestPreviousKeyOfTheConfigurationIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var opened atomic.Int32
		app := w.Open(t, withTwoKeys(t, &opened))
		w.Registration.AddKey(&testkit.NthKey(t, 1).PublicKey)
		mustToken(t, app, site())
		testkit.Equal(t, opened.Load(), 0, "times that the key before was opened, while the newest serves")
		w.Registration.RemoveKey(&testkit.NthKey(t, 1).PublicKey)
		testkit.Must(app.Info(t.Context()))(t)
		testkit.Equal(t, opened.Load(), 1, "times that the key before was opened")
	})
}

func TestRefusalOfTheNewestKeyIsSharedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var opened atomic.Int32
		store := newMemory()
		shared := func(c *ghapp.Config) { c.Store = store }
		mustToken(t, w.Open(t, withTwoKeys(t, &opened), shared), site())
		w.GitHub.ResetRequests()
		mustToken(t, w.Open(t, withTwoKeys(t, &opened), shared), site())
		testkit.Equal(t, len(w.calls()), 0, "another process asked")
		time.Sleep(2 * time.Minute)
		mustToken(t, w.Open(t, withTwoKeys(t, &opened), shared), site())
		if calls := w.calls(); len(calls) != 1 || w.GitHub.Mints() != 1 {
			t.Errorf("after two minutes another process asked %v", calls)
		}
	})
}

func TestTokensStandUnderTheKeyTheyCameWith(t *testing.T) {
	w := newWorld(t)
	var opened atomic.Int32
	store := newMemory()
	shared := func(c *ghapp.Config) { c.Store = store }
	token := mustToken(t, w.Open(t, withTwoKeys(t, &opened), shared), site())
	if again := mustToken(t, w.Open(t, shared), site()); again.Secret.Reveal() != token.Secret.Reveal() {
		t.Error("an App with the key before alone has not got its token")
	}
	w.Registration.AddKey(&testkit.NthKey(t, 1).PublicKey)
	newest := w.Open(t, shared, func(c *ghapp.Config) { c.Signer = signer.FromCryptoSigner(testkit.NthKey(t, 1)) })
	if again := mustToken(t, newest, site()); again.Secret.Reveal() == token.Secret.Reveal() {
		t.Error("an App with the newest key alone has got a token of the key before")
	}
}

func TestBothKeysRefused(t *testing.T) {
	w := newWorld(t)
	var opened atomic.Int32
	app := w.Open(t, withTwoKeys(t, &opened))
	w.Registration.RemoveKeys()
	_, err := app.Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrKeyMismatch)
	testkit.Equal(t, app.Status().RejectedKey, "", "the newest key is said to be refused in favour of another")
}

func TestPreviousKeyThatCannotBeOpened(t *testing.T) {
	w := newWorld(t)
	var log logBuffer
	app := w.Open(t, func(c *ghapp.Config) {
		c.Signer, c.Log = signer.FromCryptoSigner(testkit.NthKey(t, 1)), logTo(&log)
		c.FallbackSigner = func(context.Context) (ghapp.Signer, error) { return nil, errors.New("it is gone") }
	})
	_, err := app.Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrKeyMismatch)
	if len(log.lines("it is gone")) == 0 {
		t.Errorf("the log: %s", log.String())
	}
}

func TestOtherRefusalsLeaveThePreviousKeyAlone(t *testing.T) {
	w := newWorld(t)
	var opened atomic.Int32
	app := w.Open(t, func(c *ghapp.Config) {
		c.FallbackSigner = func(context.Context) (ghapp.Signer, error) {
			opened.Add(1)
			return c.Signer, nil
		}
	})
	w.Installation.Suspend()
	_, err := app.Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrSuspended)
	testkit.Equal(t, opened.Load(), 0, "the previous key was opened")
}

func TestDropAndRevokeReachTokensOfThePreviousKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var opened atomic.Int32
		store := newMemory()
		shared := func(c *ghapp.Config) { c.Store = store }
		token := mustToken(t, w.Open(t, withTwoKeys(t, &opened), shared), site())
		time.Sleep(30 * time.Second) // it is not young any more
		testkit.OK(t, w.Open(t, withTwoKeys(t, &opened), shared).Invalidate(t.Context(), site(), token.Secret))
		app := w.Open(t, withTwoKeys(t, &opened), shared)
		second := mustToken(t, app, site())
		if second.Secret.Reveal() == token.Secret.Reveal() {
			t.Error("a token that was refused is handed out")
		}
		testkit.OK(t, app.Revoke(t.Context(), second))
		if third := mustToken(t, app, site()); third.Secret.Reveal() == second.Secret.Reveal() {
			t.Error("a token that was revoked is handed out")
		}
	})
}

// alias is a Signer whose key becomes another one, which it finds out when it signs.
type alias struct {
	mu         sync.Mutex
	told, real *rsa.PrivateKey
	failing    error
	signed     int
}

func (a *alias) Public() crypto.PublicKey {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &a.told.PublicKey
}

func (a *alias) Sign(_ context.Context, message []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing != nil {
		return nil, a.failing
	}
	if a.told != a.real {
		a.told = a.real
		return nil, errors.New("it is another key by now")
	}
	a.signed++
	digest := sha256.Sum256(message)
	return rsa.SignPKCS1v15(nil, a.real, crypto.SHA256, digest[:])
}

// A Signer that finds out that its key is another one is asked once more, and what it
// signed for does not stand under the key that it had.
func TestSignerWhoseKeyBecomesAnother(t *testing.T) {
	w := newWorld(t)
	w.Registration.AddKey(&testkit.NthKey(t, 1).PublicKey)
	store := newMemory()
	// Where the App is installed is known, so that nothing is signed before the mint.
	mustToken(t, w.Open(t, func(c *ghapp.Config) { c.Store = store }),
		ghapp.TokenRequest{Repositories: []string{"acme/docs"}})
	s := &alias{told: testkit.Key(t), real: testkit.NthKey(t, 1)}
	app := w.Open(t, func(c *ghapp.Config) { c.Signer, c.Store = s, store })
	token := mustToken(t, app, site())
	if got := fingerprintOf(t, w, testkit.NthKey(t, 1)); app.Status().Fingerprint != got {
		t.Errorf("fingerprint %s, want %s", app.Status().Fingerprint, got)
	}
	before := w.Open(t, func(c *ghapp.Config) { c.Store = store }) // with testKey
	if again := mustToken(t, before, site()); again.Secret.Reveal() == token.Secret.Reveal() {
		t.Error("a token of the new key stands under the old one")
	}
}

// A token near its end is handed out by another process while nothing can be signed.
func TestAgingTokenServesOnWhileTheSignerIsDown(t *testing.T) {
	for name, test := range map[string]struct {
		failing error
		fault   *githubtest.Fault
	}{
		"signer":                  {failing: errors.New("the key service is down")},
		"GitHub":                  {fault: &githubtest.Fault{Match: githubtest.MintPattern, Status: 503}},
		"nobody":                  {},
		"not down, but a refusal": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				store := newMemory()
				var log logBuffer
				s := &alias{told: testkit.Key(t), real: testkit.Key(t)}
				shared := func(c *ghapp.Config) { c.Signer, c.Store, c.Log, c.MaxWait = s, store, logTo(&log), -1 }
				token := mustToken(t, w.Open(t, shared), site())
				time.Sleep(57 * time.Minute)
				s.failing = test.failing
				if strings.Contains(name, "refusal") {
					w.Installation.Suspend()
				}
				if test.fault != nil {
					w.fault(t, *test.fault)
				}
				again, err := w.Open(t, shared).Token(t.Context(), site())
				if strings.Contains(name, "refusal") {
					wantKind(t, err, ghapp.ErrSuspended)
					return
				}
				testkit.OK(t, err)
				same := again.Secret.Reveal() == token.Secret.Reveal()
				if down := test.failing != nil || test.fault != nil; same != down {
					t.Errorf("the old token is handed out: %v", same)
				} else if told := len(log.lines("it serves on while it lives")) > 0; told != down {
					t.Errorf("it is told: %v\n%s", told, log.String())
				}
				time.Sleep(4 * time.Minute)
				if _, err := w.Open(t, shared).Token(t.Context(), site()); (err == nil) != (name == "nobody") {
					t.Errorf("after its end: %v", err)
				}
			})
		})
	}
}

func TestRotatedKeySignsOnceGitHubTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		older, newest := fingerprintOf(t, w, testkit.Key(t)), fingerprintOf(t, w, testkit.NthKey(t, 1))
		first := mustToken(t, app, site())

		err := app.Rotate(t.Context(), signer.FromCryptoSigner(testkit.NthKey(t, 1)))
		if !errors.Is(err, ghapp.ErrKeyMismatch) || app.Status().Fingerprint != older {
			t.Errorf("a key that GitHub does not know: error %v, %s in use, want %s", err, app.Status().Fingerprint, older)
		}
		w.Registration.AddKey(&testkit.NthKey(t, 1).PublicKey)
		testkit.OK(t, app.Rotate(t.Context(), signer.FromCryptoSigner(testkit.NthKey(t, 1))))
		testkit.Equal(t, app.Status().Fingerprint, newest, "in use")

		// Some of GitHub's servers do not know the key yet: the one before is used, whose
		// token is there.
		w.Registration.RemoveKey(&testkit.NthKey(t, 1).PublicKey)
		if token := mustToken(t, app, site()); token.Secret.Reveal() != first.Secret.Reveal() ||
			app.Status().RejectedKey != newest {
			t.Errorf("another token, %q is said to be rejected; want that of the key before", app.Status().RejectedKey)
		}
		w.Registration.AddKey(&testkit.NthKey(t, 1).PublicKey)
		time.Sleep(2 * time.Minute)
		if token := mustToken(t, app, site()); token.Secret.Reveal() == first.Secret.Reveal() ||
			app.Status().RejectedKey != "" {
			t.Errorf("the token of the key before, %q is said to be rejected", app.Status().RejectedKey)
		}

		// The new key has served: the one before is not asked for any more.
		w.Registration.RemoveKey(&testkit.NthKey(t, 1).PublicKey)
		testkit.ErrorIs(t, testkit.ErrorOf(app.Info(t.Context())), ghapp.ErrKeyMismatch)
	})
}
