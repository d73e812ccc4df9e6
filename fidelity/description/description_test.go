package description

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// api is a description of the form of GitHub's.
const api = `{
  "openapi": "3.0.3",
  "info": {"title": "test", "version": "1"},
  "paths": {
    "/things/{id}": {
      "post": {
        "parameters": [
          {"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}},
          {"name": "page", "in": "query", "schema": {"type": "integer"}}
        ],
        "requestBody": {"content": {"application/json": {"schema": {
          "type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}
        }}}},
        "responses": {
          "200": {"description": "", "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/thing"}}}},
          "204": {"description": ""},
          "301": {"description": "", "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/thing"}}}}
        }
      },
      "delete": {"responses": {"204": {"description": ""}},
        "x-github-breaking-changes": [{"version": "2026-03-10",
          "patch": {"responses": {"202": {"description": ""}, "204": null}}}]}
    },
    "/broken": {"get": {"responses": {"200": {"$ref": "#/components/responses/gone"}}}},
    "/deep": {"get": {"responses": {"200": {"description": "", "x-github-breaking-changes": []}}}}
  },
  "components": {"schemas": {
    "basic-error": {"type": "object", "properties": {"message": {"type": "string"}}},
    "thing": {
      "type": "object", "required": ["id", "old"],
      "properties": {
        "id": {"type": "integer"}, "old": {"type": "boolean"}, "url": {"type": "string", "format": "uri"},
        "made": {"type": "string", "format": "date-time"},
        "of": {"anyOf": [
          {"type": "object", "required": ["login"], "properties": {"login": {"type": "string"}}},
          {"type": "object", "required": ["slug"], "properties": {"slug": {"type": "string"}}}
        ]},
        "free": {"type": "object"},
        "map": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/thing"}}
      },
      "x-github-breaking-changes": [
        {"version": "2026-03-10", "patch": {"properties": {"old": null}, "required": ["id"]}},
        {"version": "2026-03-10", "patch": [{"op": "remove", "path": "/properties/made"}]}
      ]
    }
  }}
}`

const post, remove = "POST /things/{id}", "DELETE /things/{id}"

// file writes and reads a description.
func file(t *testing.T, text string) *File {
	t.Helper()
	f := testkit.Must(Read(write(t, text)))(t)
	return f
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "api.json")
	testkit.OK(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func load(t *testing.T, version string) *Description {
	t.Helper()
	d := testkit.Must(file(t, api).Describe(version, "/api/v3", []string{post, remove}, nil))(t)
	return d
}

func exchange(t *testing.T, path, request string, status int, body string) *Exchange {
	t.Helper()
	u := testkit.Must(url.Parse("http://127.0.0.1/api/v3" + path))(t)
	x := &Exchange{Method: "POST", URL: u, RequestHeader: http.Header{}, RequestBody: []byte(request), Status: status,
		Header: http.Header{}, Body: []byte(body)}
	if request != "" {
		x.RequestHeader.Set("Content-Type", "application/json")
	}
	if body != "" {
		x.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	return x
}

// want compares an error with a part of its text; "" is no error.
func want(t *testing.T, err error, part string) {
	t.Helper()
	switch {
	case part == "" && err != nil:
		t.Errorf("refused: %v", err)
	case part != "" && (err == nil || !strings.Contains(err.Error(), part)):
		t.Errorf("error %v, want one with %q", err, part)
	}
}

func TestCheckRequest(t *testing.T) {
	d := load(t, firstVersion)
	for _, c := range []struct{ name, path, body, problem string }{
		{"as described", "/things/1?page=2", `{"names":["a"]}`, ""},
		{"no body", "/things/1", "", ""},
		{"no such operation", "/nothing", "", "no matching operation"},
		{"trailing slash", "/things/1/", "", "no matching operation"},
		{"path parameter of the wrong type", "/things/x", "", `parameter "id" in path`},
		{"query parameter of the wrong type", "/things/1?page=x", "", `parameter "page" in query`},
		{"query parameter not described", "/things/1?pages=2", "", "query parameter pages"},
		{"field of the wrong type", "/things/1", `{"names":"a"}`, "must be an array"},
		{"field not described", "/things/1", `{"name":["a"]}`, "field /name"},
		{"not an object", "/things/1", `null`, "null"},
		{"not JSON", "/things/1", `{`, "JSON"},
	} {
		t.Run(c.name, func(t *testing.T) { want(t, d.CheckRequest(exchange(t, c.path, c.body, 204, "")), c.problem) })
	}
	untyped := exchange(t, "/things/1", `{}`, 204, "")
	untyped.RequestHeader.Del("Content-Type")
	want(t, d.CheckRequest(untyped), "Content-Type")
	withBody := exchange(t, "/things/1", `{}`, 204, "")
	withBody.Method = "DELETE"
	want(t, d.CheckRequest(withBody), "body not allowed")
}

func TestCheckResponse(t *testing.T) {
	d := load(t, firstVersion)
	for _, c := range []struct {
		name    string
		status  int
		body    string
		problem string
	}{
		{"as described", 200, `{"id":1,"old":true,"url":"http://127.0.0.1/x","made":"2026-01-02T03:04:05Z"}`, ""},
		{"either of two", 200, `{"id":1,"old":true,"of":{"slug":"s"}}`, ""},
		{"neither of two", 200, `{"id":1,"old":true,"of":{}}`, "anyOf"},
		{"any field where none is named", 200, `{"id":1,"old":true,"free":{"x":1}}`, ""},
		{"any name in a map", 200, `{"id":1,"old":true,"map":{"x":"y"}}`, ""},
		{"wrong value in a map", 200, `{"id":1,"old":true,"map":{"x":1}}`, "must be a string"},
		{"required field missing", 200, `{"id":1}`, `"old" is missing`},
		{"field of the wrong type", 200, `{"id":"1","old":true}`, "must be an integer"},
		{"field not described", 200, `{"id":1,"old":true,"new":1}`, "field /new"},
		{"field not described, deep", 200, `{"id":1,"old":true,"parts":[{"id":2,"old":true,"of":{"login":"l","x":1}}]}`,
			"field /parts/0/of/x"},
		{"not a date", 200, `{"id":1,"old":true,"made":"yesterday"}`, "date-time"},
		{"not a URI", 200, `{"id":1,"old":true,"url":"/x"}`, "not a URI"},
		{"template in place of a URI", 200, `{"id":1,"old":true,"url":"http://127.0.0.1/x{/y}"}`, "not a URI"},
		{"redirect of another form", 301, `{"id":1}`, `"old" is missing`},
		{"redirect with a field not described", 301, `{"id":1,"old":true,"new":1}`, "field /new"},
		{"empty where a body is described", 200, ``, "media type"},
		{"body where none is described", 204, `{}`, "a body of 2 bytes"},
		{"status not described", 418, `{"message":"no"}`, "418"},
		{"status not described, of another form", 418, `{"error":"no"}`, "field /error"},
		{"not JSON", 200, `<html>`, "invalid character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := d.CheckResponse(exchange(t, "/things/1", "", c.status, c.body))
			want(t, err, c.problem)
			if c.status == 418 && !errors.Is(err, ErrStatus) {
				t.Errorf("error %v is not ErrStatus", err)
			}
		})
	}
	html := exchange(t, "/things/1", "", 200, `{"id":1,"old":true}`)
	html.Header.Set("Content-Type", "text/html")
	want(t, d.CheckResponse(html), "text/html")
}

func TestVersionChangesWhatIsDescribed(t *testing.T) {
	first, later := load(t, firstVersion), load(t, "2026-03-10")
	old := exchange(t, "/things/1", "", 200, `{"id":1,"old":true,"parts":[]}`)
	young := exchange(t, "/things/1", "", 200, `{"id":1}`)
	made := exchange(t, "/things/1", "", 200, `{"id":1,"made":"2026-01-02T03:04:05Z"}`)
	want(t, first.CheckResponse(old), "")
	want(t, first.CheckResponse(young), `"old" is missing`)
	want(t, later.CheckResponse(young), "")
	want(t, later.CheckResponse(old), "field /old")
	want(t, later.CheckResponse(made), "field /made")
	testkit.Diff(t, first.Statuses(remove), []int{204})
	testkit.Diff(t, later.Statuses(remove), []int{202})
}

func TestOperation(t *testing.T) {
	d := load(t, firstVersion)
	testkit.Equal(t, d.Operation(exchange(t, "/things/1", "", 0, "")), post, "operation")
	testkit.Equal(t, d.Operation(exchange(t, "/thing", "", 0, "")), "", "operation")
	if got := d.Statuses(post); !slices.Equal(got, []int{200, 204, 301}) {
		t.Errorf("statuses %v", got)
	}
}

func TestCorrection(t *testing.T) {
	correct := func(of, patch string) (*Description, error) {
		return file(t, api).Describe(firstVersion, "/api/v3", []string{post},
			[]Correction{{Of: of, Patch: patch, Why: "wrong"}})
	}
	const mend = `[{"op":"test","path":"/required/1","value":"old"},{"op":"remove","path":"/required/1"}]`
	young := exchange(t, "/things/1", "", 200, `{"id":1}`)
	d, err := correct("schemas/thing", mend)
	testkit.OK(t, err)
	want(t, d.CheckResponse(young), "")
	d = testkit.Must(correct(post, `[{"op":"remove","path":"/responses/204"}]`))(t)
	if got := d.Statuses(post); !slices.Equal(got, []int{200, 301}) {
		t.Errorf("statuses %v", got)
	}
	_, err = correct("schemas/thing", strings.Replace(mend, "old", "new", 1))
	want(t, err, "correction of schemas/thing")
	_, err = correct(remove, mend)
	want(t, err, "not in use")
}

func TestOperations(t *testing.T) {
	want := []string{"DELETE /things/{id}", "GET /broken", "GET /deep", "POST /things/{id}"}
	testkit.Diff(t, file(t, api).Operations(), want)
}

func TestReadFails(t *testing.T) {
	for text, problem := range map[string]string{`{}`: "no operation", `{"paths":{}}`: "no operation", ``: "JSON"} {
		_, err := Read(write(t, text))
		want(t, err, problem)
	}
	_, err := Read(filepath.Join(t.TempDir(), "api.json"))
	want(t, err, "no such file")
}

func TestDescribeFails(t *testing.T) {
	for _, c := range []struct {
		name, version string
		operations    []string
		problem       string
	}{
		{"no operation", firstVersion, nil, "no operation"},
		{"operation that is not there", firstVersion, []string{"GET /things/{id}"}, "no operation GET /things/{id}"},
		{"version that is not there", "2030-01-01", []string{post}, "2030-01-01"},
		{"component that is not there", firstVersion, []string{"GET /broken"}, "responses/gone"},
		{"change that would be missed", "2026-03-10", []string{"GET /deep"}, "deeper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := file(t, api).Describe(c.version, "", c.operations, nil)
			want(t, err, c.problem)
		})
	}
}
