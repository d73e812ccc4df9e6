package diag_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// stage is an App that is installed on acme for acme/site, with the configuration of one that
// is made for it.
type stage struct {
	*testapp.TestApp
	t      *testing.T
	config ghapp.Config
}

func newStage(t *testing.T) *stage {
	t.Helper()
	app := testapp.New(t, githubtest.AppOptions{}, githubtest.InstallOptions{Repositories: []string{"site"}})
	return &stage{TestApp: app, t: t, config: app.Config(t)}
}

func (s *stage) open() *ghapp.App {
	s.t.Helper()
	return testkit.Must(ghapp.New(s.config))(s.t)
}

func (s *stage) fault(f githubtest.Fault) {
	s.t.Helper()
	testkit.OK(s.t, s.GitHub.Fault(f))
}

// token asks for one for acme/site, or for what else is given.
func (s *stage) token(repositories ...string) error {
	if repositories == nil {
		repositories = []string{"acme/site"}
	}
	_, err := s.open().Token(s.t.Context(), ghapp.TokenRequest{Repositories: repositories})
	return err
}

// brokenSigner has no key any more.
type brokenSigner struct{}

func (brokenSigner) Sign(context.Context, []byte) ([]byte, error) {
	return nil, errors.New("the device is gone")
}

// provocations bring about an error of each Kind.
func provocations() map[ghapp.Kind]func(*stage) error {
	return map[ghapp.Kind]func(*stage) error{
		ghapp.ErrInvalid: func(s *stage) error {
			_, err := s.open().Token(s.t.Context(), ghapp.TokenRequest{})
			return err
		},
		ghapp.ErrKey: func(s *stage) error {
			s.config.Signer = brokenSigner{}
			return s.token()
		},
		ghapp.ErrKeyMismatch: func(s *stage) error {
			s.Registration.RemoveKeys()
			return s.token()
		},
		ghapp.ErrAppUnknown: func(s *stage) error {
			s.config.Issuer = "4711"
			return s.token()
		},
		ghapp.ErrClockOff: func(s *stage) error {
			// Something on the way puts its own time into the answers.
			s.GitHub.SetClockOffset(20 * time.Minute)
			s.fault(githubtest.Fault{Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}})
			return s.token()
		},
		ghapp.ErrNotInstalled: func(s *stage) error { return s.token("octo/lib") },
		ghapp.ErrSuspended: func(s *stage) error {
			s.script("suspend acme")
			return s.token()
		},
		ghapp.ErrEnterprise: func(s *stage) error {
			s.GitHub.AddAccount("bigcorp", githubtest.Enterprise)
			s.Registration.Install("bigcorp", githubtest.InstallOptions{})
			_, err := s.open().Token(s.t.Context(),
				ghapp.TokenRequest{Repositories: []string{"bigcorp/site"}, Installation: "30000002"})
			return err
		},
		ghapp.ErrRepositoryNotSelected: func(s *stage) error { return s.token("acme/hidden") },
		ghapp.ErrPermission: func(s *stage) error {
			s.script("permit acme metadata=read")
			return s.token()
		},
		ghapp.ErrTooBroad: func(s *stage) error {
			s.fault(githubtest.Fault{Match: githubtest.MintPattern, Overgrant: &githubtest.Overgrant{AllRepositories: true}})
			return s.token()
		},
		ghapp.ErrWrongHost: func(s *stage) error {
			s.fault(githubtest.Fault{Match: githubtest.MintPattern, RedirectTo: "https://evil.test"})
			return s.token()
		},
		ghapp.ErrIPAllowList: func(s *stage) error {
			s.GitHub.SetIPAllowList("acme", true)
			return s.token()
		},
		ghapp.ErrSAML: func(s *stage) error {
			s.fault(githubtest.Fault{Match: githubtest.MintPattern, Status: http.StatusForbidden,
				Body: `{"message":"Resource protected by organization SAML enforcement."}`})
			return s.token()
		},
		ghapp.ErrRateLimited: func(s *stage) error {
			s.fault(githubtest.SecondaryLimit(githubtest.MintPattern, time.Hour))
			return s.token()
		},
		ghapp.ErrTokenRefused: func(s *stage) error {
			return s.config.Client.Revoke(s.t.Context(), secret.New("ghs_nobodys"))
		},
		ghapp.ErrTokenUnknown: func(s *stage) error {
			s.GitHub.SetPropagationDelay(time.Hour)
			app := s.open()
			token, err := app.Token(s.t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}})
			if err != nil {
				return err
			}
			a := &gitauth.Answerer{Origin: app.Status().Origin, Transport: s.config.Transport}
			return a.Trial(s.t.Context(), token, ghapp.RepositoryName{Owner: "acme", Name: "site"})
		},
		ghapp.ErrUnreachable: func(s *stage) error {
			s.fault(githubtest.HTML502("/**"))
			return s.token()
		},
		ghapp.ErrNoKey: func(s *stage) error {
			s.broker(http.StatusOK, nil)
			return testkit.ErrorOf(s.open().Info(s.t.Context()))
		},
		ghapp.ErrIdentity: func(s *stage) error {
			s.broker(http.StatusOK, errors.New("GHAPP_ID_TOKEN is not set"))
			return s.token()
		},
		ghapp.ErrBrokerRefused: func(s *stage) error {
			s.broker(http.StatusBadRequest, nil)
			return s.token()
		},
		ghapp.ErrBrokerUnreachable: func(s *stage) error {
			s.broker(http.StatusBadGateway, nil)
			return s.token()
		},
		ghapp.ErrRefused: func(s *stage) error {
			s.fault(githubtest.Fault{Match: githubtest.MintPattern, Status: http.StatusGone,
				Body: `{"message":"This API version is gone."}`})
			return s.token()
		},
	}
}

// broker puts a broker in the place of the key, which answers with a status, and an identity
// that is had unless there is an error.
func (s *stage) broker(status int, err error) {
	s.t.Helper()
	answer := testkit.RoundTrip(func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.WriteHeader(status)
		_, err := io.WriteString(w, `{"error":"invalid_grant","id":"d1"}`)
		return w.Result(), err
	})
	s.config = ghapp.Config{Client: s.config.Client, Broker: testkit.Must(broker.New(broker.Config{
		URL: "https://broker.example", Identity: identity{err}, Transport: answer}))(s.t)}
}

// identity is had, unless there is an error.
type identity struct{ err error }

func (i identity) Token(context.Context, func(context.Context) (string, error)) (secret.Text, error) {
	return secret.New("a.b.c"), i.err
}

func (identity) Subject() string { return "" }

func (identity) String() string { return "github-actions" }

func (s *stage) script(line string) {
	s.t.Helper()
	testkit.OK(s.t, s.GitHub.Script(line))
}

// untrusted needs a connection, which the others do without.
func untrusted(t *testing.T) error {
	s := newStage(t)
	server := httptest.NewUnstartedServer(s.GitHub)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of a client that hangs up, which is what is wanted
	server.StartTLS()
	defer server.Close()
	s.config.Transport, s.config.Host = nil, server.URL
	return s.token()
}

func TestEveryKindIsProvokedAndHasItsHint(t *testing.T) {
	known := provocations()
	for _, kind := range kinds(t) {
		t.Run(string(kind), func(t *testing.T) {
			var err error
			provoke, ok := known[kind]
			switch {
			case kind == ghapp.ErrUntrusted:
				err = untrusted(t)
			case !ok:
				t.Fatal("nothing here brings it about")
			default:
				synctest.Test(t, func(t *testing.T) { err = provoke(newStage(t)) })
			}
			report := diag.Explain(err)
			if ghapp.KindOf(err) != kind || report.Kind != diag.Code(string(kind)) {
				t.Fatalf("%v is of the kind %q", err, ghapp.KindOf(err))
			}
			if report.Hint == "" && kind != ghapp.ErrInvalid || report.ExitCode == fault.Failed {
				t.Errorf("%+v", report)
			}
			if strings.Contains(report.Message+report.Hint, "ghs_") {
				t.Errorf("a token is in %+v", report)
			}
		})
	}
}
