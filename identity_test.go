package ghapp_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// The number in the address is that of the App's user: with the App's own ID, which is
// the usual mistake, GitHub shows a commit as nobody's.
func TestIdentityHasTheIDOfTheBot(t *testing.T) {
	w := newWorld(t)
	app := open(t, w)
	token, err := app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, with := range []*ghapp.Token{nil, token} {
		got, err := app.Identity(t.Context(), with)
		if err != nil {
			t.Fatal(err)
		}
		want := ghapp.Identity{
			Name: w.registration.Slug + "[bot]", UserID: w.registration.BotID,
			Email: strconv.FormatInt(w.registration.BotID, 10) + "+" + w.registration.Slug + "[bot]@users.noreply.github.com",
		}
		if *got != want || want.UserID == w.registration.ID {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestIdentityThatIsAnotherUsersIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{
		`{"id":7,"login":"deployer","type":"User"}`, `{"id":7,"login":"other[bot]","type":"Bot"}`, `{}`,
	} {
		if err := w.gh.Fault(githubtest.Fault{Match: "GET /users/*", Status: 200, Body: body}); err != nil {
			t.Fatal(err)
		}
		identity, err := open(t, w).Identity(t.Context(), nil)
		if !errors.Is(err, ghapp.ErrUnreachable) {
			t.Errorf("%s: %+v, %v", body, identity, err)
		}
		w.gh.ClearFaults()
	}
}

func open(t *testing.T, w *world) *ghapp.App {
	t.Helper()
	app, err := ghapp.New(w.config())
	if err != nil {
		t.Fatal(err)
	}
	return app
}
