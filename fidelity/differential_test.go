package fidelity

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	github88 "github.com/google/go-github/v88/github"
	"github.com/google/go-github/v92/github"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/fidelity/description"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// footprint is what of a request has to be the same whoever sends it.
type footprint struct {
	Operation  string
	Credential string   // "JWT" or "token"
	Claims     []string // of a JWT
	Body       any
}

func (w *world) footprint(t *testing.T, x *description.Exchange) footprint {
	t.Helper()
	f := footprint{Operation: w.description.Operation(described(x))}
	scheme, credential, _ := strings.Cut(x.RequestHeader.Get("Authorization"), " ")
	switch scheme = strings.ToLower(scheme); {
	case scheme == "bearer" && strings.HasPrefix(credential, "eyJ"):
		f.Credential = "JWT"
		f.Claims = w.claimsOf(t, x, credential)
	case (scheme == "bearer" || scheme == "token") && strings.HasPrefix(credential, "ghs_"):
		f.Credential = "token"
	default:
		t.Errorf("%s is authorized by %q", x, scheme)
	}
	if len(x.RequestBody) > 0 {
		testkit.OK(t, json.Unmarshal(x.RequestBody, &f.Body), "%s", x)
	}
	if x.RequestHeader.Get("User-Agent") == "" ||
		!strings.Contains(x.RequestHeader.Get("Accept"), "application/vnd.github") {
		t.Errorf("%s: headers %v", x, x.RequestHeader)
	}
	return f
}

// claimsOf verifies a JWT with a library of other people, and names its claims.
func (w *world) claimsOf(t *testing.T, x *description.Exchange, text string) []string {
	t.Helper()
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuedAt(), jwt.WithExpirationRequired()).
		ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return &w.key.PublicKey, nil })
	testkit.OK(t, err, "%s", x)
	if expires, err := claims.GetExpirationTime(); err != nil || time.Until(expires.Time) > 10*time.Minute {
		t.Errorf("%s: JWT until %s, %v", x, expires, err)
	}
	return slices.Sorted(maps.Keys(claims))
}

// clients do the same work: the installation of a repository, a token for it that
// may read, what that reaches, and its end.
var clients = map[string]func(*testing.T, *world){
	"ghapp": func(t *testing.T, w *world) {
		ctx, app := t.Context(), w.library(t, nil)
		testkit.Must(app.FindInstallation(ctx, "acme/site"))(t)
		token, err := app.Token(ctx, ghapp.TokenRequest{
			Repositories: []string{"acme/site"}, Permissions: ghapp.Permissions{"contents": "read"},
			Installation: w.fill("{id}"),
		})
		testkit.OK(t, err)
		collect(t, app.Repositories(ctx, token), fullName)
		testkit.OK(t, app.Revoke(ctx, token))
	},
	"octokit": func(t *testing.T, w *world) {
		results, _ := w.octokit(t, nil,
			request(repoInstall, map[string]any{"owner": "acme", "repo": "site"}),
			installationAuth(map[string]any{"repositoryNames": []string{"site"},
				"permissions": map[string]string{"contents": "read"}}),
		)
		worked(t, results)
		// What auth-app asks by itself is with a token for everything: this one has to
		// be handed over.
		results, _ = w.octokit(t, func(o *octokit) { o.Token = results[1].Value.Token },
			request(listReachable, nil), request(revoke, nil))
		worked(t, results)
	},
	"ghinstallation": func(t *testing.T, w *world) {
		ctx, read := t.Context(), "read"
		must[*github.Installation](t)(w.gogithub(t, w.appsTransport()).Apps.GetRepositoryInstallation(ctx, "acme", "site"))
		client := w.gogithub(t, w.installationTransport(&github88.InstallationTokenOptions{
			Repositories: []string{"site"}, Permissions: &github88.InstallationPermissions{Contents: &read},
		}))
		must[*github.ListRepositories](t)(client.Apps.ListRepos(ctx, nil))
		testkit.Must(client.Apps.RevokeInstallationToken(ctx))(t)
	},
	"go-github": func(t *testing.T, w *world) {
		ctx, apps := t.Context(), w.gogithub(t, w.appsTransport()).Apps
		must[*github.Installation](t)(apps.GetRepositoryInstallation(ctx, "acme", "site"))
		token := must[*github.InstallationToken](t)(apps.CreateInstallationToken(ctx, w.installation.ID,
			&github.InstallationTokenOptions{
				Repositories: []string{"site"}, Permissions: &github.InstallationPermissions{Contents: new("read")},
			}))
		client := w.gogithub(t, nil, github.WithAuthToken(token.GetToken()))
		must[*github.ListRepositories](t)(client.Apps.ListRepos(ctx, nil))
		testkit.Must(client.Apps.RevokeInstallationToken(ctx))(t)
	},
}

func TestClientsAskTheSame(t *testing.T) {
	claims := []string{"exp", "iat", "iss"}
	want := []footprint{
		{Operation: repoInstall, Credential: "JWT", Claims: claims},
		{Operation: mint, Credential: "JWT", Claims: claims,
			Body: map[string]any{"repositories": []any{"site"}, "permissions": map[string]any{"contents": "read"}}},
		{Operation: listReachable, Credential: "token"},
		{Operation: revoke, Credential: "token"},
	}
	for name, work := range clients {
		for _, f := range flavours {
			t.Run(name+" at "+f.name, func(t *testing.T) {
				w := newWorld(t, f)
				work(t, w)
				var got []footprint
				for _, x := range w.verify(t) {
					got = append(got, w.footprint(t, x))
				}
				testkit.Diff(t, got, want)
			})
		}
	}
}
