package githubtest_test

import (
	"net/http"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A GitHub Enterprise Server says which release it is with each answer, refusals too.
func TestEnterpriseServerTellsItsRelease(t *testing.T) {
	gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	defer gh.Close()
	for url, want := range map[string]string{
		"https://ghe.test/api/v3/meta":       "enterprise-server@3.19.0",
		"https://ghe.test/api/v3/app":        "enterprise-server@3.19.0", // 401
		"https://api.github.test/meta":       "",
		"https://api.github.test/rate_limit": "",
	} {
		req := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))(t)
		answer := testkit.Must(gh.RoundTripper().RoundTrip(req))(t)
		_ = answer.Body.Close()
		testkit.Equal(t, answer.Header.Get("X-GitHub-Enterprise-Version"), want, "%s", url)
	}
}
