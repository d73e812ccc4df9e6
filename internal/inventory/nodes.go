package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp"
)

// node is what GraphQL says of a repository
// (https://docs.github.com/en/graphql/reference/objects#repository).
type node struct {
	ID            string     `json:"id"`
	DatabaseID    int64      `json:"databaseId"`
	NameWithOwner string     `json:"nameWithOwner"`
	PushedAt      *time.Time `json:"pushedAt"`
	IsArchived    bool       `json:"isArchived"`
	IsFork        bool       `json:"isFork"`
	HasWiki       bool       `json:"hasWikiEnabled"`
	Visibility    string     `json:"visibility"` // in capitals
	DiskUsage     *int64     `json:"diskUsage"`  // KiB
	DefaultBranch *struct {
		Name string `json:"name"`
	} `json:"defaultBranchRef"`
	Topics *struct {
		Nodes []struct {
			Topic struct {
				Name string `json:"name"`
			} `json:"topic"`
		} `json:"nodes"`
	} `json:"repositoryTopics"`
}

const nodeFields = "id databaseId nameWithOwner pushedAt isArchived isFork hasWikiEnabled visibility diskUsage"

// query asks for the nodes of several lists of IDs, of which each is a field and a variable.
func (a *Asker) query(lists int) string {
	var variables, fields []string
	for i := range lists {
		variables = append(variables, fmt.Sprintf("$%s:[ID!]!", field(i)))
		fields = append(fields, fmt.Sprintf("%s:nodes(ids:$%[1]s){...r}", field(i)))
	}
	of := nodeFields
	if !a.noBranches.Load() {
		of += " defaultBranchRef{name}"
	}
	if a.Topics {
		of += " repositoryTopics(first:20){nodes{topic{name}}}" // GitHub allows 20
	}
	return "query(" + strings.Join(variables, ",") + "){" + strings.Join(fields, " ") +
		"}fragment r on Repository{" + of + "}"
}

// field is the name of one list of a request.
func field(i int) string { return fmt.Sprintf("n%d", i) }

// ask asks GraphQL for all that is known, and reports whether each was answered.
func (l *listing) ask(ctx context.Context, known []Repository) (all bool, err error) {
	for _, r := range known {
		if r.NodeID == "" {
			return false, nil
		}
	}
	l.found = make([]Repository, len(known))
	missing := make([]bool, len(known)) // by chunk: no two write to one
	asked, ctx := errgroup.WithContext(ctx)
	asked.SetLimit(atOnce)
	const chunk = perNodes * fieldsAtOnce
	for from := 0; from < len(known); from += chunk {
		to := min(from+chunk, len(known))
		asked.Go(func() error {
			whole, err := l.askNodes(ctx, known[from:to], l.found[from:to])
			missing[from] = !whole
			return err
		})
	}
	if err := asked.Wait(); err != nil {
		return false, err
	}
	return !slices.Contains(missing, true), nil
}

// askNodes makes one request, and reports whether every repository was answered.
func (l *listing) askNodes(ctx context.Context, known, found []Repository) (whole bool, err error) {
	if err := l.spend(); err != nil {
		return false, err
	}
	variables := map[string]any{}
	for list := range slices.Chunk(known, perNodes) {
		var ids []string
		for _, r := range list {
			ids = append(ids, r.NodeID)
		}
		variables[field(len(variables))] = ids
	}
	a := l.asker
	var data map[string][]*node
	errs, err := a.Client.GraphQL(ctx, a.Source, ghapp.GraphQLRequest{
		Op: fmt.Sprintf("ask for %d repositories", len(known)), Query: a.query(len(variables)), Variables: variables,
	}, &data)
	if err != nil {
		return false, err
	}
	for _, e := range errs {
		if len(e.Path) > 2 && e.Path[2] == "defaultBranchRef" {
			a.noBranches.Store(true) // the token may not know it; the comparison of refs does
		}
	}
	whole = true
	for i, r := range known {
		list := data[field(i/perNodes)]
		if i%perNodes >= len(list) || !found[i].update(r, list[i%perNodes]) {
			whole = false
		}
	}
	return whole, nil
}

// update is a known repository with what a node says, and reports whether it is about that one.
func (r *Repository) update(known Repository, n *node) bool {
	*r = known
	if n == nil || n.ID != known.NodeID || n.DatabaseID != known.ID {
		return false
	}
	name, err := ghapp.ParseRepository(n.NameWithOwner)
	if err != nil || name.Wiki || name.Host != "" {
		return false
	}
	if name.String() != known.Name.String() { // else the text that is kept already
		name.Host = known.Name.Host
		r.Name = name
	}
	r.PushedAt = time.Time{}
	if n.PushedAt != nil {
		r.PushedAt = *n.PushedAt
	}
	r.Archived, r.Fork, r.Wiki = n.IsArchived, n.IsFork, n.HasWiki
	if seen := strings.ToLower(n.Visibility); seen != "" && seen != known.Visibility {
		r.Visibility = seen
	}
	if n.DiskUsage != nil {
		r.SizeKB = *n.DiskUsage
	}
	if n.DefaultBranch != nil && n.DefaultBranch.Name != known.DefaultBranch {
		r.DefaultBranch = n.DefaultBranch.Name
	}
	if n.Topics != nil {
		r.Topics = nil
		for _, t := range n.Topics.Nodes {
			r.Topics = append(r.Topics, t.Topic.Name)
		}
	}
	return true
}
