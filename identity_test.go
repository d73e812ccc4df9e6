package ghapp_test

import (
	"strconv"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The number in the address is that of the App's user: with the App's own ID, which is
// the usual mistake, GitHub shows a commit as nobody's.
func TestIdentityHasTheIDOfTheBot(t *testing.T) {
	w := newWorld(t)
	app := open(t, w)
	token := testkit.Must(app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}}))(t)
	for _, with := range []*ghapp.Token{nil, token} {
		got := testkit.Must(app.Identity(t.Context(), with))(t)
		want := ghapp.Identity{
			Name: w.Registration.Slug + "[bot]", UserID: w.Registration.BotID,
			Email: strconv.FormatInt(w.Registration.BotID, 10) + "+" + w.Registration.Slug + "[bot]@users.noreply.github.com",
		}
		if *got != want || want.UserID == w.Registration.ID {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestIdentityThatIsAnotherUsersIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{
		`{"id":7,"login":"deployer","type":"User"}`, `{"id":7,"login":"other[bot]","type":"Bot"}`, `{}`,
	} {
		testkit.OK(t, w.GitHub.Fault(githubtest.Fault{Match: "GET /users/*", Status: 200, Body: body}))
		identity, err := open(t, w).Identity(t.Context(), nil)
		testkit.ErrorIs(t, err, ghapp.ErrUnreachable, "%s: %+v", body, identity)
		w.GitHub.ClearFaults()
	}
}

func open(t *testing.T, w *world) *ghapp.App {
	t.Helper()
	app := testkit.Must(ghapp.New(w.Config(t)))(t)
	return app
}
