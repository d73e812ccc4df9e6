package ghapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// nobody is a Signer that cannot sign.
type nobody struct{}

func (nobody) Sign(context.Context, []byte) ([]byte, error) { return nil, errors.New("nobody signs") }

// openApp is an App that asks nothing.
func openApp(t testing.TB, c Config) *App {
	t.Helper()
	if c.Issuer == "" {
		c.Issuer = "1"
	}
	c.Signer = nobody{}
	a := testkit.Must(New(c))(t)
	return a
}

// keyOf is the cache key of what a request wants, at an installation.
func keyOf(t testing.TB, a *App, r TokenRequest, p installationRef) string {
	t.Helper()
	spec := testkit.Must(newTokenSpec(r, a.host))(t)
	return spec.key(a.keys.Load().newest, p)
}

func TestCacheKeyHoldsEverythingThatDecides(t *testing.T) {
	base := TokenRequest{Repositories: []string{"acme/site"}}
	here := installationRef{Installation: 1}
	app := openApp(t, Config{})
	keyed := openApp(t, Config{})
	keyed.keys.Load().newest.fingerprint = func() string { return "SHA256:x" }
	keys := map[string]string{}
	add := func(name, key string) {
		if other, taken := keys[key]; taken {
			t.Errorf("%s and %s share a key", name, other)
		}
		keys[key] = name
	}
	add("base", keyOf(t, app, base, here))
	add("another host", keyOf(t, openApp(t, Config{Client: Client{Host: "git.acme.example"}}), base, here))
	add("another API", keyOf(t, openApp(t, Config{Client: Client{APIURL: "https://gateway.example"}}), base, here))
	add("another App", keyOf(t, openApp(t, Config{Issuer: "2"}), base, here))
	add("another key", keyOf(t, keyed, base, here))
	add("another installation", keyOf(t, app, base, installationRef{Installation: 2}))
	add("a repository that moved", keyOf(t, app, base, installationRef{Installation: 1, Repository: 7}))
	for name, r := range map[string]TokenRequest{
		"another repository": {Repositories: []string{"acme/docs"}},
		"another owner":      {Repositories: []string{"globex/site"}},
		"two repositories":   {Repositories: []string{"acme/site", "acme/docs"}},
		"all repositories":   {AllRepositories: true, Installation: "acme"},
		"write":              {Repositories: []string{"acme/site"}, Permissions: Permissions{"contents": "write"}},
		"another permission": {Repositories: []string{"acme/site"}, Permissions: Permissions{"issues": "read"}},
		"one permission more": {Repositories: []string{"acme/site"},
			Permissions: Permissions{"contents": "read", "issues": "read"}},
		"all permissions":       {Repositories: []string{"acme/site"}, AllPermissions: true},
		"all of all":            {AllRepositories: true, Installation: "acme", AllPermissions: true},
		"all, by number":        {AllRepositories: true, Installation: "1"},
		"all, issues: write":    {AllRepositories: true, Installation: "acme", Permissions: Permissions{"issues": "write"}},
		"all, issues: admin":    {AllRepositories: true, Installation: "acme", Permissions: Permissions{"issues": "admin"}},
		"repository contents":   {Repositories: []string{"acme/contents"}, AllPermissions: true},
		"permission contents":   {AllRepositories: true, Installation: "acme", Permissions: Permissions{"contents": "write"}},
		"repository 7":          {Repositories: []string{"acme/7"}},
		"names that run over":   {Repositories: []string{"acme/site-docs"}},
		"names that run over 2": {Repositories: []string{"acme/site", "acme/-docs"}},
	} {
		add(name, keyOf(t, app, r, here))
	}
	// A lookup is not a token.
	add("lookup", app.installations.key(target{owner: "acme", name: "site"}))
	add("lookup of the owner", app.installations.key(target{owner: "acme"}))
}

func TestEqualWishesShareAKey(t *testing.T) {
	app := openApp(t, Config{})
	here := installationRef{Installation: 1}
	base := keyOf(t, app, TokenRequest{Repositories: []string{"acme/docs", "acme/site"},
		Permissions: Permissions{"contents": "read", "issues": "read"}}, here)
	for name, r := range map[string]TokenRequest{
		"another order":        {Repositories: []string{"acme/site", "acme/docs"}},
		"another case":         {Repositories: []string{"Acme/Docs", "ACME/SITE"}},
		"twice":                {Repositories: []string{"acme/docs", "acme/site", "acme/docs"}},
		"URLs":                 {Repositories: []string{"https://github.com/acme/docs.git", "git@github.com:acme/site.git"}},
		"bare names":           {Repositories: []string{"docs", "site"}, Installation: "acme"},
		"with the owner":       {Repositories: []string{"acme/docs", "site"}, Installation: "Acme"},
		"another need of life": {Repositories: []string{"acme/docs", "acme/site"}, MinLife: 30 * time.Minute},
	} {
		r.Permissions = Permissions{"issues": "read", "contents": "read"}
		testkit.Equal(t, keyOf(t, app, r, here), base, "%s: another key", name)
	}
	if keyOf(t, app, TokenRequest{Repositories: []string{"acme/site"}}, here) !=
		keyOf(t, app, TokenRequest{Repositories: []string{"acme/site"}, Permissions: Permissions{"contents": "read"}}, here) {
		t.Error("the default, and the default spelled out, have different keys")
	}
}

// TestDifferentWishesNeverShareAKey draws wishes from few words, so that equal and
// nearly equal ones are frequent, and compares their keys with their meaning.
func TestDifferentWishesNeverShareAKey(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{"contents", "issues", "a", "ab", "b", "1", "read", "write", "a-b", "all", "only"}
	levels := []string{"read", "write", "admin"}
	app := openApp(t, Config{})
	meanings := map[string]string{}
	for range 8_000 {
		var r TokenRequest
		var repositories []string
		if random.IntN(5) == 0 {
			r.AllRepositories, r.Installation = true, "acme"
		}
		for !r.AllRepositories && len(repositories) < 1+random.IntN(3) {
			repositories = append(repositories, words[random.IntN(len(words))])
		}
		permissions := map[string]string{}
		if random.IntN(5) == 0 {
			r.AllPermissions = true
		} else {
			for range 1 + random.IntN(3) {
				permissions[words[random.IntN(3)]] = levels[random.IntN(3)]
			}
			r.Permissions = permissions
		}
		for _, name := range repositories {
			if random.IntN(2) == 0 {
				name = strings.ToUpper(name)
			}
			r.Repositories = append(r.Repositories, "acme/"+name)
		}
		slices.Sort(repositories)
		installation := int64(1 + random.IntN(2))
		// fmt prints maps sorted by key: this is the meaning, written down another way.
		meaning := fmt.Sprintf("%d %t %q %t %q", installation, r.AllRepositories, slices.Compact(repositories),
			r.AllPermissions, permissions)
		key := keyOf(t, app, r, installationRef{Installation: installation})
		if other, seen := meanings[key]; seen && other != meaning {
			t.Fatalf("one key for %s and %s", meaning, other)
		}
		meanings[key] = meaning
	}
	distinct := map[string]bool{}
	for _, meaning := range meanings {
		if distinct[meaning] {
			t.Fatalf("two keys for %s", meaning)
		}
		distinct[meaning] = true
	}
	if len(meanings) < 1000 {
		t.Fatalf("%d different wishes were drawn: too few to prove anything", len(meanings))
	}
}

func TestCacheKeyPartsDoNotRunTogether(t *testing.T) {
	for _, pair := range [][2][]string{
		{{"ab", "c"}, {"a", "bc"}}, {{"a", ""}, {"", "a"}}, {{"a"}, {"a", ""}}, {{}, {""}},
		{{"a\x00\x00\x00\x00\x00\x00\x00\x01b"}, {"a", "b"}},
	} {
		if cacheKey(pair[0]...) == cacheKey(pair[1]...) {
			t.Errorf("%q and %q share a key", pair[0], pair[1])
		}
	}
	if key := cacheKey("a"); len(key) != 64 || strings.Trim(key, "0123456789abcdef") != "" {
		t.Errorf("key %q is no file name", key)
	}
}

// aged is a token of an hour that was minted some time ago, here.
func aged(age time.Duration) *Token {
	minted := time.Now().Add(-age)
	return &Token{Secret: secret.New("x"), MintedAt: minted, ExpiresAt: minted.Add(time.Hour), refused: new(atomic.Bool)}
}

func TestAgesOfAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			age, minLife         time.Duration
			serves, aging, young bool
		}{
			{0, 0, true, false, true},
			{10*time.Second - 1, 0, true, false, true},
			{10 * time.Second, 0, true, false, false},
			{55*time.Minute - 1, 0, true, false, false},
			{55 * time.Minute, 0, true, true, false},
			{59*time.Minute - 1, 0, true, true, false},
			{59 * time.Minute, 0, false, true, false},
			{time.Hour, 0, false, true, false},
			{30*time.Minute - 1, 30 * time.Minute, true, false, false},
			{30 * time.Minute, 30 * time.Minute, false, false, false},
			{-10 * time.Second, 0, true, false, false}, // minted in the future: a wrong clock, not a new token
		} {
			token := aged(test.age)
			if serves, aging, young := token.validFor(test.minLife), token.needsRefresh(),
				token.Propagating(); serves != test.serves || aging != test.aging || young != test.young {
				t.Errorf("age %s, needed for %s: serves %t, aging %t, young %t", test.age, test.minLife, serves, aging, young)
			}
		}
		token := aged(0)
		token.refused.Store(true)
		if token.validFor(0) || (*Token)(nil).validFor(0) {
			t.Error("a refused token, or none, serves")
		}
	})
}

// wallMoved is t with its wall clock reading moved and its monotonic reading as it
// was: what a time looks like after the machine's clock was set, or after it slept.
// The clock cannot be set in a test, and package time does not let the two part.
func wallMoved(t testing.TB, at time.Time, by time.Duration) time.Time {
	t.Helper()
	moved := at
	// time.Time's first word: one bit "has a monotonic reading", 33 of seconds, 30 of nanoseconds.
	*(*uint64)(unsafe.Pointer(&moved)) += uint64(by/time.Second) << 30
	if moved.Sub(at) != 0 || moved.Round(0).Sub(at.Round(0)) != by {
		t.Fatal("package time keeps its readings in another way now")
	}
	return moved
}

func TestSettingTheWallClockBackDoesNotLengthenALife(t *testing.T) {
	// Minted half an hour ago, and since then the clock was set back by three hours,
	// so that on the wall the mint lies in the future.
	token := aged(30 * time.Minute)
	token.MintedAt = wallMoved(t, token.MintedAt, 3*time.Hour)
	token.ExpiresAt = token.ExpiresAt.Round(0).Add(3 * time.Hour)
	if wall := time.Until(token.ExpiresAt); wall < 3*time.Hour {
		t.Fatalf("%s left by the wall clock: this test proves nothing", wall)
	}
	if life := token.Life(); (life - 30*time.Minute).Abs() > time.Second {
		t.Errorf("life %s, want half an hour", life)
	}
}

func TestSleepOfTheMachineShortensALife(t *testing.T) {
	// Minted five minutes ago by the monotonic clock, which stood still while the
	// machine slept for two hours.
	token := aged(5 * time.Minute)
	token.MintedAt = wallMoved(t, token.MintedAt, -2*time.Hour)
	token.ExpiresAt = token.ExpiresAt.Round(0).Add(-2 * time.Hour)
	if life := token.Life(); life > -time.Hour || token.validFor(0) {
		t.Errorf("life %s, want it to have ended an hour ago", life)
	}
}

func TestStoredTokenComesBackWhole(t *testing.T) {
	a := aged(time.Minute)
	a.Permissions, a.Repositories, a.Installation, a.API, a.offset = Permissions{"contents": "read"},
		[]string{"acme/site"}, 5, "https://api.github.com", time.Hour
	text := testkit.Must(a.encode())(t)
	b := decodeToken(text)
	if b == nil || b.Secret.Reveal() != "x" || !b.ExpiresAt.Equal(a.ExpiresAt) ||
		!b.MintedAt.Equal(a.MintedAt) || b.offset != a.offset ||
		b.Installation != 5 || b.API != a.API || b.Permissions.String() != "contents:read" || len(b.Repositories) != 1 ||
		!b.validFor(0) != !a.validFor(0) {
		t.Errorf("%+v, want %+v", b, a)
	}
}

func FuzzDecodeToken(f *testing.F) {
	whole := testkit.Must(aged(time.Minute).encode())(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	for _, seed := range []string{"", "null", "{}", "[]", `{"token":""}`,
		`{"token":"x","minted_at":"9999-12-31T23:59:59Z","expires_at":"0001-01-01T00:00:00Z","clock_offset_ns":9223372036854775807}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		token := decodeToken(text)
		if token == nil {
			return
		}
		// Whatever stands there, it can be asked, and never serves longer than it says.
		token.Propagating()
		if token.validFor(0) && token.Life() <= 0 {
			t.Errorf("%q serves with a life of %s", text, token.Life())
		}
		if !json.Valid(text) || token.Secret.IsZero() {
			t.Errorf("%q was taken for a token", text)
		}
	})
}

func TestTokenThatIsNoneIsNotReadFromTheStore(t *testing.T) {
	for token, want := range map[string]bool{"ghs_1.a-b_C": true, "ghs_$(id)": false, "ghs_\n": false, "": false} {
		entry := &Token{Secret: secret.New(token), MintedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
		text := testkit.Must(entry.encode())(t)
		testkit.Equal(t, decodeToken(text) != nil, want, "%q is read", token)
	}
}
