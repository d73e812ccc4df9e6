package refs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
)

// Question is one of many that are asked together.
type Question struct {
	Repository ghapp.RepositoryName
	Revision   Revision
}

// Answer is that to one Question.
type Answer struct {
	Found Found
	Err   error // the errors of [Asker.Ask]; [ErrUnsupported] where that has to be asked
}

// GraphQL asks GitHub's GraphQL API for the repositories of one installation
// (https://docs.github.com/en/graphql/reference/objects#repository). It is safe for
// concurrent use.
type GraphQL struct {
	// Source gives the token, which is to reach just the repositories that are asked
	// for. Required.
	Source ghapp.TokenSource
	// Transport sends the requests. Nil: net/http's.
	Transport http.RoundTripper
}

const (
	// maxQuestions is how many repositories one request is about. It has no connection
	// in it and so costs one point of the hour's 5,000; more than about a hundred
	// aliases meet GitHub's other limits on what a request may need.
	maxQuestions = 100
	// maxGraphQL bounds an answer, which has some 300 bytes for each repository.
	maxGraphQL = 4 << 20
)

// Ask returns an answer to each of the questions, in their order. Up to 100 are one
// request. What is no branch, tag or default branch is not asked for here: a version
// needs every tag there is. The error means that there are no answers, and is a
// [*ghapp.Error] or that of ctx. A wiki is not asked for either: GraphQL knows none.
func (g *GraphQL) Ask(ctx context.Context, questions []Question) ([]Answer, error) {
	answers := make([]Answer, len(questions))
	var asked []int // the questions that GitHub is asked
	for i, q := range questions {
		_, err := ghapp.ParseRepository(q.Repository.String())
		switch {
		case err != nil:
			answers[i].Err = err
		case q.Revision.Validate() != nil:
			answers[i].Err = q.Revision.Validate()
		case q.Revision.Commit != "":
			answers[i].Found = Found{Repository: q.Repository, Commit: strings.ToLower(q.Revision.Commit)}
		case q.Repository.Wiki:
			answers[i].Err = fmt.Errorf("%w: a wiki is not asked for by GraphQL", ErrUnsupported)
		case q.Revision.Version != "":
			answers[i].Err = fmt.Errorf("%w: a version is not asked for by GraphQL", ErrUnsupported)
		default:
			asked = append(asked, i)
		}
	}
	for some := range slices.Chunk(asked, maxQuestions) {
		if err := g.ask(ctx, questions, answers, some); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// The shape of the answer.
type (
	gqlObject struct {
		Type   string     `json:"__typename"`
		OID    string     `json:"oid"`
		Target *gqlObject `json:"target"` // of a Tag
	}
	gqlRef struct {
		Prefix string     `json:"prefix"`
		Name   string     `json:"name"`
		Target *gqlObject `json:"target"`
	}
	gqlRepository struct {
		NameWithOwner string  `json:"nameWithOwner"`
		IsEmpty       bool    `json:"isEmpty"`
		Ref           *gqlRef `json:"ref"`
	}
	gqlError struct {
		Type    string `json:"type"`
		Message string `json:"message"`
		Path    []any  `json:"path"`
	}
	gqlAnswer struct {
		Data   map[string]*gqlRepository `json:"data"`
		Errors []gqlError                `json:"errors"`
	}
)

// query asks for some of the questions, each under a name of its own. A tag may point to
// a tag, as deep as is asked for here and no deeper.
func query(questions []Question, some []int) string {
	var b strings.Builder
	b.WriteString("{")
	for n, i := range some {
		q := questions[i]
		ref := "defaultBranchRef"
		if full := q.Revision.ref(); full != head {
			ref = "ref(qualifiedName:" + quote(full) + ")"
		}
		fmt.Fprintf(&b, "%s:repository(owner:%s,name:%s){nameWithOwner isEmpty ref:%s{...r}}", alias(n),
			quote(q.Repository.Owner), quote(q.Repository.Name), ref)
	}
	b.WriteString("}fragment r on Ref{prefix name target{__typename oid " +
		"...on Tag{target{__typename oid ...on Tag{target{__typename oid}}}}}}")
	return b.String()
}

func alias(n int) string { return fmt.Sprintf("r%d", n) }

// quote writes a text as GraphQL has it, which is JSON's form.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""` // a string can always be written
	}
	return string(quoted)
}

// ask makes one request.
func (g *GraphQL) ask(ctx context.Context, questions []Question, answers []Answer, some []int) error {
	op := fmt.Sprintf("ask for the refs of %d repositories", len(some))
	token, err := g.Source.Token(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"query": query(questions, some)})
	if err != nil {
		return err
	}
	timed, cancel := context.WithTimeoutCause(ctx, requestTimeout, errors.New("no answer within "+requestTimeout.String()))
	defer cancel()
	req, err := http.NewRequestWithContext(timed, http.MethodPost, endpoint(token.API), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ghapp")
	// Not by an http.Client, which would follow redirects.
	transport := &ghapp.Transport{Source: g.Source, Base: g.Transport}
	x := &errorContext{op: op, origin: origin(token.API), token: token}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return x.unreachable(ctx, timed, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxGraphQL+1))
	if err != nil {
		return x.unreachable(ctx, timed, err)
	}
	var got gqlAnswer
	switch {
	case answer.StatusCode != http.StatusOK:
		return x.refused(answer, text)
	case api.Foreign(answer, text) != nil:
		return x.refused(answer, text)
	case len(text) > maxGraphQL || json.Unmarshal(text, &got) != nil:
		return &ghapp.Error{
			Kind: ghapp.ErrUnreachable, Op: op, Err: errors.New("the answer is not that of GitHub's GraphQL API"),
		}
	}
	for _, e := range got.Errors {
		secondary := strings.Contains(strings.ToLower(e.Message), "secondary rate limit")
		if e.Type == "RATE_LIMIT" || e.Type == "RATE_LIMITED" || secondary {
			return x.limited(answer, e.Message)
		}
	}
	if got.Data == nil {
		e := &ghapp.Error{
			Kind: ghapp.ErrRefused, Op: op, Status: answer.StatusCode,
			RequestID: x.printable(answer.Header.Get("X-GitHub-Request-Id")),
		}
		if len(got.Errors) > 0 {
			e.Message = x.printable(got.Errors[0].Message)
		}
		return e
	}
	for n, i := range some {
		answers[i] = x.answer(questions[i], got.Data[alias(n)], alias(n), got.Errors)
	}
	return nil
}

// endpoint is where GraphQL is asked: beside the REST API of a GitHub Enterprise Server,
// below that of GitHub
// (https://docs.github.com/en/graphql/guides/forming-calls-with-graphql#the-graphql-endpoint).
func endpoint(root string) string {
	if base, ok := strings.CutSuffix(root, "/api/v3"); ok {
		return base + "/api/graphql"
	}
	return root + "/graphql"
}

func origin(root string) string {
	scheme, rest, _ := strings.Cut(root, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

// answer reads what there is of one repository. An error on the way to it goes before
// what is not there, which else would read as a ref that was deleted.
func (x *errorContext) answer(q Question, r *gqlRepository, alias string, errs []gqlError) Answer {
	op := fmt.Sprintf("ask for %s of %s", q.Revision, q.Repository)
	for _, e := range errs {
		if len(e.Path) == 0 || e.Path[0] != alias {
			continue
		}
		refusal := &ghapp.Error{Op: op, Status: http.StatusOK, Message: x.printable(e.Message)}
		switch e.Type {
		case "NOT_FOUND":
			refusal.Kind = ghapp.ErrRepositoryNotSelected
			refusal.Detail = &ghapp.RepositoryError{Repositories: []string{q.Repository.String()}}
		case "FORBIDDEN":
			refusal.Kind = gitauth.RefusedBy(http.StatusForbidden, e.Message)
			if strings.Contains(e.Message, "not accessible by integration") {
				refusal.Kind = ghapp.ErrPermission
			}
		default:
			refusal.Kind = ghapp.ErrUnreachable // GitHub gave up on it: a limit on what a request needs, or a failure
		}
		return Answer{Err: refusal}
	}
	unclear := func(what string) Answer {
		return Answer{Err: fmt.Errorf("cannot %s: %w: GraphQL %s", op, ErrUnsupported, what)}
	}
	if r == nil {
		return unclear("has no answer")
	}
	found, err := ghapp.ParseRepository(r.NameWithOwner)
	if err != nil {
		return unclear("does not name the repository")
	}
	found.Host = q.Repository.Host
	if r.Ref == nil {
		return Answer{Err: &RefError{Repository: found, Revision: q.Revision, Empty: r.IsEmpty}}
	}
	object := r.Ref.Target
	for object != nil && object.Type == "Tag" {
		object = object.Target
	}
	ref := r.Ref.Prefix + r.Ref.Name
	branch, isBranch := strings.CutPrefix(ref, heads)
	switch wanted := q.Revision.ref(); {
	case object == nil || !isObject(object.OID):
		return unclear("does not say what the ref points to")
	case wanted != head && ref != wanted, wanted == head && (!isBranch || checkName("branch", branch) != nil):
		return unclear("answers with another ref") // it looks for abbreviated names too
	}
	return Answer{Found: Found{Repository: found, Ref: ref, Commit: object.OID}}
}

// refused reads an answer that has a status of its own.
func (x *errorContext) refused(answer *http.Response, text []byte) error {
	if to, err := answer.Location(); err == nil && answer.StatusCode/100 == 3 {
		return &ghapp.Error{Kind: ghapp.ErrWrongHost, Op: x.op,
			Err: &api.RedirectError{From: x.origin, To: x.printable(to.Scheme + "://" + to.Host), Status: answer.StatusCode}}
	}
	refusal := api.NewError(answer, []byte(x.scrub(string(text))), time.Now(), 0)
	if foreign := api.Foreign(answer, text); foreign != nil && refusal.Limit == api.NoLimit {
		foreign.Media, foreign.Message = x.printable(foreign.Media), refusal.Message
		_, foreign.Host, _ = strings.Cut(x.origin, "://")
		return &ghapp.Error{Kind: ghapp.ErrUnreachable, Op: x.op, Err: foreign}
	}
	e := &ghapp.Error{
		Kind: gitauth.RefusedBy(refusal.Status, refusal.Message), Op: x.op, Status: refusal.Status, Message: refusal.Message,
		RequestID: x.printable(refusal.RequestID), DocumentationURL: refusal.DocumentationURL,
	}
	if !refusal.Until.IsZero() {
		e.Detail = &ghapp.RateLimitError{Until: refusal.Until}
	}
	switch {
	case refusal.Limit != api.NoLimit:
		e.Kind = ghapp.ErrRateLimited
	case refusal.Status == http.StatusNotFound:
		e.Kind = ghapp.ErrRefused // of no one repository: there is no GraphQL API
	}
	return e
}

// limited reads a limit, which GraphQL tells of under the status of a good answer.
func (x *errorContext) limited(answer *http.Response, message string) error {
	as := *answer
	as.StatusCode = http.StatusForbidden // so that the headers are read as those of a limit
	text, err := json.Marshal(map[string]string{"message": x.scrub(message)})
	if err != nil {
		return err
	}
	limit := api.NewError(&as, text, time.Now(), 0)
	e := &ghapp.Error{Kind: ghapp.ErrRateLimited, Op: x.op, Status: answer.StatusCode, Message: limit.Message,
		RequestID: x.printable(limit.RequestID)}
	if !limit.Until.IsZero() {
		e.Detail = &ghapp.RateLimitError{Until: limit.Until}
	}
	return e
}
