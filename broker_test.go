package ghapp_test

import (
	"context"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// held is a broker in this process, which has the key.
type held struct {
	app     *ghapp.App
	subject string
	asked   []ghapp.TokenRequest
	change  func(*ghapp.Token) // of what it gives; may be nil
	err     error
}

func (h *held) Subject() string { return h.subject }

func (h *held) String() string { return "the broker of this test" }

func (h *held) Token(ctx context.Context, r ghapp.TokenRequest) (*ghapp.Token, error) {
	h.asked = append(h.asked, r)
	if h.err != nil {
		return nil, h.err
	}
	t, err := h.app.Token(ctx, r)
	if err != nil {
		return nil, err
	}
	given := &ghapp.Token{Secret: t.Secret, ExpiresAt: t.ExpiresAt, MintedAt: t.MintedAt,
		Permissions: t.Permissions, Repositories: t.Repositories, Installation: t.Installation}
	if h.change != nil {
		h.change(given)
	}
	return given, nil
}

// brokeredApp is an App without a key, at a broker that has it.
func brokeredApp(t *testing.T, w *world, edit ...func(*ghapp.Config)) (*ghapp.App, *held) {
	t.Helper()
	h := &held{app: w.Open(t), subject: "a machine"}
	c := ghapp.Config{Client: ghapp.Client{Transport: w.GitHub.RoundTripper()}, Broker: h}
	for _, f := range edit {
		f(&c)
	}
	return testkit.Must(ghapp.New(c))(t), h
}

func TestTokensOfABrokerAreSharedAsThoseOfAKey(t *testing.T) {
	t.Parallel()
	w, store := newWorld(t), newMemory()
	shared := func(c *ghapp.Config) { c.Store = store }
	first, broker := brokeredApp(t, w, shared)
	token := mustToken(t, first, ghapp.TokenRequest{Repositories: []string{"Acme/Site"}})
	testkit.Diff(t, broker.asked, []ghapp.TokenRequest{{Repositories: []string{"acme/site"},
		Permissions: ghapp.Permissions{"contents": "read"}, Installation: "acme"}})
	mustToken(t, first, site())
	second, again := brokeredApp(t, w, shared)
	testkit.Equal(t, mustToken(t, second, site()).Secret.Reveal(), token.Secret.Reveal(), "token of another process")
	testkit.Equal(t, len(broker.asked)+len(again.asked), 1, "questions to the broker")

	other, asked := brokeredApp(t, w, shared)
	asked.subject = "another machine"
	mustToken(t, other, site())
	testkit.Equal(t, len(asked.asked), 1, "questions for another subject")
	mustToken(t, other, ghapp.TokenRequest{Repositories: []string{"acme/site"},
		Permissions: ghapp.Permissions{"metadata": "read"}})
	testkit.Equal(t, len(asked.asked), 2, "questions after other permissions")
}

func TestRefusedTokenOfABrokerIsDropped(t *testing.T) {
	t.Parallel()
	app, broker := brokeredApp(t, newWorld(t), func(c *ghapp.Config) { c.Store = newMemory() })
	broker.change = func(t *ghapp.Token) { t.MintedAt = t.MintedAt.Add(-time.Minute) } // it has spread
	token := mustToken(t, app, site())
	testkit.OK(t, app.Invalidate(t.Context(), site(), token.Secret))
	mustToken(t, app, site())
	testkit.Equal(t, len(broker.asked), 2, "questions to the broker")
}

// Whatever a broker gives: what reaches further than was asked is not used, and revoked.
func TestTokenOfABrokerIsComparedWithWhatWasAsked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		request ghapp.TokenRequest
		change  func(*ghapp.Token)
		kind    ghapp.Kind
		revoked bool
	}{
		"another": {site(), func(t *ghapp.Token) { t.Repositories = []string{"acme/docs"} }, ghapp.ErrTooBroad, true},
		"one more": {site(), func(t *ghapp.Token) { t.Repositories = []string{"acme/site", "acme/docs"} },
			ghapp.ErrTooBroad, true},
		"all":              {site(), func(t *ghapp.Token) { t.Repositories = nil }, ghapp.ErrTooBroad, true},
		"more permissions": {site(), func(t *ghapp.Token) { t.Permissions["issues"] = "read" }, ghapp.ErrTooBroad, true},
		"to write":         {site(), func(t *ghapp.Token) { t.Permissions["contents"] = "write" }, ghapp.ErrTooBroad, true},
		"unsaid":           {site(), func(t *ghapp.Token) { t.Permissions = nil }, ghapp.ErrTooBroad, true},
		"for longer": {site(), func(t *ghapp.Token) { t.ExpiresAt = t.ExpiresAt.Add(time.Hour) },
			ghapp.ErrTooBroad, true},
		"fewer": {ghapp.TokenRequest{Repositories: []string{"acme/site", "acme/docs"}},
			func(t *ghapp.Token) { t.Repositories = t.Repositories[:1] }, ghapp.ErrRepositoryNotSelected, false},
		"some of all": {ghapp.TokenRequest{AllRepositories: true, Installation: "acme"},
			func(t *ghapp.Token) { t.Repositories = []string{"acme/site"} }, ghapp.ErrRepositoryNotSelected, false},
		"no token": {site(), func(t *ghapp.Token) { t.Secret = secret.New("a\nb") }, ghapp.ErrBrokerUnreachable, false},
		"run out": {site(), func(t *ghapp.Token) { t.ExpiresAt = time.Now().Add(-time.Minute) },
			ghapp.ErrBrokerUnreachable, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			app, broker := brokeredApp(t, w)
			broker.change = test.change
			_, err := app.Token(t.Context(), test.request)
			wantKind(t, err, test.kind)
			testkit.Equal(t, w.count("/installation/token") == 1, test.revoked, "revoked")
			given := testkit.Must(broker.Token(t.Context(), test.request))(t)
			testkit.Equal(t, ghapp.KindOf(ghapp.Client{}.CheckToken(test.request, given)), test.kind, "kind for who asks alone")
		})
	}
}

func TestBrokerThatIsAwayLeavesTheTokenThatLives(t *testing.T) {
	t.Parallel()
	w, store := newWorld(t), newMemory()
	shared := func(c *ghapp.Config) { c.Store = store }
	app, broker := brokeredApp(t, w, shared)
	broker.change = func(t *ghapp.Token) {
		t.MintedAt = t.MintedAt.Add(-57 * time.Minute)
		t.ExpiresAt = t.ExpiresAt.Add(-57 * time.Minute)
	}
	token := mustToken(t, app, site())
	second, away := brokeredApp(t, w, shared)
	away.err = &ghapp.Error{Kind: ghapp.ErrBrokerUnreachable}
	testkit.Equal(t, mustToken(t, second, site()).Secret.Reveal(), token.Secret.Reveal(), "token while the broker is away")
	away.err = &ghapp.Error{Kind: ghapp.ErrBrokerRefused}
	third, _ := brokeredApp(t, w, shared, func(c *ghapp.Config) { c.Broker = away })
	_, err := third.Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrBrokerRefused)
}

func TestWithABrokerNothingIsDoneAsTheAppItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, broker := brokeredApp(t, w)
	before := len(w.calls())
	var listed error
	for _, err := range app.Installations(t.Context()) {
		listed = err
	}
	for what, err := range map[string]error{
		"JWT":              testkit.ErrorOf(app.JWT(t.Context())),
		"Info":             testkit.ErrorOf(app.Info(t.Context())),
		"FindInstallation": testkit.ErrorOf(app.FindInstallation(t.Context(), "acme")),
		"Installations":    listed,
		"Rotate":           app.Rotate(t.Context(), nil),
	} {
		e := wantKind(t, err, ghapp.ErrNoKey)
		testkit.Contains(t, what+e.Error(), "not on this machine", broker.String())
	}
	for _, r := range []ghapp.TokenRequest{
		{Repositories: []string{"acme/site"}, AllPermissions: true},
		{AllRepositories: true, Installation: "123"},
		{Repositories: []string{"acme/site"}, RepositoryIDs: []int64{7}},
	} {
		_, err := app.Token(t.Context(), r)
		wantKind(t, err, ghapp.ErrInvalid)
	}
	testkit.Equal(t, len(w.calls()), before, "requests to GitHub")
	testkit.Equal(t, app.Status().Broker, broker.String())
	testkit.Equal(t, app.Status().Issuer, "")
}

func TestBrokerAndKeyTogetherAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.Config(t)
	c.Broker = &held{}
	wantKind(t, testkit.ErrorOf(ghapp.New(c)), ghapp.ErrInvalid)
}

// What a token reaches is listed with the token, and needs no key.
func TestTokenOfABrokerListsItsRepositories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, _ := brokeredApp(t, w)
	token := mustToken(t, app, ghapp.TokenRequest{AllRepositories: true, Installation: "acme"})
	var names []string
	for r, err := range app.Repositories(t.Context(), token) {
		testkit.OK(t, err)
		names = append(names, r.FullName)
	}
	testkit.Diff(t, names, []string{"acme/site", "acme/docs"})
	testkit.OK(t, app.Revoke(t.Context(), token))
}
