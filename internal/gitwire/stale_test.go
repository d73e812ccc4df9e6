package gitwire_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// tokenFor is a token of an age for some repositories.
func tokenFor(text string, age time.Duration, repositories ...string) *ghapp.Token {
	t := tokenOf(text, age)
	t.Repositories = repositories
	return t
}

// knowing answers who asks with a token for paths that begin so, and knows nothing else.
func knowing(token, path string, asked *int) http.RoundTripper {
	return testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
		*asked++
		_, password, _ := r.BasicAuth()
		if password != token || !strings.HasPrefix(r.URL.Path, path) {
			return answer(404, "Repository not found.", "Content-Type", "text/plain"), nil
		}
		return answer(200, lines(oid1+" refs/heads/main")), nil
	})
}

// That a wiki is not there is no sign of a token that has not spread, where its repository is read with it.
func TestAWikiThatIsNotThereIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := &gitwire.Service{Origin: "https://github.com", API: apiRoot}
		s.Transport = knowing("new", "/acme/site.git/", &asked)
		fresh := tokenFor("new", 0, "acme/site")
		s.Token = func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return fresh, nil }
		wiki := site
		wiki.Wiki = true
		began := time.Now()
		refusal := testkit.ErrorOf(s.Refs(t.Context(), wiki))
		testkit.Fails(t, refusal)
		if waited := time.Since(began); waited < 3*time.Second {
			t.Errorf("of a token that nobody has taken, %s is too early to say so", waited)
		}
		fresh = tokenFor("new", 0, "acme/site")
		testkit.Must(s.Refs(t.Context(), site))(t)
		began, asked = time.Now(), 0
		testkit.Fails(t, testkit.ErrorOf(s.Refs(t.Context(), wiki)))
		testkit.Equal(t, time.Since(began), 0)
		testkit.Equal(t, asked, 2, "one server alone is not believed")
	})
}

// A repository that was deleted and made anew under its name is not reached with a token of before.
func TestATokenOfBeforeIsLookedUpAnewOnce(t *testing.T) {
	wiki := site
	wiki.Wiki = true
	for name, test := range map[string]struct {
		token *ghapp.Token
		of    ghapp.RepositoryName
		drops int
	}{
		"of before":     {tokenFor("old", 20*time.Minute, "acme/site"), site, 1},
		"a moment ago":  {tokenFor("old", time.Minute, "acme/site"), site, 0},
		"for several":   {tokenFor("old", 20*time.Minute, "acme/site", "acme/web"), site, 0},
		"for the wiki":  {tokenFor("old", 20*time.Minute, "acme/site"), wiki, 0},
		"for an absent": {tokenFor("old", 20*time.Minute, "acme/none"), ghapp.RepositoryName{Owner: "acme", Name: "none"}, 1},
	} {
		asked, drops := 0, 0
		s := &gitwire.Service{Origin: "https://github.com", API: apiRoot}
		s.Transport = knowing("next", "/acme/site.git/", &asked)
		token := test.token
		s.Token = func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return token, nil }
		s.Drop = func(_ context.Context, _ ghapp.RepositoryName, refused *ghapp.Token) error {
			testkit.Equal(t, refused.Secret.Reveal(), "old")
			drops++
			token = tokenFor("next", time.Minute, "acme/site")
			return nil
		}
		_, err := s.Refs(t.Context(), test.of)
		testkit.Equal(t, err == nil, name == "of before", "%s: %v", name, err)
		testkit.Equal(t, drops, test.drops, name)
	}
}
