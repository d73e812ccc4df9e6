package githubtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The GraphQL API, as far as clients ask it for repositories before they go on with REST or git. The types are those
// of GitHub's schema with the fields that are true of what the stand-in has; it refuses any other field as GitHub does
// one that its schema has not. https://docs.github.com/en/graphql/reference/objects#repository

const (
	graphQLDocs         = "https://docs.github.com/graphql/guides/forming-calls-with-graphql#authenticating-with-graphql"
	graphQLUnknown      = "This endpoint requires you to be authenticated."
	graphQLNoRepository = "Could not resolve to a Repository with the name '%s/%s'."
	graphQLNoNode       = "Could not resolve to a node with the global id of '%s'"
	graphQLManyNodes    = "You may not provide more than %d node ids; you provided %d."
	graphQLNoField      = "Field '%s' doesn't exist on type '%s'"
	graphQLNoFragment   = "Fragment %s was used, but not defined"
	graphQLNoOperation  = "No operation named %q"
)

// maxNodes is how many IDs "nodes" takes.
const maxNodes = 100

// isGraphQL reports whether a request is one to GraphQL, on GitHub.com or on a GitHub Enterprise Server.
func (c *call) isGraphQL() bool { return strings.HasSuffix(c.r.URL.Path, "/graphql") }

// readQuery reads what GraphQL is asked, before it is known whether it will be answered.
func (c *call) readQuery() {
	var asked struct {
		Query         string         `json:"query"`
		OperationName string         `json:"operationName"`
		Variables     map[string]any `json:"variables"`
	}
	if json.Unmarshal(c.body, &asked) != nil {
		return
	}
	q := &query{document: readDocument(asked.Query, asked.Variables)}
	q.fields = q.operations[asked.OperationName]
	if asked.OperationName == "" && len(q.operations) == 1 {
		for _, q.fields = range q.operations {
		}
	}
	if q.fields == nil && q.errors == nil {
		q.errors = []any{map[string]any{"message": fmt.Sprintf(graphQLNoOperation, asked.OperationName)}}
	}
	if q.errors == nil {
		q.count(q.fields, 1)
		if no := q.tooMany(); no != nil {
			q.errors = []any{no}
		}
	}
	c.query = q
}

// graphQL answers POST /graphql, and POST /api/graphql of a GitHub Enterprise Server.
func (c *call) graphQL() answer {
	c.docs = graphQLDocs
	q := c.query
	switch {
	case c.enterprise():
		return c.notFound() // it stands beside /api/v3
	case c.token == nil:
		return c.fail(http.StatusUnauthorized, graphQLUnknown)
	case q == nil:
		return c.fail(http.StatusBadRequest, bodyNotJSON)
	}
	body := map[string]any{}
	if q.errors == nil {
		data := q.object(object{"Query", map[string]resolver{
			"repository": c.queryRepository, "node": c.queryNode, "nodes": c.queryNodes, "rateLimit": c.queryRateLimit,
		}}, q.fields, nil)
		switch {
		case q.void:
			body["data"] = nil
		case !q.invalid:
			body["data"] = data
		}
	}
	if q.errors != nil {
		body["errors"] = q.errors
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

// resolver finds the value of a field: an object, a failure, a list of these, or what JSON has.
type resolver func(arguments map[string]any) any

func is(value any) resolver { return func(map[string]any) any { return value } }

// failure is what is in the place of a value that there is not, or that may not be read: null, and an error.
type failure struct {
	kind, message string
	void          bool // it leaves nothing of the whole answer
}

var forbidden = failure{kind: "FORBIDDEN", message: notAccessible}

// query is the answer to one in the making.
type query struct {
	*document
	fields    []selection // of the operation
	invalid   bool        // a field was asked for that there is not
	void      bool        // there is no data
	requests  int         // of lists, that filling it takes
	nodeCount int         // that it may have
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
		data[s.key] = q.value(find(s.arguments), s, at)
	}
	return data
}

// value is what JSON has for a value.
func (q *query) value(value any, s selection, at []any) any {
	switch value := value.(type) {
	case object:
		return q.object(value, s.fields, at)
	case failure:
		q.void = q.void || value.void
		q.refuse(s, at, map[string]any{"type": value.kind, "message": value.message,
			"extensions": map[string]any{"saml_failure": false}})
		return nil
	case []any:
		list := make([]any, len(value))
		for i := range value {
			list[i] = q.value(value[i], s, append(slices.Clone(at), i))
		}
		return list
	}
	return value
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
	case "Commit", "Tag", "Tree", "Blob", "Repository":
		return kind == o.kind
	}
	return true
}

func (q *query) refuse(s selection, path []any, refusal map[string]any) {
	refusal["path"], refusal["locations"] = path, q.location(s.at)
	q.errors = append(q.errors, refusal)
}
