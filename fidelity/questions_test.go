package fidelity

import (
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// question is one request to the stand-in, and what GitHub answers to it.
type question struct {
	name      string
	operation string
	path      string                          // "" is the operation's; see world.fill
	arrange   func(*testing.T, *world)        // comes first
	as        func(*testing.T, *world) string // Authorization header; nil: none
	header    http.Header
	body      string

	status  int
	message string // of a refusal, exactly
	// What the description must say against the request, or against the answer; ""
	// is nothing.
	badRequest, badAnswer string
}

// What GitHub says, word for word.
const (
	notDecoded = "A JSON web token could not be decoded"
	expTooFar  = "'Expiration time' claim ('exp') is too far in the future"
	expPast    = "'Expiration time' claim ('exp') must be a numeric value representing the future time " +
		"at which the assertion expires"
	iatInFuture      = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	issMissing       = "Missing 'issuer' claim ('iss') in assertion"
	issNoInteger     = "'Issuer' claim ('iss') must be an Integer"
	appUnknown       = "Integration not found"
	appWithoutKey    = "Integration must generate a public key"
	badCredentials   = "Bad credentials"
	needsCredentials = "Requires authentication"
	needsToken       = "You must authenticate with an installation access token in order to list " +
		"repositories for an installation."
	notFound      = "Not Found"
	moved         = "Moved Permanently"
	notAccessible = "Resource not accessible by integration"
	suspended     = "This installation has been suspended"
	notSelected   = "There is at least one repository that does not exist or is not " +
		"accessible to the parent installation."
	notGranted    = "The permissions requested are not granted to this installation."
	notJSON       = "Problems parsing JSON"
	overLimit     = "API rate limit exceeded for installation ID {id}."
	overSecondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
	noLimit       = "Rate limiting is not enabled."
	ipAllowList   = "Although you appear to have the correct authorization credentials, " +
		"the `acme` organization has an IP allow list enabled, and your IP address is not permitted to access this resource."
)

// questions bring each operation to every status it can have here.
func questions() []question {
	return []question{
		{name: "the App", operation: getApp, as: asApp, status: 200},
		{name: "the App, by its ID in a string", operation: getApp, status: 200,
			as: claiming("iss", func(w *world) any { return strconv.FormatInt(w.app.ID, 10) })},
		{name: "the App, by its ID as a number", operation: getApp,
			as: claiming("iss", func(w *world) any { return w.app.ID }), status: 200},
		{name: "the App, by the second of its keys", operation: getApp, as: signedWith(wrongKey, jwt.SigningMethodRS256),
			arrange: func(_ *testing.T, w *world) { w.app.AddKey(&w.wrong.PublicKey) }, status: 200},
		{name: "wrong key", operation: getApp, as: signedWith(wrongKey, jwt.SigningMethodRS256),
			status: 401, message: notDecoded},
		{name: "no JWT", operation: getApp, status: 401, message: notDecoded},
		{name: "HS256", operation: getApp, as: signedWith(ownKey, jwt.SigningMethodHS256), status: 401, message: notDecoded},
		{name: "RS512", operation: getApp, as: signedWith(ownKey, jwt.SigningMethodRS512), status: 401, message: notDecoded},
		{name: "RS256 under another name", operation: getApp, as: misnamed, status: 401, message: notDecoded},
		{name: "no signature", operation: getApp, as: signedWith(ownKey, jwt.SigningMethodNone),
			status: 401, message: notDecoded},
		{name: "installation token in place of a JWT", operation: getApp, as: asInstallation,
			status: 401, message: notDecoded},
		{name: "JWT that expires too late", operation: getApp, as: claiming("exp", in(11*time.Minute)),
			status: 401, message: expTooFar},
		{name: "JWT that has expired", operation: getApp, as: claiming("exp", in(-time.Second)),
			status: 401, message: expPast},
		{name: "JWT with half a second", operation: getApp, status: 401, message: expPast,
			as: claiming("exp", func(*world) any { return float64(time.Now().Unix()) + 60.5 })},
		{name: "JWT without expiry", operation: getApp, as: claiming("exp", nothing), status: 401, message: expPast},
		{name: "JWT from the future", operation: getApp, as: claiming("iat", in(time.Minute)),
			status: 401, message: iatInFuture},
		{name: "no issuer", operation: getApp, as: claiming("iss", nothing), status: 401, message: issMissing},
		{name: "issuer that is neither ID", operation: getApp, status: 401, message: issNoInteger,
			as: claiming("iss", func(w *world) any { return w.app.ClientID + "x" })},
		{name: "issuer of no App", operation: getApp, as: claiming("iss", func(*world) any { return "1" }),
			status: 404, message: appUnknown},
		{name: "App without a key", operation: getApp, as: asApp, arrange: withoutKey, status: 401, message: appWithoutKey},
		{name: "JWT in the token scheme", operation: getApp, status: 401, message: badCredentials,
			as: func(t *testing.T, w *world) string { return strings.Replace(w.jwt(t), "Bearer", "token", 1) }},
		{name: "API version of no year", operation: getApp, as: asApp,
			header: http.Header{"X-Github-Api-Version": {"1999-01-01"}},
			status: 400, message: "Bad Request",
			badAnswer: "field /errors"}, // a text; GitHub describes errors as a list, and not for this
		{name: "no User-Agent", operation: getApp, as: asApp, header: http.Header{"User-Agent": {""}}, status: 403,
			badAnswer: `media type "text/html"`}, // from the front door, which speaks no JSON

		{name: "an App by its slug", operation: namedApp, path: "/apps/deployer", status: 200},
		{name: "an App by its slug, by itself", operation: namedApp, path: "/apps/deployer", as: asApp, status: 200},
		{name: "a private App by its slug", operation: namedApp, path: "/apps/secret", arrange: privateApp,
			status: 404, message: notFound},
		{name: "a slug of no App", operation: namedApp, path: "/apps/nobody", status: 404, message: notFound},

		{name: "the bot of an App", operation: getUser, path: "/users/deployer%5Bbot%5D", status: 200},
		{name: "the bot of an App, in brackets, to its token", operation: getUser, path: "/users/deployer[bot]",
			as: asInstallation, status: 200},
		{name: "the bot of a private App", operation: getUser, path: "/users/secret%5Bbot%5D",
			arrange: privateApp, status: 200},
		{name: "an organization as a user", operation: getUser, path: "/users/acme", status: 200},
		{name: "nobody", operation: getUser, path: "/users/nobody", status: 404, message: notFound},

		{name: "an App from a manifest", operation: convert, arrange: fromManifest(""), status: 201},
		{name: "an App with a webhook from a manifest", operation: convert,
			arrange: fromManifest(`,"hook_attributes":{"url":"https://hooks.example"}`), status: 201},
		{name: "an App from a manifest, twice", operation: convert, arrange: converted, status: 404, message: notFound},
		{name: "an App from no manifest", operation: convert, path: "/app-manifests/0123456789abcdef/conversions",
			status: 404, message: notFound},

		{name: "installations of all kinds", operation: listInstalls, as: asApp, arrange: manyInstallations, status: 200},
		{name: "a page of installations", operation: listInstalls, path: "/app/installations?per_page=2&page=2", as: asApp,
			arrange: manyInstallations, status: 200},
		{name: "installations since", operation: listInstalls,
			path: "/app/installations?since=2020-01-02T03:04:05Z&outdated=1", as: asApp, status: 200},
		{name: "page beyond the last", operation: listInstalls, path: "/app/installations?page=9", as: asApp, status: 200},
		{name: "no installations", operation: listInstalls, as: asApp, arrange: uninstall, status: 200},
		{name: "installations without a JWT", operation: listInstalls, status: 401, message: notDecoded},
		{name: "page in words", operation: listInstalls, path: "/app/installations?page=two", as: asApp, status: 200,
			badRequest: `parameter "page"`},

		{name: "an installation", operation: getInstall, as: asApp, status: 200},
		{name: "a suspended installation", operation: getInstall, as: asApp, arrange: suspend, status: 200},
		{name: "no such installation", operation: getInstall, path: "/app/installations/1", as: asApp,
			status: 404, message: notFound},
		{name: "an installation of another App", operation: getInstall, as: asOtherApp, status: 404, message: notFound},
		{name: "an installation without a JWT", operation: getInstall, status: 401, message: notDecoded},
		{name: "an installation by its name", operation: getInstall, path: "/app/installations/acme", as: asApp,
			status: 404, message: notFound,
			badRequest: `parameter "installation_id"`},

		{name: "token for everything", operation: mint, as: asApp, status: 201},
		{name: "token for an empty body", operation: mint, as: asApp, body: `{}`, status: 201},
		{name: "token for a repository by name", operation: mint, as: asApp,
			body: `{"repositories":["site"],"permissions":{"contents":"read"}}`, status: 201},
		{name: "token for a repository in other letters", operation: mint, as: asApp,
			body: `{"repositories":["SITE"]}`, status: 201},
		{name: "token for a repository by ID", operation: mint, as: asApp, body: `{"repository_ids":[{site}]}`, status: 201},
		{name: "token for less", operation: mint, as: asApp, body: `{"permissions":{"metadata":"read"}}`, status: 201},
		{name: "token of an installation on everything", operation: mint, as: asApp,
			arrange: func(_ *testing.T, w *world) { w.installation.SelectAll() }, status: 201},
		{name: "stateless token", operation: mint, as: asApp,
			header: http.Header{"X-Github-Stateless-S2s-Token": {"enabled"}}, status: 201},
		{name: "token without a JWT", operation: mint, status: 401, message: notDecoded},
		{name: "token with an expired JWT", operation: mint, as: claiming("exp", in(-time.Second)),
			status: 401, message: expPast},
		{name: "token of a suspended installation", operation: mint, as: asApp, arrange: suspend,
			status: 403, message: suspended},
		{name: "token from behind an IP allow list", operation: mint, as: asApp, arrange: behindAllowList,
			status: 403, message: ipAllowList},
		{name: "token of no installation", operation: mint, path: "/app/installations/1/access_tokens", as: asApp,
			status: 404, message: notFound},
		{name: "token of another App's installation", operation: mint, as: asOtherApp, status: 404, message: notFound},
		{name: "token for what is not granted", operation: mint, as: asApp, body: `{"permissions":{"issues":"read"}}`,
			status: 422, message: notGranted},
		{name: "token for more than is granted", operation: mint, as: asApp, body: `{"permissions":{"contents":"write"}}`,
			status: 422, message: notGranted,
			arrange: func(_ *testing.T, w *world) { w.installation.SetPermissions(map[string]string{"contents": "read"}) }},
		{name: "token for a repository that is not selected", operation: mint, as: asApp,
			body: `{"repositories":["private"]}`, status: 422, message: notSelected},
		{name: "token for a repository that is not there", operation: mint, as: asApp,
			body: `{"repositories":["site","nothing"]}`, status: 422, message: notSelected},
		{name: "token for no such ID", operation: mint, as: asApp, body: `{"repository_ids":[1]}`,
			status: 422, message: notSelected},
		{name: "token for a repository with its owner", operation: mint, as: asApp, body: `{"repositories":["acme/site"]}`,
			status: 422, message: notSelected},
		{name: "token for one name in place of a list", operation: mint, as: asApp, body: `{"repositories":"site"}`,
			status: 422, badRequest: "must be an array"},
		{name: "token for a name in place of an ID", operation: mint, as: asApp, body: `{"repository_ids":["site"]}`,
			status: 422, badRequest: "must be an integer"},
		{name: "token for a level that is none", operation: mint, as: asApp, body: `{"permissions":{"contents":"admin"}}`,
			status: 422, badRequest: "allowed values"},
		{name: "token for more than 500 repositories", operation: mint, as: asApp,
			body: `{"repositories":["site"` + strings.Repeat(`,"site"`, 500) + `]}`, status: 422},
		{name: "token for half a body", operation: mint, as: asApp, body: `{"repositories":`, status: 400, message: notJSON,
			badRequest: "unexpected EOF"},
		{name: "token from a GitHub that is down", operation: mint, as: asApp,
			arrange: fault(githubtest.HTML502("")), status: 502,
			badAnswer: `media type "text/html"`}, // the front door again

		{name: "installation of an organization", operation: orgInstall,
			path: "/orgs/acme/installation", as: asApp, status: 200},
		{name: "installation of an organization in other letters", operation: orgInstall,
			path: "/orgs/ACME/installation", as: asApp, status: 200},
		{name: "organization without the App", operation: orgInstall, path: "/orgs/nobody/installation", as: asApp,
			status: 404, message: notFound},
		{name: "organization without a JWT", operation: orgInstall, path: "/orgs/acme/installation",
			status: 401, message: notDecoded},

		{name: "installation of a user", operation: userInstall, path: "/users/octocat/installation", as: asApp,
			arrange: manyInstallations, status: 200},
		{name: "installation of an organization as a user's", operation: userInstall,
			path: "/users/acme/installation", as: asApp, status: 200},
		{name: "user without the App", operation: userInstall, path: "/users/nobody/installation", as: asApp,
			status: 404, message: notFound},
		{name: "user without a JWT", operation: userInstall, path: "/users/acme/installation",
			status: 401, message: notDecoded},

		{name: "installation of a repository", operation: repoInstall,
			path: "/repos/acme/site/installation", as: asApp, status: 200},
		{name: "installation of a renamed repository", operation: repoInstall, path: "/repos/acme/site/installation",
			as: asApp, arrange: rename, status: 301, message: moved},
		{name: "installation of a repository not selected", operation: repoInstall, path: "/repos/acme/private/installation",
			as: asApp, status: 404, message: notFound},
		{name: "installation of no repository", operation: repoInstall, path: "/repos/acme/nothing/installation", as: asApp,
			status: 404, message: notFound},
		{name: "repository without a JWT", operation: repoInstall, path: "/repos/acme/site/installation",
			status: 401, message: notDecoded},
		// What the redirect leads to. GitHub does not describe this form of address.
		{name: "installation of a repository by ID", operation: repoInstall,
			path: "/repositories/{site}/installation", as: asApp, status: 200},

		{name: "repositories of a selection", operation: listReachable, as: asInstallation, status: 200},
		{name: "repositories of a narrowed token", operation: listReachable,
			as: withToken(`{"repositories":["docs"]}`), status: 200},
		{name: "a page of repositories", operation: listReachable, path: "/installation/repositories?per_page=1&page=2",
			as: asInstallation, status: 200},
		{name: "repositories, as Bearer", operation: listReachable, status: 200,
			as: func(t *testing.T, w *world) string {
				return strings.Replace(asInstallation(t, w), "token", "Bearer", 1)
			}},
		{name: "repositories without a token", operation: listReachable, status: 401, message: needsCredentials},
		{name: "repositories with a token that is none", operation: listReachable, status: 401, message: badCredentials,
			as: func(*testing.T, *world) string { return "token ghs_0123456789012345678901234567890123456789" }},
		{name: "repositories with an expired token", operation: listReachable, as: asInstallation,
			status: 401, message: badCredentials,
			arrange: func(_ *testing.T, w *world) { w.SetTokenLife(-time.Second) }},
		{name: "repositories with a revoked token", operation: listReachable, as: dying((*world).RevokeTokens),
			status: 401, message: badCredentials},
		{name: "repositories of an uninstalled App", operation: listReachable,
			as: dying(func(w *world) { w.installation.Uninstall() }), status: 401, message: badCredentials},
		{name: "repositories with a token too new", operation: listReachable, as: asInstallation, arrange: lagging(401),
			status: 401, message: badCredentials},
		{name: "repositories with permissions too new", operation: listReachable, as: asInstallation, arrange: lagging(403),
			status: 403, message: notAccessible},
		{name: "repositories with a JWT", operation: listReachable, as: asApp, status: 403, message: needsToken},
		{name: "repositories of a suspended installation", operation: listReachable,
			as: dying(func(w *world) { w.installation.Suspend() }), status: 403, message: suspended},
		{name: "repositories over the limit", operation: listReachable, as: asInstallation, arrange: limited(0),
			status: 403, message: overLimit},
		{name: "repositories over a secondary limit", operation: listReachable, as: asInstallation,
			status: 403, message: overSecondary,
			arrange: fault(githubtest.SecondaryLimit("/installation/repositories", time.Minute))},
		{name: "repositories too often", operation: listReachable, as: asInstallation, arrange: failing(429), status: 429},
		{name: "repositories of a broken GitHub", operation: listReachable, as: asInstallation,
			arrange: failing(500), status: 500},
		{name: "repositories of a busy GitHub", operation: listReachable, as: asInstallation,
			arrange: failing(503), status: 503},

		{name: "revoke", operation: revoke, as: asInstallation, status: 204},
		{name: "revoke a revoked token", operation: revoke, as: dying((*world).RevokeTokens),
			status: 401, message: badCredentials},
		{name: "revoke without a token", operation: revoke, status: 401, message: needsCredentials},
		{name: "revoke with a JWT", operation: revoke, as: asApp, status: 403, message: notAccessible},

		{name: "a private repository", operation: getRepo, path: "/repos/acme/site", as: asInstallation, status: 200},
		{name: "a private repository in other letters", operation: getRepo, path: "/repos/Acme/Site",
			as: asInstallation, status: 200},
		{name: "a private repository by ID", operation: getRepo, path: "/repositories/{site}",
			as: asInstallation, status: 200},
		{name: "a public repository", operation: getRepo, path: "/repos/acme/public", status: 200},
		{name: "a repository of a user", operation: getRepo, path: "/repos/octocat/hello",
			arrange: repositoryOfAUser, status: 200},
		{name: "a repository with all that can be set", operation: getRepo, path: "/repos/acme/site", as: asInstallation,
			arrange: edited(githubtest.RepositoryOptions{Internal: true, Archived: true, Disabled: true, Fork: true,
				NoWiki: true, Topics: []string{"go", "git"}, SizeKB: 7, PushedAt: time.Unix(1e9, 0)}), status: 200},
		{name: "a repository after a takedown notice", operation: getRepo, path: "/repos/acme/site", as: asInstallation,
			arrange: edited(githubtest.RepositoryOptions{Blocked: true}), status: 451,
			badAnswer: "field /block is not described"}, // reported in ossf/allstar#36 and slapperwan/gh4a#651
		{name: "a renamed repository", operation: getRepo, path: "/repos/acme/site", as: asInstallation,
			arrange: rename, status: 301, message: moved},
		{name: "a private repository without a token", operation: getRepo, path: "/repos/acme/site",
			status: 404, message: notFound},
		{name: "a repository not selected", operation: getRepo, path: "/repos/acme/private", as: asInstallation,
			status: 404, message: notFound},
		{name: "a repository behind an IP allow list", operation: getRepo, path: "/repos/acme/site", as: dying(allowOthers),
			status: 403, message: ipAllowList},
		{name: "a repository with a dead token", operation: getRepo, path: "/repos/acme/public",
			as: dying((*world).RevokeTokens), status: 401, message: badCredentials},

		{name: "repositories of an organization", operation: listOrgRepos, path: "/orgs/acme/repos",
			as: asInstallation, status: 200},
		{name: "private repositories of an organization", operation: listOrgRepos, as: asInstallation, status: 200,
			path: "/orgs/acme/repos?type=private&sort=full_name&direction=desc&per_page=1"},
		{name: "repositories of an organization without a token", operation: listOrgRepos,
			path: "/orgs/acme/repos", status: 200},
		{name: "repositories of no organization", operation: listOrgRepos, path: "/orgs/nobody/repos", as: asInstallation,
			status: 404, message: notFound},
		{name: "repositories behind an IP allow list", operation: listOrgRepos, path: "/orgs/acme/repos",
			as: dying(allowOthers), status: 403, message: ipAllowList},
		{name: "repositories with a dead token", operation: listOrgRepos, path: "/orgs/acme/repos",
			as: dying((*world).RevokeTokens), status: 401, message: badCredentials},

		{name: "limits of an installation", operation: rateLimit, as: asInstallation, status: 200},
		{name: "limits of an address", operation: rateLimit, status: 200},
		{name: "limits where there are none", operation: rateLimit, as: asInstallation, arrange: limited(-1),
			status: 404, message: noLimit},
		{name: "limits with a dead token", operation: rateLimit, as: dying((*world).RevokeTokens),
			status: 401, message: badCredentials},

		{name: "meta", operation: meta, status: 200},
		{name: "meta with a token", operation: meta, as: asInstallation, status: 200},
		{name: "meta with a dead token", operation: meta, as: dying((*world).RevokeTokens),
			status: 401, message: badCredentials},

		{name: "installation of an enterprise", operation: enterpriseInstall, path: "/enterprises/conglomerate/installation",
			as: asApp, arrange: manyInstallations, status: 200},
		{name: "enterprise without the App", operation: enterpriseInstall, path: "/enterprises/nobody/installation",
			as: asApp, status: 404, message: notFound},
		{name: "enterprise without a JWT", operation: enterpriseInstall, path: "/enterprises/conglomerate/installation",
			status: 401, message: notDecoded},
	}
}

func asApp(t *testing.T, w *world) string { return w.jwt(t) }

// asOtherApp is an App that has nothing to do with acme.
func asOtherApp(t *testing.T, w *world) string {
	other := w.AddApp(githubtest.AppOptions{})
	other.AddKey(&w.wrong.PublicKey)
	claims := w.claims()
	claims["iss"] = other.ClientID
	return "Bearer " + sign(t, w.wrong, claims)
}

// claiming is a JWT with another claim than the App's. A nil value leaves it out.
func claiming(name string, value func(*world) any) func(*testing.T, *world) string {
	return func(t *testing.T, w *world) string {
		claims := w.claims()
		if claims[name] = value(w); claims[name] == nil {
			delete(claims, name)
		}
		return "Bearer " + sign(t, w.key, claims)
	}
}

func nothing(*world) any { return nil }

func in(d time.Duration) func(*world) any {
	return func(*world) any { return time.Now().Add(d).Unix() }
}

func ownKey(w *world) *rsa.PrivateKey { return w.key }

func wrongKey(w *world) *rsa.PrivateKey { return w.wrong }

func signedWith(key func(*world) *rsa.PrivateKey, method jwt.SigningMethod) func(*testing.T, *world) string {
	return func(t *testing.T, w *world) string {
		var secret any
		switch method {
		case jwt.SigningMethodHS256:
			secret = []byte("secret")
		case jwt.SigningMethodNone:
			secret = jwt.UnsafeAllowNoneSignatureType
		default:
			secret = key(w)
		}
		text := testkit.Must(jwt.NewWithClaims(method, w.claims()).SignedString(secret))(t)
		return "Bearer " + text
	}
}

// misnamed is the App's own JWT, but for the name of the algorithm.
func misnamed(t *testing.T, w *world) string {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, w.claims())
	token.Header["alg"] = "none"
	text := testkit.Must(token.SignedString(w.key))(t)
	return "Bearer " + text
}

// withToken is a token minted with a body.
func withToken(body string) func(*testing.T, *world) string {
	return func(t *testing.T, w *world) string {
		status, text := w.ask(t, "POST", w.fill("/app/installations/{id}/access_tokens"), w.jwt(t), body, nil)
		var minted struct{ Token string }
		if err := json.Unmarshal(text, &minted); err != nil || status != http.StatusCreated {
			t.Fatalf("mint: %d %s", status, text)
		}
		return "token " + minted.Token
	}
}

// asInstallation is a token for everything.
func asInstallation(t *testing.T, w *world) string { return withToken("")(t, w) }

// dying is a token that something happens to after it was minted.
func dying(how func(*world)) func(*testing.T, *world) string {
	return func(t *testing.T, w *world) string {
		token := asInstallation(t, w)
		how(w)
		return token
	}
}

func manyInstallations(_ *testing.T, w *world) {
	w.AddAccount("octocat", githubtest.User)
	w.AddAccount("conglomerate", githubtest.Enterprise)
	w.app.Install("octocat", githubtest.InstallOptions{All: true})
	w.app.Install("conglomerate", githubtest.InstallOptions{})
	w.app.Install("sleepy", githubtest.InstallOptions{All: true}).Suspend()
}

func repositoryOfAUser(_ *testing.T, w *world) {
	w.AddAccount("octocat", githubtest.User)
	w.AddRepository("octocat/hello", githubtest.RepositoryOptions{Public: true, Archived: true})
}

func rename(t *testing.T, w *world) {
	testkit.OK(t, w.Rename("acme/site", "home"))
}

func suspend(_ *testing.T, w *world) { w.installation.Suspend() }

func uninstall(_ *testing.T, w *world) { w.installation.Uninstall() }

func withoutKey(_ *testing.T, w *world) { w.app.RemoveKey(&w.key.PublicKey) }

// allowOthers puts acme behind an IP allow list.
func edited(to githubtest.RepositoryOptions) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		w.Repository("acme/site").Edit(func(o *githubtest.RepositoryOptions) { *o = to })
	}
}

func allowOthers(w *world) { w.SetIPAllowList("acme", true) }

func behindAllowList(_ *testing.T, w *world) { allowOthers(w) }

func limited(perHour int) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) { w.SetRateLimit(perHour) }
}

// lagging keeps a new token from being known.
func lagging(status int) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.SetPropagationDelay(time.Minute)
		testkit.OK(t, w.SetPropagationDelayStatus(status))
	}
}

func fault(f githubtest.Fault) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		t.Helper()
		testkit.OK(t, w.Fault(f))
	}
}

// failing answers for the repositories of a token with a status, and what the
// stand-in finds fit for that.
func failing(status int) func(*testing.T, *world) {
	return fault(githubtest.Fault{Match: listReachable, Status: status})
}
