package ghapp_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestRateLimitIsTheInstallations(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	token := testkit.Must(app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}}))(t)
	before, err := app.RateLimit(t.Context(), token)
	if err != nil || before.Limit != 5000 || before.Remaining != 5000 || before.Unlimited {
		t.Fatalf("%+v, %v", before, err)
	}
	if left := time.Until(before.Reset); left < 59*time.Minute || left > time.Hour+time.Second {
		t.Errorf("it is refilled in %s", left)
	}
	for _, err := range app.Repositories(t.Context(), token) {
		testkit.OK(t, err)
	}
	after := testkit.Must(app.RateLimit(t.Context(), token))(t)
	testkit.Equal(t, after.Remaining, 4999)
}

func TestResetOfARateLimitIsWithinTheHour(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	token := mustToken(t, app, site())
	for _, reset := range []string{"9223372036854775807", "-9223372036854775808", "4102444800", "0"} {
		w.GitHub.ClearFaults()
		w.fault(t, githubtest.Fault{Match: "GET /rate_limit",
			Body: `{"resources":{"core":{"limit":-5,"remaining":-1,"reset":` + reset + `}}}`})
		limit := testkit.Must(app.RateLimit(t.Context(), token))(t)
		if left := time.Until(limit.Reset); left < 0 || left > time.Hour+time.Second ||
			limit.Limit != 0 || limit.Remaining != 0 {
			t.Errorf("reset %s: %d of %d, refilled in %s", reset, limit.Remaining, limit.Limit, left)
		}
	}
}

func TestServerWithoutRateLimit(t *testing.T) {
	w := newWorld(t)
	w.GitHub.SetRateLimit(-1)
	app := w.Open(t)
	token := testkit.Must(app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}}))(t)
	limit, err := app.RateLimit(t.Context(), token)
	if err != nil || !limit.Unlimited {
		t.Errorf("%+v, %v", limit, err)
	}
}

func TestRateLimitOfARevokedToken(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t, func(c *ghapp.Config) { c.MaxWait = -1 })
	_, err := app.RateLimit(t.Context(), &ghapp.Token{Secret: secret.New("ghs_nobodys"),
		MintedAt: time.Now().Add(-time.Hour)})
	testkit.ErrorIs(t, err, ghapp.ErrTokenRefused)
	testkit.Equal(t, testkit.ErrorAs[*ghapp.Error](t, err).Status, http.StatusUnauthorized)
}
