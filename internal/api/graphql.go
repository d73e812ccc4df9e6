package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
)

// maxGraphQL bounds an answer, which has some 300 bytes for each repository that is asked for.
const maxGraphQL = 4 << 20

// GraphQLError is an error that stands in an answer beside what could be answered
// (https://spec.graphql.org/October2021/#sec-Errors).
type GraphQLError struct {
	Type    string // GitHub's, such as NOT_FOUND; may be empty
	Message string // made printable
	Path    []any  // of the field: strings, and float64 for the places in lists
}

// At reports whether the error is about the field that the path begins with, or about one
// below it. Names are strings, and places in lists are ints.
func (e GraphQLError) At(path ...any) bool {
	if len(e.Path) < len(path) {
		return false
	}
	for i, want := range path {
		got := e.Path[i]
		if place, ok := got.(float64); ok {
			got = int(place)
		}
		if got != want {
			return false
		}
	}
	return true
}

// graphQLAnswer is the answer to one request.
type graphQLAnswer struct {
	Data   json.RawMessage `json:"data"`
	Errors []struct {
		Type    string `json:"type"`
		Message string `json:"message"`
		Path    []any  `json:"path"`
	} `json:"errors"`
}

// limited is the error of an answer that tells of a limit, which GraphQL does under the
// status of a good one, or nil
// (https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api#exceeding-the-rate-limit).
func (g *graphQLAnswer) limited(a arrival, offset time.Duration) error {
	for _, e := range g.Errors {
		secondary := strings.Contains(strings.ToLower(e.Message), "secondary rate limit")
		if e.Type != "RATE_LIMIT" && e.Type != "RATE_LIMITED" && !secondary {
			continue
		}
		text, err := json.Marshal(map[string]string{"message": a.request.withoutCredential(a.sent, e.Message)})
		if err != nil {
			return err
		}
		as := *a.Response
		as.StatusCode = http.StatusForbidden // so that the headers are read as those of a limit
		limit := NewError(&as, text, a.at, offset)
		if limit.Limit == NoLimit { // its headers do not say which
			limit.Limit, limit.Until = PrimaryLimit, a.at.Add(unknownWait)
		}
		*g = graphQLAnswer{} // for the answer to the next attempt
		limit.Method, limit.Path, limit.Status, limit.Offset = a.request.method, a.path, a.StatusCode, a.offset
		return limit
	}
	return nil
}

// GraphQL is POST /graphql, which decodes what could be answered into data, and returns the
// errors that came with it. Where nothing could be answered, the error is an *[Error] with
// the first of their messages.
func (c *Client) GraphQL(ctx context.Context, token secret.Text, query string, variables map[string]any,
	data any) ([]GraphQLError, error) {
	body := map[string]any{"query": query}
	if len(variables) > 0 {
		body["variables"] = variables
	}
	r := request{method: http.MethodPost, path: "/graphql", auth: WithToken(token), body: body, most: maxGraphQL}
	if base, ok := strings.CutSuffix(c.Host.API, "/api/v3"); ok { // beside the REST API of a GitHub Enterprise Server
		r.root = base + "/api"
	}
	var got graphQLAnswer
	answer, err := c.do(ctx, r, &got)
	if err != nil {
		return nil, err
	}
	var errs []GraphQLError
	for _, e := range got.Errors {
		message := strings.ReplaceAll(e.Message, token.Reveal(), secret.Placeholder)
		errs = append(errs, GraphQLError{Type: printable(e.Type, 80), Message: printable(message, 500), Path: e.Path})
	}
	if len(got.Data) == 0 || string(got.Data) == "null" {
		refusal := &Error{Method: r.method, Path: r.path, Status: http.StatusOK,
			RequestID: printable(answer.Header.Get("X-GitHub-Request-Id"), 80)}
		if len(errs) > 0 {
			refusal.Message = errs[0].Message
		}
		return errs, refusal
	}
	if json.Unmarshal(got.Data, data) != nil {
		return errs, &BodyError{r.method, r.path, fmt.Sprintf("its data is not what was asked for by %T", data)}
	}
	return errs, nil
}
