package githubtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The GraphQL API, as far as clients ask it for a repository before they go on with REST or git. The types are those
// of GitHub's schema with the fields that are true of what the stand-in has; it refuses any other field as GitHub does
// one that its schema has not. https://docs.github.com/en/graphql/reference/objects#repository

const (
	graphQLDocs         = "https://docs.github.com/graphql/guides/forming-calls-with-graphql#authenticating-with-graphql"
	graphQLUnknown      = "This endpoint requires you to be authenticated."
	graphQLNoRepository = "Could not resolve to a Repository with the name '%s/%s'."
	graphQLNoField      = "Field '%s' doesn't exist on type '%s'"
	graphQLNoFragment   = "Fragment %s was used, but not defined"
	graphQLNoOperation  = "No operation named %q"
)

// graphQL answers POST /graphql, and POST /api/graphql of a GitHub Enterprise Server.
func (c *call) graphQL() answer {
	c.docs = graphQLDocs
	var asked struct {
		Query         string         `json:"query"`
		OperationName string         `json:"operationName"`
		Variables     map[string]any `json:"variables"`
	}
	switch {
	case c.enterprise():
		return c.notFound() // it stands beside /api/v3
	case c.token == nil:
		return c.fail(http.StatusUnauthorized, graphQLUnknown)
	case json.Unmarshal(c.body, &asked) != nil:
		return c.fail(http.StatusBadRequest, bodyNotJSON)
	}
	d := readDocument(asked.Query, asked.Variables)
	fields, ok := d.operations[asked.OperationName]
	if asked.OperationName == "" && len(d.operations) == 1 {
		for _, fields = range d.operations {
			ok = true
		}
	}
	if !ok && d.errors == nil {
		d.errors = []any{map[string]any{"message": fmt.Sprintf(graphQLNoOperation, asked.OperationName)}}
	}
	body := map[string]any{}
	if d.errors == nil {
		q := query{document: d}
		data := q.object(object{"Query", map[string]resolver{"repository": c.queryRepository}}, fields, nil)
		if !q.invalid {
			body["data"] = data
		}
	}
	if d.errors != nil {
		body["errors"] = d.errors
	}
	return graphQLAnswer(body)
}

func graphQLAnswer(body map[string]any) answer {
	a := answer{status: http.StatusOK, header: http.Header{}, body: body}
	a.header.Set("X-GitHub-Media-Type", "github.v4; format=json")
	return a
}

// object is a value of a type that has fields.
type object struct {
	kind   string
	fields map[string]resolver
}

// resolver finds the value of a field: an object, a list of them, or what JSON has. With an error, its kind comes
// before its text.
type resolver func(arguments map[string]any) (value any, kind, message string)

func is(value any) resolver {
	return func(map[string]any) (any, string, string) { return value, "", "" }
}

// query is the answer to one in the making.
type query struct {
	*document
	invalid bool // a field was asked for that there is not
}

// object finds the fields that are asked for of an object.
func (q *query) object(o object, fields []selection, path []any) map[string]any {
	data := map[string]any{}
	for _, s := range fields {
		if s.field == "" {
			maps.Copy(data, q.fragment(o, s, path))
			continue
		}
		at := append(slices.Clone(path), s.key)
		find := o.fields[s.field]
		if s.field == "__typename" {
			find = is(o.kind)
		}
		if find == nil {
			q.invalid = true
			q.refuse(s, at, map[string]any{
				"message":    fmt.Sprintf(graphQLNoField, s.field, o.kind),
				"extensions": map[string]any{"code": "undefinedField", "typeName": o.kind, "fieldName": s.field},
			})
			continue
		}
		value, kind, message := find(s.arguments)
		if message != "" {
			q.refuse(s, at, map[string]any{"type": kind, "message": message,
				"extensions": map[string]any{"saml_failure": false}})
		}
		if inner, ok := value.(object); ok {
			value = q.object(inner, s.fields, at)
		}
		data[s.key] = value
	}
	return data
}

// fragment finds the fields of a fragment, which stands here or elsewhere.
func (q *query) fragment(o object, s selection, path []any) map[string]any {
	if s.fragment == "" {
		if !o.is(s.on) {
			return nil
		}
		return q.object(o, s.fields, path)
	}
	f, known := q.fragments[s.fragment]
	if !known {
		q.invalid = true
		q.refuse(s, path, map[string]any{"message": fmt.Sprintf(graphQLNoFragment, s.fragment)})
		return nil
	}
	delete(q.fragments, s.fragment) // one within itself would have no end
	defer func() { q.fragments[s.fragment] = f }()
	if !o.is(f.on) {
		return nil
	}
	return q.object(o, f.fields, path)
}

// is reports whether the fields of a type can be asked for of an object: those of its own type, and of the interfaces,
// which are not told apart. What git has is of one of four types.
func (o object) is(kind string) bool {
	switch kind {
	case "Commit", "Tag", "Tree", "Blob":
		return kind == o.kind
	}
	return true
}

func (q *query) refuse(s selection, path []any, refusal map[string]any) {
	refusal["path"], refusal["locations"] = path, q.location(s.at)
	q.errors = append(q.errors, refusal)
}

func (c *call) queryRepository(arguments map[string]any) (any, string, string) {
	owner, _ := arguments["owner"].(string)
	name, _ := arguments["name"].(string)
	r, _ := c.gh.find(owner, name)
	switch {
	case r == nil || !r.options.Public && !c.token.covers(r):
		return nil, "NOT_FOUND", fmt.Sprintf(graphQLNoRepository, owner, name)
	case r.owner.allowList:
		return nil, "FORBIDDEN", fmt.Sprintf(allowListRefusal, r.owner.Login)
	case !r.options.Public && !c.token.may("metadata", "read"):
		return nil, "FORBIDDEN", notAccessible
	}
	body := c.repositoryBody(r, c.token)
	contents := func(find resolver) resolver {
		if !r.options.Public && !c.token.may("contents", "read") {
			return func(map[string]any) (any, string, string) { return nil, "FORBIDDEN", notAccessible }
		}
		return find
	}
	return object{"Repository", map[string]resolver{
		"id": is(body["node_id"]), "databaseId": is(r.ID), "name": is(r.name), "nameWithOwner": is(r.fullName()),
		"owner": is(object{string(r.owner.Kind),
			map[string]resolver{"id": is(c.userBody(r.owner)["node_id"]), "login": is(r.owner.Login)}}),
		"description": is(body["description"]), "url": is(body["html_url"]), "sshUrl": is(body["ssh_url"]),
		"isPrivate": is(!r.options.Public), "isArchived": is(r.options.Archived), "isFork": is(false), "parent": is(nil),
		"hasIssuesEnabled": is(true), "hasWikiEnabled": is(true),
		"mergeCommitAllowed": is(true), "rebaseMergeAllowed": is(true), "squashMergeAllowed": is(true),
		"viewerPermission": is(nil), // of people alone
		"isEmpty":          func(map[string]any) (any, string, string) { return c.isEmpty(r), "", "" },
		"defaultBranchRef": contents(
			func(map[string]any) (any, string, string) {
				return c.queryRef(r, "refs/heads/"+r.options.DefaultBranch), "", ""
			}),
		"ref": contents(func(arguments map[string]any) (any, string, string) {
			name, _ := arguments["qualifiedName"].(string)
			return c.queryRef(r, name), "", ""
		}),
		"issues":       c.none(r, "Issue", "issues"),
		"pullRequests": c.none(r, "PullRequest", "pull_requests"),
		"releases":     c.none(r, "Release", "contents"),
	}}, "", ""
}

// none is a list, for who may read it, of what the stand-in has none of.
func (c *call) none(r *Repository, kind, permission string) resolver {
	if !r.options.Public && !c.token.may(permission, "read") {
		return func(map[string]any) (any, string, string) { return nil, "FORBIDDEN", notAccessible }
	}
	return is(object{kind + "Connection", map[string]resolver{
		"totalCount": is(0), "nodes": is([]any{}), "edges": is([]any{}),
		"pageInfo": is(object{"PageInfo", map[string]resolver{
			"hasNextPage": is(false), "hasPreviousPage": is(false), "startCursor": is(nil), "endCursor": is(nil),
		}}),
	}})
}

// read asks git of a repository, whose lock is taken without the GitHub's own. What there is not is "".
func (c *call) read(r *Repository, command string, args ...string) string {
	c.gh.mu.Unlock()
	defer c.gh.mu.Lock()
	r.files.Lock()
	defer r.files.Unlock()
	if !r.ready || r.make() != nil {
		return ""
	}
	out, err := r.run(nil, command, args...)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

func (c *call) isEmpty(r *Repository) bool { return c.read(r, "for-each-ref", "--count=1") == "" }

// queryRef is a ref by its full name, or nil. https://docs.github.com/en/graphql/reference/objects#ref
func (c *call) queryRef(r *Repository, full string) any {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		name, ok := strings.CutPrefix(full, prefix)
		if !ok || name == "" {
			continue
		}
		if oid := c.read(r, "rev-parse", "--verify", "--quiet", full); oid != "" {
			return object{"Ref", map[string]resolver{"name": is(name), "prefix": is(prefix), "target": c.queryObject(r, oid)}}
		}
	}
	return nil
}

// queryObject is one of git's. https://docs.github.com/en/graphql/reference/interfaces#gitobject
func (c *call) queryObject(r *Repository, oid string) resolver {
	return func(map[string]any) (any, string, string) {
		kinds := map[string]string{"commit": "Commit", "tag": "Tag", "tree": "Tree", "blob": "Blob"}
		kind := kinds[c.read(r, "cat-file", "-t", oid)]
		fields := map[string]resolver{"oid": is(oid), "abbreviatedOid": is(oid[:7])}
		if kind == "Tag" {
			to, _, _ := strings.Cut(c.read(r, "cat-file", "tag", oid), "\n")
			fields["target"] = c.queryObject(r, strings.TrimPrefix(to, "object "))
		}
		return object{kind, fields}, "", ""
	}
}
