package refs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
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

// maxQuestions is how many repositories one request is about. It has no connection
// in it and so costs one point of the hour's 5,000; more than about a hundred
// aliases meet GitHub's other limits on what a request may need.
const maxQuestions = 100

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

// ask makes one request. There is no second one after a failure: who asks about many asks
// about each then.
func (g *GraphQL) ask(ctx context.Context, questions []Question, answers []Answer, some []int) error {
	client := ghapp.Client{Transport: g.Transport, MaxWait: -1}
	var data map[string]*gqlRepository
	errs, err := client.GraphQL(ctx, g.Source, ghapp.GraphQLRequest{
		Op: fmt.Sprintf("ask for the refs of %d repositories", len(some)), Query: query(questions, some),
	}, &data)
	if err != nil {
		return err
	}
	for n, i := range some {
		answers[i] = readAnswer(questions[i], data[alias(n)], alias(n), errs)
	}
	return nil
}

// readAnswer reads what there is of one repository. An error on the way to it goes before
// what is not there, which else would read as a ref that was deleted.
func readAnswer(q Question, r *gqlRepository, alias string, errs []ghapp.GraphQLError) Answer {
	op := fmt.Sprintf("ask for %s of %s", q.Revision, q.Repository)
	for _, e := range errs {
		if !e.At(alias) {
			continue
		}
		refusal := &ghapp.Error{Op: op, Status: http.StatusOK, Message: e.Message}
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
	found.Host, found.AnyPort = q.Repository.Host, q.Repository.AnyPort
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
	case object == nil || !gitwire.IsObjectID(object.OID):
		return unclear("does not say what the ref points to")
	case wanted != head && ref != wanted, wanted == head && (!isBranch || checkName("branch", branch) != nil):
		return unclear("answers with another ref") // it looks for abbreviated names too
	}
	return Answer{Found: Found{Repository: found, Ref: ref, Commit: object.OID}}
}
