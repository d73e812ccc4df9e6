package ghapp

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// RepositoryInfo is what GitHub says of a repository that a token reaches.
type RepositoryInfo struct {
	ID            int64
	FullName      string // owner/name
	Visibility    string // public, private or internal
	DefaultBranch string
	Archived      bool
	CloneURL      string
	PushedAt      time.Time // zero: never
	NodeID        string    // its ID in the GraphQL API
	Fork          bool
	Wiki          bool // it has one, or may get one
	Topics        []string
	SizeKB        int64 // of the repository on GitHub's disk, in KiB; counted now and then
}

// Repositories lists what a token reaches. A refusal of a token in its first
// seconds is waited out. It stops at the first error.
func (a *App) Repositories(ctx context.Context, t *Token) iter.Seq2[*RepositoryInfo, error] {
	return func(yield func(*RepositoryInfo, error) bool) {
		const op = "list the repositories of the token"
		seen := 0
		err := t.waitOut(ctx, func() error {
			for r, err := range a.api.Repositories(ctx, t.Secret) {
				if err != nil {
					if seen > 0 {
						err = explain(op, err) // too late to begin again
					}
					return err
				}
				seen++
				if !yield(newRepositoryInfo(r), nil) {
					return errStopped
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, explain(op, err))
		}
	}
}

func newRepositoryInfo(r *api.Repository) *RepositoryInfo {
	info := &RepositoryInfo{
		ID: r.ID, FullName: r.FullName, Visibility: r.Visibility, DefaultBranch: r.DefaultBranch,
		Archived: r.Archived, CloneURL: r.CloneURL,
		NodeID: r.NodeID, Fork: r.Fork, Wiki: r.HasWiki, Topics: r.Topics, SizeKB: r.Size,
	}
	switch {
	case info.Visibility != "":
	case r.Private:
		info.Visibility = "private"
	default:
		info.Visibility = "public"
	}
	if r.PushedAt != nil {
		info.PushedAt = *r.PushedAt
	}
	return info
}
