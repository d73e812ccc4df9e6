package api

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// TestALimitInAGoodAnswerOfGraphQLIsWaitedFor has the first answer tell of a limit.
func TestALimitInAGoodAnswerOfGraphQLIsWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		body    string
		headers []string
		least   time.Duration
	}{
		"primary":             {`{"errors":[{"type":"RATE_LIMITED","message":"x"}]}`, []string{"Retry-After", "7"}, 7 * time.Second},
		"of an older name":    {`{"data":null,"errors":[{"type":"RATE_LIMIT","message":"x"}]}`, []string{"Retry-After", "7"}, 7 * time.Second},
		"secondary":           {`{"errors":[{"message":"You have exceeded a secondary rate limit"}]}`, []string{"Retry-After", "3"}, 3 * time.Second},
		"secondary, no times": {`{"errors":[{"message":"You have exceeded a secondary rate limit"}]}`, nil, time.Minute},
		"none of its headers": {`{"errors":[{"type":"RATE_LIMITED","message":"x"}]}`, nil, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limited := &wire{handler: says(200, test.body, test.headers...)}
				good := &wire{handler: says(200, `{"data":{"viewer":{"login":"x"}}}`)}
				asked := 0
				c := newClient(t, roundTrips(func(r *http.Request) (*http.Response, error) {
					if asked++; asked == 1 {
						return limited.RoundTrip(r)
					}
					return good.RoundTrip(r)
				}))
				began := time.Now()
				var data struct{ Viewer struct{ Login string } }
				testkit.Must(c.GraphQL(t.Context(), secret.New(canary), "{viewer{login}}", nil, &data))(t)
				if data.Viewer.Login != "x" || asked != 2 || time.Since(began) < test.least {
					t.Errorf("%+v after %d requests and %s; want 2, and a pause of %s", data, asked, time.Since(began), test.least)
				}
			})
		})
	}
}

func TestGraphQLIsBesideTheRESTAPI(t *testing.T) {
	for root, want := range map[string]string{
		"https://api.github.com":      "https://api.github.com/graphql",
		"https://ghes.example/api/v3": "https://ghes.example/api/graphql",
	} {
		asked := ""
		base := &wire{handler: says(200, `{"data":{}}`)}
		c := newClient(t, roundTrips(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.String()
			return base.RoundTrip(r)
		}), func(o *Options) { o.Host.API = root })
		testkit.Must(c.GraphQL(t.Context(), secret.New(canary), "{x}", nil, &struct{}{}))(t)
		testkit.Equal(t, asked, want)
	}
}

// What a server sends back of our own token is in no message, and neither are controls.
func TestErrorsInAnAnswerOfGraphQLAreMadeFitToBeShown(t *testing.T) {
	c := newClient(t, &wire{handler: says(200,
		`{"data":{"a":null},"errors":[{"type":"NOT_FOUND","message":"\u001b[31m`+canary+`","path":["a",0,"b"]}]}`)})
	errs := testkit.Must(c.GraphQL(t.Context(), secret.New(canary), "{x}", nil, &struct{}{}))(t)
	testkit.Equal(t, len(errs), 1)
	testkit.Lacks(t, errs[0].Message, canary, "\x1b")
	for _, test := range []struct {
		path []any
		want bool
	}{
		{[]any{"a"}, true}, {[]any{"a", 0}, true}, {[]any{"a", 0, "b"}, true}, {[]any{"a", 1}, false}, {[]any{"b"}, false},
		{[]any{"a", 0, "b", "c"}, false},
	} {
		testkit.Equal(t, errs[0].At(test.path...), test.want, "%v", test.path)
	}
}
