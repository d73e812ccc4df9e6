package ghapp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestKindIsATargetOfErrorsIs(t *testing.T) {
	err := fmt.Errorf("deploy: %w", &ghapp.Error{Kind: ghapp.ErrSuspended, Op: "mint"})
	if !errors.Is(err, ghapp.ErrSuspended) || errors.Is(err, ghapp.ErrNotInstalled) ||
		ghapp.KindOf(err) != ghapp.ErrSuspended {
		t.Errorf("Kind %q", ghapp.KindOf(err))
	}
	testkit.Equal(t, ghapp.KindOf(io.EOF), "")
	testkit.Equal(t, ghapp.KindOf(nil), "")
}

func TestErrorSaysWhatFailedAndWhy(t *testing.T) {
	for want, e := range map[string]*ghapp.Error{
		`cannot mint a token: GitHub answered 422 "not granted" (request 9A1C)`: {Kind: ghapp.ErrPermission,
			Op: "mint a token", Status: 422, Message: "not granted", RequestID: "9A1C"},
		`cannot mint a token: GitHub answered 404: gone`: {Op: "mint a token",
			Status: 404, Err: errors.New("gone")},
		`cannot reach: cannot reach github.com: connection refused`: {Op: "reach",
			Err: errors.New("cannot reach github.com: connection refused")},
		`installation suspended`:               {Kind: ghapp.ErrSuspended},
		`cannot use this App: key cannot sign`: {Kind: ghapp.ErrKey, Op: "use this App"},
		`cannot list: GitHub answered 502`:     {Op: "list", Status: 502},
	} {
		testkit.Equal(t, e.Error(), want)
	}
}

func TestAnswerOfGitHubIsGivenItsKind(t *testing.T) {
	for _, test := range []struct {
		status  int
		message string
		want    ghapp.Kind
	}{
		{401, "A JSON web token could not be decoded", ghapp.ErrKeyMismatch},
		{401, "Integration must generate a public key", ghapp.ErrKeyMismatch},
		{401, "Missing 'issuer' claim ('iss') in assertion", ghapp.ErrAppUnknown},
		{401, "'Issuer' claim ('iss') must be an Integer", ghapp.ErrAppUnknown},
		{422, "'Issuer' claim ('iss') must be an Integer", ghapp.ErrAppUnknown},
		{404, "Integration not found", ghapp.ErrAppUnknown},
		{401, "Integration not found", ghapp.ErrAppUnknown},
		{401, "Bad credentials", ghapp.ErrTokenRefused},
		{403, "This installation has been suspended", ghapp.ErrSuspended},
		{403, "Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow " +
			"list enabled, and your IP address is not permitted to access this resource.", ghapp.ErrIPAllowList},
		{403, "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this " +
			"organization.", ghapp.ErrSAML},
		{403, "Resource not accessible by integration", ghapp.ErrPermission},
		{422, "The permissions requested are not granted to this installation.", ghapp.ErrPermission},
		{422, "There is at least one repository that does not exist or is not accessible to the parent installation.",
			ghapp.ErrRepositoryNotSelected},
		{403, "something new", ghapp.ErrRefused},
		{400, "Bad Request", ghapp.ErrRefused},
		{410, "Gone", ghapp.ErrRefused},
		{500, "Server Error", ghapp.ErrUnreachable},
		{501, "", ghapp.ErrUnreachable},
		// A text in an answer that failed otherwise means nothing.
		{502, "This installation has been suspended", ghapp.ErrUnreachable},
	} {
		t.Run(fmt.Sprint(test.status, " ", test.message), func(t *testing.T) {
			w := newWorld(t)
			body, err := json.Marshal(map[string]string{"message": test.message,
				"documentation_url": "https://docs.github.com/rest"})
			testkit.OK(t, err)
			w.fault(t, githubtest.Fault{Match: "GET /app", Status: test.status, Body: string(body)})
			_, err = w.Open(t, func(c *ghapp.Config) { c.MaxWait = -1 }).Info(t.Context())
			e := wantKind(t, err, test.want)
			if e.Status != test.status || e.Message != test.message || e.RequestID == "" ||
				e.DocumentationURL != "https://docs.github.com/rest" {
				t.Errorf("error %+v", e)
			}
			if text := err.Error(); !strings.Contains(text, fmt.Sprint(test.status)) || !strings.Contains(text, e.RequestID) ||
				!strings.Contains(text, "cannot read App "+w.Registration.ClientID) {
				t.Errorf("error %q", text)
			}
		})
	}
}

func TestLimitsArriveWithTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.Open(t)
		start := time.Now()
		w.fault(t, githubtest.SecondaryLimit(githubtest.MintPattern, 5*time.Minute))
		_, err := app.Token(t.Context(), site())
		e := wantKind(t, err, ghapp.ErrRateLimited)
		if detail[ghapp.RateLimitError](e).Until.Sub(start).Round(time.Second) != 5*time.Minute ||
			time.Since(start) != 0 || w.GitHub.Mints() != 0 {
			t.Errorf("until %s from now, after %s", detail[ghapp.RateLimitError](e).Until.Sub(start), time.Since(start))
		}
		// One that ends soon is waited for.
		w.GitHub.ClearFaults()
		soon := githubtest.SecondaryLimit(githubtest.MintPattern, 20*time.Second)
		soon.Times = 1
		w.fault(t, soon)
		mustToken(t, app, site())
		if took := time.Since(start); took < 20*time.Second || took > 22*time.Second {
			t.Errorf("waited %s, want 20 s and up to two more", took)
		}
		// The primary limit of GitHub's headers.
		w.GitHub.ClearFaults()
		reset := time.Now().Add(30 * time.Minute)
		w.fault(t, githubtest.Fault{Match: "GET /app", Status: 403,
			Body:   `{"message":"API rate limit exceeded for installation ID 1."}`,
			Header: http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(reset.Unix())}}})
		_, err = app.Info(t.Context())
		if e := wantKind(t, err, ghapp.ErrRateLimited); detail[ghapp.RateLimitError](e).Until.Unix() != reset.Unix() {
			t.Errorf("until %v, want %v", detail[ghapp.RateLimitError](e).Until, reset)
		}
	})
}

func TestForbiddenWithBudgetLeftIsNoRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Status: 403,
			Body: `{"message":"This installation has been suspended"}`,
			Header: http.Header{"X-Ratelimit-Remaining": {"4999"},
				"X-Ratelimit-Reset": {fmt.Sprint(time.Now().Add(10 * time.Second).Unix())}}})
		start := time.Now()
		_, err := w.Open(t).Token(t.Context(), site())
		wantKind(t, err, ghapp.ErrSuspended)
		if took := time.Since(start); took != 0 || w.count(mints) != 1 {
			t.Errorf("%d attempts in %s", w.count(mints), took)
		}
	})
}

func TestWhatIsNoAnswerOfGitHub(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for name, test := range map[string]struct {
		fault     githubtest.Fault
		transport http.RoundTripper
		want      ghapp.Kind
	}{
		"reset":              {fault: githubtest.Fault{Reset: true}, want: ghapp.ErrUnreachable},
		"cut body":           {fault: githubtest.Fault{CutAfter: 20}, want: ghapp.ErrUnreachable},
		"HTML 502":           {fault: githubtest.HTML502(""), want: ghapp.ErrUnreachable},
		"a page of a hotel":  {fault: githubtest.Fault{Status: 200, Body: "<html>Welcome"}, want: ghapp.ErrUnreachable},
		"redirect to a host": {fault: githubtest.Fault{RedirectTo: "https://evil.example"}, want: ghapp.ErrWrongHost},
		"redirect within itself": {fault: githubtest.Fault{RedirectTo: "https://api.github.com/app", Status: 301},
			want: ghapp.ErrUnreachable},
		"nobody there": {transport: roundTrips(func(*http.Request) (*http.Response, error) { return nil, refused }),
			want: ghapp.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if test.transport == nil {
					w.fault(t, test.fault)
				}
				_, err := w.Open(t, func(c *ghapp.Config) {
					if test.transport != nil {
						c.Transport = test.transport
					}
				}).Info(t.Context())
				wantKind(t, err, test.want)
			})
		})
	}
}

func TestEndOfAContextKeepsItsName(t *testing.T) {
	why := errors.New("the user has gone")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Delay: time.Second})
		app := w.Open(t)
		for name, ask := range map[string]func(context.Context) error{
			"Info":             func(ctx context.Context) error { _, err := app.Info(ctx); return err },
			"FindInstallation": func(ctx context.Context) error { _, err := app.FindInstallation(ctx, "acme"); return err },
			"Token":            func(ctx context.Context) error { _, err := app.Token(ctx, site()); return err },
			"Revoke": func(ctx context.Context) error {
				return app.Revoke(ctx, &ghapp.Token{Secret: secret.New("x")})
			},
			"Installations": func(ctx context.Context) error {
				for _, err := range app.Installations(ctx) {
					return err
				}
				return nil
			},
			"Repositories": func(ctx context.Context) error {
				for _, err := range app.Repositories(ctx, &ghapp.Token{Secret: secret.New("x")}) {
					return err
				}
				return nil
			},
		} {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
			if err := ask(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, why) || ghapp.KindOf(err) != "" {
				t.Errorf("%s: error %v (Kind %q), want context.Canceled with its cause", name, err, ghapp.KindOf(err))
			}
			late, cancelLate := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if err := ask(late); !errors.Is(err, context.DeadlineExceeded) || ghapp.KindOf(err) != "" {
				t.Errorf("%s: error %v, want context.DeadlineExceeded", name, err)
			}
			cancelLate()
		}
		time.Sleep(time.Minute) // what was asked for others runs on to its end
	})
}
