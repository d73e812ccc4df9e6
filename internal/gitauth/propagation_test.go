package gitauth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// shared is a [ghapp.Store] of several processes, in the bubble of a test.
type shared struct {
	mu      sync.Mutex
	entries map[string][]byte
	turn    chan struct{}
}

func newShared() *shared { return &shared{entries: map[string][]byte{}, turn: make(chan struct{}, 1)} }

func (s *shared) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key], nil
}

func (s *shared) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	old, _ := s.Get(ctx, key)
	entry, err := fn(ctx, old)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key] = entry; entry == nil {
		delete(s.entries, key)
	}
	return nil
}

// process is a world's answerer as another process has it, with a store that they share.
func (w *world) process(t *testing.T, store ghapp.Store) *gitauth.Answerer {
	t.Helper()
	app := w.Open(t, func(c *ghapp.Config) { c.Store = store })
	return &gitauth.Answerer{
		Origin: w.answerer.Origin, Transport: w.answerer.Transport, Store: store,
		App: func(context.Context, string) (*ghapp.App, string, error) { return app, "", nil },
	}
}

func get(t *testing.T, a *gitauth.Answerer, path string) string {
	t.Helper()
	answer, err := a.Credential(t.Context(), credential.Get, ask(path))
	if err != nil {
		t.Error(err)
		return ""
	}
	return answer.Password.Reveal()
}

func TestNewTokenIsTriedOnceByOneProcessForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(n int) (int, string) {
			time.Sleep(100 * time.Millisecond)
			if n < 3 {
				return 404, "Repository not found"
			}
			return 200, ""
		})
		store := newShared()
		var running sync.WaitGroup
		for range 20 {
			running.Go(func() {
				a := w.process(t, store)
				for range 3 {
					get(t, a, "acme/site.git")
				}
			})
		}
		running.Wait()
		testkit.Equal(t, len(w.asked), 3, "the git service was asked")
		testkit.Equal(t, w.GitHub.Mints(), 1, "tokens were minted")
		// For another repository it is another token, and is tried too.
		get(t, w.process(t, store), "acme/web")
		get(t, w.process(t, store), "acme/web.git/info/lfs")
		testkit.Equal(t, len(w.asked), 4, "the git service was asked")
	})
}

func TestNewTokenIsTriedOnceWithoutAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		for range 3 {
			get(t, w.answerer, "acme/site")
		}
		testkit.Equal(t, len(w.asked), 1, "the git service was asked")
	})
}

func TestRefusalOfATokenThatWasTakenDropsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		store := newShared()
		a, other := w.process(t, store), w.process(t, store)
		first := get(t, a, "acme/site")
		get(t, other, "acme/site")
		erase := ask("acme/site")
		erase.Username, erase.Password = "x-access-token", secret.New(first)
		testkit.Must(a.Credential(t.Context(), credential.Erase, erase))(t)
		if second := get(t, a, "acme/site"); second == first {
			t.Error("it is handed out again")
		}
		testkit.Equal(t, len(w.asked), 2, "two tokens were tried")
	})
}

func TestTokenFromTheCacheThatIsDeadIsReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		lag   time.Duration // of the second token at the git service
		least time.Duration
		most  time.Duration
	}{
		"known at once": {0, time.Second, 2 * time.Second},
		"known late":    {3 * time.Second, 4 * time.Second, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w *world
				w = newWorld(t, func(int) (int, string) {
					tokens := w.GitHub.Tokens()
					if len(tokens) == 2 && time.Since(tokens[1].Created) >= test.lag {
						return 200, ""
					}
					return 401, "Invalid username or token."
				})
				store := newShared()
				app, _, _ := w.process(t, store).App(t.Context(), "acme")
				dead := testkit.Must(app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}}))(t)
				w.GitHub.RevokeTokens()
				time.Sleep(time.Second)
				start := time.Now()
				var running sync.WaitGroup
				for range 5 {
					running.Go(func() {
						if text := get(t, w.process(t, store), "acme/site"); text == dead.Secret.Reveal() {
							t.Error("a dead token is handed out")
						}
					})
				}
				running.Wait()
				if took := time.Since(start); took < test.least || took > test.most {
					t.Errorf("it took %s", took)
				}
				testkit.Equal(t, w.GitHub.Mints(), 2, "tokens were minted")
			})
		})
	}
}

// Of a token that was minted for the question it is known that it is late.
func TestTokenThatWasMintedJustNowIsNotTakenForDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(401))
		w.GitHub.SetPropagationDelay(time.Minute)
		_, err := w.answerer.Credential(t.Context(), credential.Get, ask("acme/site"))
		if !errors.Is(err, ghapp.ErrTokenUnknown) || w.GitHub.Mints() != 1 {
			t.Errorf("%d mints, %v", w.GitHub.Mints(), err)
		}
		time.Sleep(time.Minute)
	})
}
