package ghapp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// GraphQLRequest is one request of GitHub's GraphQL API.
type GraphQLRequest struct {
	// Op is what is being done, to which object, for errors. Empty: "ask the GraphQL API".
	Op        string
	Query     string
	Variables map[string]any
}

// GraphQLError is an error that stands in an answer beside what could be answered
// (https://spec.graphql.org/October2021/#sec-Errors).
type GraphQLError = api.GraphQLError

// GraphQL asks the GraphQL API that is beside the source's tokens' own, whatever Host and
// APIURL say. What could be answered is decoded into data, and what could not is told by
// errors of their own. A limit is waited for, one that stands in a good answer too; a refusal
// of a token in its first seconds is waited out; that of an older one makes the source drop
// it, and the next is tried.
//
// The error means that there is no answer. Its Kinds are those of [App.Repositories].
func (c Client) GraphQL(ctx context.Context, source TokenSource, r GraphQLRequest, data any) ([]GraphQLError, error) {
	op := cmp.Or(r.Op, "ask the GraphQL API")
	t, err := source.Token(ctx)
	if err != nil {
		return nil, err
	}
	client, err := c.rest(api.Host{API: t.API})
	if err != nil {
		return nil, &Error{Kind: ErrInvalid, Op: op, Err: err}
	}
	var errs []GraphQLError
	ask := func() (err error) {
		errs, err = client.GraphQL(ctx, t.Secret, r.Query, r.Variables, data)
		return err
	}
	err = t.waitOut(ctx, ask)
	told, ok := source.(Invalidator)
	if ok && api.IsStatus(err, http.StatusUnauthorized) && !t.Propagating() {
		// An error is the store's. The source's next token shows what it did.
		_ = told.Invalidate(ctx, t)
		if next, failed := source.Token(ctx); failed == nil && next.Secret.Reveal() != t.Secret.Reveal() {
			t = next
			err = t.waitOut(ctx, ask)
		}
	}
	return errs, explain(op, err)
}

// RepositoryPage is one page of what a token reaches, counted from 1, of a hundred entries,
// for callers that ask for several at once. total is how many there are on all pages; -1
// where GitHub does not say. A refusal of a token in its first seconds is waited out.
func (a *App) RepositoryPage(ctx context.Context, t *Token, page int) (list []*RepositoryInfo, total int, err error) {
	var found []api.Repository
	err = t.waitOut(ctx, func() (err error) {
		found, total, err = a.api.RepositoriesPage(ctx, t.Secret, page)
		return err
	})
	if err != nil {
		return nil, 0, explain("list the repositories of the token", err)
	}
	for i := range found {
		list = append(list, newRepositoryInfo(&found[i]))
	}
	return list, total, nil
}

// RepositoryByID asks for a repository by GitHub's ID of it, which stays when it is renamed or
// transferred. Of one that is gone, or that the token does not reach, the error has the Status
// 404. That is not waited out: a token that is not known yet is refused with 401.
func (a *App) RepositoryByID(ctx context.Context, t *Token, id int64) (*RepositoryInfo, error) {
	op := fmt.Sprintf("ask for the repository with the ID %d", id)
	var found *api.Repository
	var missing error
	err := t.waitOut(ctx, func() (err error) {
		found, err = a.api.RepositoryByID(ctx, t.Secret, id)
		if api.IsStatus(err, http.StatusNotFound) {
			missing, err = err, nil
		}
		return err
	})
	if err = cmp.Or(err, missing); err != nil {
		return nil, explain(op, err)
	}
	if found.ID != id {
		return nil, &Error{Kind: ErrUnreachable, Op: op, Err: errors.New("the answer is about another repository")}
	}
	return newRepositoryInfo(found), nil
}
