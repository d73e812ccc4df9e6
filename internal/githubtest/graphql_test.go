package githubtest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestGraphQL(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{Permissions: map[string]string{"contents": "read", "issues": "read"}})
	site := gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
	gh.AddRepository("acme/hidden", githubtest.RepositoryOptions{})
	gh.AddRepository("other/open", githubtest.RepositoryOptions{Public: true})
	testkit.Must(site.Commit("main", "Begin", map[string]string{"a": "b"}))(t)
	inst := app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	full := "token " + mint(t, gh, app, inst, "")
	contents := "token " + mint(t, gh, app, inst, `{"permissions":{"contents":"read"}}`)
	site404 := `"errors":[{"extensions":{"saml_failure":false},"locations":[{"column":2,"line":1}],"message":"Could not resolve to a Repository with the name 'acme/hidden'.","path":["repository"],"type":"NOT_FOUND"}]`
	for _, test := range []struct {
		name, authorization, query, variables, want string
	}{
		{"fields, by variables", full,
			`query Info($owner: String!, $name: String! = "x") { repository(owner: $owner, name: $name) { name owner { login } parent { id } defaultBranchRef { name } viewerPermission } }`,
			`{"owner":"acme","name":"site"}`,
			`{"data":{"repository":{"defaultBranchRef":{"name":"main"},"name":"site","owner":{"login":"acme"},"parent":null,"viewerPermission":null}}}`},
		{"values, aliases, fragments", full,
			`fragment f on Repository { full: nameWithOwner, ... on Node { isPrivate } ... { __typename } } { a: repository(owner: "acme", name: "si\u0074e", followRenames: true) { ...f } }`, `{}`,
			`{"data":{"a":{"__typename":"Repository","full":"acme/site","isPrivate":true}}}`},
		{"what there is none of", full,
			`{repository(owner:"ACME",name:"Site"){issues(first:3,states:[OPEN],orderBy:{field:CREATED_AT}){totalCount nodes{title} pageInfo{hasNextPage endCursor}}}}`, `{}`,
			`{"data":{"repository":{"issues":{"nodes":[],"pageInfo":{"endCursor":null,"hasNextPage":false},"totalCount":0}}}}`},
		{"what may not be read", contents,
			`{repository(owner:"acme",name:"site"){issues(first:3){totalCount} releases{totalCount}}}`, `{}`,
			`{"data":{"repository":{"issues":null,"releases":{"totalCount":0}}},"errors":[{"extensions":{"saml_failure":false},"locations":[{"column":39,"line":1}],"message":"Resource not accessible by integration","path":["repository","issues"],"type":"FORBIDDEN"}]}`},
		{"not selected", full, `{repository(owner:"acme",name:"hidden"){id}}`, `{}`,
			`{"data":{"repository":null},` + site404 + `}`},
		{"public", full,
			`{repository(owner:"other",name:"open"){isPrivate defaultBranchRef{name} pullRequests{totalCount}}}`, `{}`,
			`{"data":{"repository":{"defaultBranchRef":null,"isPrivate":false,"pullRequests":{"totalCount":0}}}}`},
		{"no such field", full, "{repository(owner:\"acme\",name:\"site\"){\n  id nope}}", `{}`,
			`{"errors":[{"extensions":{"code":"undefinedField","fieldName":"nope","typeName":"Repository"},"locations":[{"column":6,"line":2}],"message":"Field 'nope' doesn't exist on type 'Repository'","path":["repository","nope"]}]}`},
		{"no such fragment", full, `{...f}`, `{}`,
			`{"errors":[{"locations":[{"column":2,"line":1}],"message":"Fragment f was used, but not defined","path":null}]}`},
		{"fragment within itself", full, `fragment f on Query {...f} {...f}`, `{}`,
			`{"errors":[{"locations":[{"column":22,"line":1}],"message":"Fragment f was used, but not defined","path":null}]}`},
		{"no end", full, `{repository(owner:"acme"`, `{}`,
			`{"errors":[{"locations":[{"column":25,"line":1}],"message":"Parse error: the end"}]}`},
		{"no query", full, `mutation {x}`, `{}`,
			`{"errors":[{"locations":[{"column":1,"line":1}],"message":"Parse error: \"mutation\" where \"fragment\" was expected"}]}`},
		{"nothing", full, ``, `{}`, `{"errors":[{"message":"No operation named \"\""}]}`},
	} {
		query := testkit.Must(json.Marshal(test.query))(t)
		for _, path := range []string{"/graphql", "/api/graphql"} {
			r := ask(t, gh, "POST", path, test.authorization, `{"query":`+string(query)+`,"variables":`+test.variables+`}`)
			if diff := cmp.Diff(test.want+"\n", r.text); r.status != 200 || diff != "" {
				t.Errorf("%s, %s: %d (-want +got)\n%s", test.name, path, r.status, diff)
			}
		}
	}
	for name, test := range map[string]struct {
		method, path, authorization, body string
		status                            int
		says                              string
	}{
		"anonymous": {"POST", "/graphql", "", `{"query":"{__typename}"}`, 401,
			"This endpoint requires you to be authenticated."},
		"an App": {"POST", "/graphql", bearer(t, app), `{"query":"{__typename}"}`, 401,
			"This endpoint requires you to be authenticated."},
		"no JSON":            {"POST", "/graphql", full, `{`, 400, "Problems parsing JSON"},
		"another method":     {"GET", "/graphql", full, "", 404, "Not Found"},
		"below the REST API": {"POST", "/api/v3/graphql", full, `{"query":"{__typename}"}`, 404, "Not Found"},
		"several, one named": {"POST", "/graphql", full,
			`{"query":"query a{__typename} query b{x:__typename}","operationName":"b"}`, 200, `{"data":{"x":"Query"}}`},
	} {
		if r := ask(t, gh, test.method, test.path, test.authorization, test.body); r.status != test.status ||
			!strings.Contains(r.text, test.says) {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
}

// What GraphQL costs does not count against the REST API's hour.
func TestGraphQLHasItsOwnLimit(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	inst := app.Install("acme", githubtest.InstallOptions{All: true})
	secret := "token " + mint(t, gh, app, inst, "")
	gh.SetRateLimit(1)
	const query = `{"query":"{__typename}"}`
	if r := ask(t, gh, "POST", "/graphql", secret, query); r.text != `{"data":{"__typename":"Query"}}`+"\n" ||
		r.header.Get("X-RateLimit-Resource") != "graphql" {
		t.Errorf("%s %v", r.text, r.header)
	}
	if r := ask(t, gh, "GET", "/installation/repositories", secret, ""); r.status != 200 ||
		r.header.Get("X-RateLimit-Resource") != "core" {
		t.Errorf("%d %v", r.status, r.header)
	}
	if r := ask(t, gh, "POST", "/graphql", secret, query); r.status != 200 || !strings.Contains(r.text, "RATE_LIMIT") ||
		r.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("%d %s %v", r.status, r.text, r.header)
	}
	r := ask(t, gh, "GET", "/rate_limit", secret, "")
	if used := r.field("resources").(map[string]any)["graphql"].(map[string]any)["used"]; used != 1.0 {
		t.Errorf("used: %v", used)
	}
}
