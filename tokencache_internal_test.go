package ghapp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// queryFor is a query of an App that cannot mint: its Signer fails.
func queryFor(t *testing.T, a *App, r TokenRequest) tokenQuery {
	t.Helper()
	spec := testkit.Must(newTokenSpec(r, a.host))(t)
	c := a.keys.Load().newest
	return newTokenQuery(spec, minting{c, spec, installationRef{Installation: 1}}, &c.inflight)
}

func TestCallTakesWhatTheOneBeforeItHasBrought(t *testing.T) {
	// A caller finds no token, the call of another brings one, and only then its own
	// begins.
	a := openApp(t, Config{})
	q := queryFor(t, a, TokenRequest{Repositories: []string{"acme/site"}})
	e := &cacheEntry{}
	if _, err := a.tokens.loadOrMint(t.Context(), e, q); err == nil {
		t.Fatal("minted without a signer: this test proves nothing")
	}
	landed := aged(0)
	e.token.Store(landed)
	testkit.Equal(t, testkit.Must(a.tokens.loadOrMint(t.Context(), e, q))(t), landed, "token")
}

// storeOf is a store in which the same stands under every key.
type storeOf []byte

func (s storeOf) Get(context.Context, string) ([]byte, error) { return s, nil }

func (s storeOf) Update(ctx context.Context, _ string, fn func(context.Context, []byte) ([]byte, error)) error {
	_, err := fn(ctx, s)
	return err
}

// A process that meets many repositories holds the tokens that live, and the entries of those who
// are asking just now.
func TestTokensThatHaveEndedLeaveTheMemory(t *testing.T) {
	a := openApp(t, Config{Store: storeOf(testkit.Must(aged(time.Minute).encode())(t))})
	for key, token := range map[string]*Token{"ended": aged(2 * time.Hour), "alive": aged(time.Minute), "asked for": nil} {
		e := &cacheEntry{}
		e.token.Store(token)
		a.tokens.memory.Store(key, e)
	}
	q := queryFor(t, a, TokenRequest{Repositories: []string{"acme/site"}})
	testkit.Must(a.tokens.loadOrMint(t.Context(), &cacheEntry{}, q))(t)
	for key, want := range map[string]bool{"ended": false, "alive": true, "asked for": true} {
		_, there := a.tokens.memory.Load(key)
		testkit.Equal(t, there, want, "%s is in memory", key)
	}
}

func TestEntryIsReadOnlyIfItIsWhatIsLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := openApp(t, Config{})
		q := queryFor(t, a, TokenRequest{Repositories: []string{"acme/site"}, MinLife: 10 * time.Minute})
		entry := func(age time.Duration) []byte {
			text := testkit.Must(aged(age).encode())(t)
			return text
		}
		refused := &cacheEntry{}
		refused.token.Store(aged(0))
		refused.token.Load().refused.Store(true)
		for _, test := range []struct {
			name  string
			entry []byte
			known *cacheEntry
			want  bool
		}{
			{"good", entry(time.Minute), &cacheEntry{}, true},
			{"none", nil, &cacheEntry{}, false},
			{"damaged", entry(time.Minute)[1:], &cacheEntry{}, false},
			{"too old for the life that is needed", entry(50 * time.Minute), &cacheEntry{}, false},
			{"minted in the future", entry(-time.Minute), &cacheEntry{}, false},
			{"refused here", entry(time.Minute), refused, false},
		} {
			got := a.tokens.decode(test.entry, test.known, q)
			testkit.Equal(t, (got != nil), test.want, "%s: token %v", test.name, got)
			if got != nil && got.key != q.key {
				t.Errorf("%s: the token stands under %q, want %q", test.name, got.key, q.key)
			}
		}
	})
}

func TestEndingTokenOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := openApp(t, Config{})
		q := queryFor(t, a, TokenRequest{Repositories: []string{"acme/site"}})
		old := testkit.Must(aged(56 * time.Minute).encode())(t)
		token, entry, err := a.tokens.replace(t.Context(), old, &cacheEntry{}, q)
		if err != nil || token == nil || string(entry) != string(old) {
			t.Errorf("token %v, error %v, want the ending one, since none can be minted", token, err)
		}
		if _, entry, err = a.tokens.replace(t.Context(), nil, &cacheEntry{}, q); !errors.Is(err, ErrKey) || entry != nil {
			t.Errorf("entry %q, error %v, want that of the Signer", entry, err)
		}
		for err, want := range map[error]bool{ErrUnreachable: true, ErrRateLimited: true, context.DeadlineExceeded: true,
			ErrSuspended: false, ErrKeyMismatch: false} {
			testkit.Equal(t, isOutage(err), want, "%v is an outage", err)
		}
	})
}
