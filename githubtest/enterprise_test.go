package githubtest_test

import (
	"net/http"
	"testing"

	"github.com/ghapp-dev/ghapp/githubtest"
)

// A GitHub Enterprise Server says which release it is with each answer, refusals too.
func TestEnterpriseServerTellsItsRelease(t *testing.T) {
	gh, err := githubtest.New(githubtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer gh.Close()
	for url, want := range map[string]string{
		"https://ghe.test/api/v3/meta":       "enterprise-server@3.19.0",
		"https://ghe.test/api/v3/app":        "enterprise-server@3.19.0", // 401
		"https://api.github.test/meta":       "",
		"https://api.github.test/rate_limit": "",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := gh.RoundTripper().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if got := answer.Header.Get("X-GitHub-Enterprise-Version"); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}
