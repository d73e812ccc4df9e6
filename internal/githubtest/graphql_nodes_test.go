package githubtest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// graphQL asks as a token, and returns the answer without what is told of where in the query an error is.
func graphQL(t *testing.T, gh *githubtest.GitHub, secret, query string, variables map[string]any) (
	map[string]any, reply) {
	t.Helper()
	body := testkit.Must(json.Marshal(map[string]any{"query": query, "variables": variables}))(t)
	r := ask(t, gh, "POST", "/graphql", "token "+secret, string(body))
	testkit.Equal(t, r.status, 200, "%s", r.text)
	var a map[string]any
	testkit.OK(t, json.Unmarshal([]byte(r.text), &a))
	errors, _ := a["errors"].([]any)
	for _, e := range errors {
		delete(e.(map[string]any), "locations")
		delete(e.(map[string]any), "extensions")
	}
	return a, r
}

// nodeIDs are as REST tells them.
func nodeIDs(t *testing.T, gh *githubtest.GitHub, secret string) map[string]any {
	t.Helper()
	ids := map[string]any{}
	r := ask(t, gh, "GET", "/installation/repositories?per_page=100", "token "+secret, "")
	for _, repository := range r.field("repositories").([]any) {
		body := repository.(map[string]any)
		ids[body["name"].(string)] = body["node_id"]
	}
	return ids
}

func TestNodesAnswerInOrderForThoseThatTheTokenReaches(t *testing.T) {
	w := newGitWorld(t)
	gh := w.gh
	gh.AddRepository("acme/empty", githubtest.RepositoryOptions{Internal: true, Archived: true, Fork: true, NoWiki: true,
		Topics: []string{"a", "b"}, SizeKB: 12, PushedAt: time.Unix(1e9, 0)})
	gh.AddRepository("acme/other", githubtest.RepositoryOptions{})
	gh.AddRepository("acme/shut", githubtest.RepositoryOptions{Blocked: true})
	ids := nodeIDs(t, gh, w.mint(t, ""))
	secret := w.mint(t, `{"repositories":["site","empty","shut"],"permissions":{"contents":"read"}}`)
	got, _ := graphQL(t, gh, secret, `query($a: [ID!]!, $b: [ID!]!) {
		a: nodes(ids: $a) { ...R } b: nodes(ids: $b) { __typename id } node(id: "R_x") { id }
	}
	fragment R on Repository { nameWithOwner databaseId pushedAt isArchived isFork isPrivate visibility diskUsage
		hasWikiEnabled repositoryTopics(first: 1) { totalCount nodes { topic { name } } }
		defaultBranchRef { name target { oid } } }`,
		map[string]any{"a": []any{ids["other"], ids["empty"], ids["site"], ids["shut"]}, "b": []any{"nonsense"}})
	data := got["data"].(map[string]any)
	list := data["a"].([]any)
	testkit.Equal(t, list[0], nil, "not the token's")
	testkit.Equal(t, list[3], nil, "blocked")
	want := map[string]any{"nameWithOwner": "acme/empty", "databaseId": float64(gh.Repository("acme/empty").ID),
		"pushedAt": "2001-09-09T01:46:40Z", "isArchived": true, "isFork": true, "isPrivate": true, "visibility": "INTERNAL",
		"diskUsage": 12.0, "hasWikiEnabled": false, "defaultBranchRef": nil, "repositoryTopics": map[string]any{
			"totalCount": 2.0, "nodes": []any{map[string]any{"topic": map[string]any{"name": "a"}}}}}
	if diff := cmp.Diff(want, list[1]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	site := list[2].(map[string]any)["defaultBranchRef"]
	if diff := cmp.Diff(map[string]any{"name": "main", "target": map[string]any{"oid": w.heads[1]}}, site); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	no := func(kind, id string, path ...any) any {
		return map[string]any{"type": kind, "path": path,
			"message": "Could not resolve to a node with the global id of '" + id + "'"}
	}
	if diff := cmp.Diff([]any{
		no("NOT_FOUND", ids["other"].(string), "a", 0.0),
		map[string]any{"type": "FORBIDDEN", "path": []any{"a", 3.0}, "message": "Repository access blocked"},
		no("NOT_FOUND", "nonsense", "b", 0.0), no("NOT_FOUND", "R_x", "node"),
	}, got["errors"]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNodesTakeAHundred(t *testing.T) {
	dir := t.TempDir()
	gh := testkit.Must(githubtest.New(githubtest.Options{Dir: dir}))(t)
	t.Cleanup(func() { gh.Close() })
	app := newApp(t, gh, githubtest.AppOptions{})
	for i := range 100 {
		gh.AddRepository(fmt.Sprintf("acme/r%d", i), githubtest.RepositoryOptions{})
	}
	secret := mint(t, gh, app, app.Install("acme", githubtest.InstallOptions{All: true}), "")
	var ids []any
	for _, id := range nodeIDs(t, gh, secret) {
		ids = append(ids, id)
	}
	const query = `query($ids: [ID!]!) {
		x: nodes(ids: $ids) { ... on Repository { defaultBranchRef { target { oid } }
			refs(refPrefix: "refs/heads/", first: 100) { totalCount } } }
		y: nodes(ids: $ids) { ... on Repository { refs(refPrefix: "refs/tags/", first: 100) { nodes { name } } } }
		rateLimit { cost limit remaining used nodeCount }
	}`
	got, r := graphQL(t, gh, secret, query, map[string]any{"ids": ids})
	data := got["data"].(map[string]any)
	testkit.Equal(t, len(data["x"].([]any))+len(data["y"].([]any)), 200, "nodes")
	want := map[string]any{"cost": 2.0, "limit": 5000.0, "remaining": 4998.0, "used": 2.0, "nodeCount": 20200.0}
	if diff := cmp.Diff(want, data["rateLimit"]); diff != "" || got["errors"] != nil {
		t.Errorf("errors %v, -want +got\n%s", got["errors"], diff)
	}
	testkit.Equal(t, r.header.Get("X-RateLimit-Remaining"), "4998", "remaining")
	testkit.Equal(t, len(testkit.Must(os.ReadDir(dir))(t)), 0, "repositories on the disk")

	got, _ = graphQL(t, gh, secret, `query($ids: [ID!]!) { __typename x: nodes(ids: $ids) { id } }`,
		map[string]any{"ids": append(ids, ids[0])})
	if diff := cmp.Diff(map[string]any{"data": nil, "errors": []any{map[string]any{"type": "ARGUMENT_LIMIT",
		"path": []any{"x"}, "message": "You may not provide more than 100 node ids; you provided 101."}}}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestGraphQLRefsByThePage(t *testing.T) {
	w := newGitWorld(t)
	refs := map[string]string{}
	for i := range 150 {
		refs[fmt.Sprintf("refs/heads/b%03d", i)] = w.heads[0]
	}
	testkit.OK(t, w.repo.SetRefs(refs))
	testkit.Must(w.repo.AnnotateTag("v1", w.heads[1], "one"))(t)
	secret := w.mint(t, "")
	const query = `query($after: String) { repository(owner: "acme", name: "site") {
		refs(refPrefix: "refs/heads/", first: 100, after: $after) {
			totalCount nodes { name prefix target { __typename oid } } pageInfo { hasNextPage endCursor } }
		tags: refs(refPrefix: "refs/tags/", first: 1) { edges { node { target { ... on Tag { target { oid } } } } } } } }`
	var names []string
	var after any
	for range 2 {
		got, _ := graphQL(t, w.gh, secret, query, map[string]any{"after": after})
		repository := got["data"].(map[string]any)["repository"].(map[string]any)
		list := repository["refs"].(map[string]any)
		testkit.Equal(t, list["totalCount"], any(151.0), "refs")
		for _, node := range list["nodes"].([]any) {
			ref := node.(map[string]any)
			names = append(names, ref["name"].(string))
			if target := ref["target"].(map[string]any); target["__typename"] != "Commit" || len(target["oid"].(string)) != 40 {
				t.Errorf("%v", ref)
			}
		}
		after = list["pageInfo"].(map[string]any)["endCursor"]
		testkit.Contains(t, fmt.Sprint(repository["tags"]), "oid:"+w.heads[1])
	}
	if len(names) != 151 || names[0] != "b000" || names[150] != "main" {
		t.Errorf("%d: %v", len(names), names)
	}
	for query, says := range map[string]string{
		`refs(refPrefix: "refs/heads/") { nodes { name } }`:                                "You must provide a `first` or `last` value to properly paginate the `refs` connection.",
		`refs(refPrefix: "refs/heads/", first: 101) { nodes { name } }`:                    "Requesting 101 records on the `refs` connection exceeds the `first` limit of 100 records.",
		`refs(refPrefix: "refs/heads/", first: 1, after: "nonsense") { totalCount }`:       "`nonsense` does not appear to be a valid cursor.",
		`refs(first: 100) { nodes { a: refs(first: 100) { b: refs(first: 100) { c } } } }`: "This query requests up to 1010100 possible nodes which exceeds the maximum limit of 500000.",
	} {
		got, _ := graphQL(t, w.gh, secret, `{ repository(owner: "acme", name: "site") { `+query+` } }`, nil)
		testkit.Contains(t, fmt.Sprint(got["errors"]), says)
	}
}

func TestWhatGraphQLMaySpend(t *testing.T) {
	w := newGitWorld(t)
	secret := w.mint(t, "")
	w.gh.SetGraphQLLimit(3)
	w.inst.Spend("graphql", 2)
	const query = `{ rateLimit { remaining } }`
	got, _ := graphQL(t, w.gh, secret, query, nil)
	testkit.Contains(t, fmt.Sprint(got), "remaining:0")
	got, r := graphQL(t, w.gh, secret, query, nil)
	if r.header.Get("X-RateLimit-Remaining") != "0" || got["data"] != nil ||
		!strings.Contains(fmt.Sprint(got), "API rate limit already exceeded for installation ID") {
		t.Errorf("%s %v", r.text, r.header)
	}
	testkit.Equal(t, ask(t, w.gh, "GET", "/installation/repositories", "token "+secret, "").
		header.Get("X-RateLimit-Remaining"), "4999", "of REST")
	w.gh.SetRateLimit(5000)
	testkit.OK(t, w.gh.Fault(githubtest.GraphQLSecondaryLimit("POST /graphql", time.Minute)))
	got, r = graphQL(t, w.gh, secret, query, nil)
	testkit.Equal(t, r.header.Get("Retry-After"), "60", "Retry-After")
	testkit.Contains(t, fmt.Sprint(got["errors"]), "secondary rate limit")
}
