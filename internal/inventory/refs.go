package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// PerList is how many branches, and how many tags, of a repository [Asker.Refs] can tell.
const PerList = 100

// PerRefs is how many repositories one request of [Asker.Refs] is about.
const PerRefs = 100

// refsNode is what GraphQL says of the refs of a repository
// (https://docs.github.com/en/graphql/reference/objects#refconnection).
type refsNode struct {
	ID            string  `json:"id"`
	NameWithOwner string  `json:"nameWithOwner"`
	Heads         *refsOf `json:"heads"`
	Tags          *refsOf `json:"tags"`
	DefaultBranch *struct {
		Name string `json:"name"`
	} `json:"defaultBranchRef"`
}

type refsOf struct {
	TotalCount int `json:"totalCount"`
	Nodes      []*struct {
		Name   string `json:"name"`
		Target *struct {
			OID string `json:"oid"`
		} `json:"target"`
	} `json:"nodes"`
}

// Refs asks in one request for the branches and tags of at most [PerRefs] repositories, by their
// node IDs, with a token of source, which has to read their contents. The answers are in their
// order; of a repository that was not answered, or has more than [PerList] of either, it is nil.
// The error is that of the request.
func (a *Asker) Refs(ctx context.Context, source ghapp.TokenSource, nodes []string) ([]*gitwire.Refs, error) {
	of := "id nameWithOwner defaultBranchRef{name}" +
		fmt.Sprintf(` heads:refs(refPrefix:"refs/heads/",first:%d){totalCount nodes{name target{oid}}}`, PerList) +
		fmt.Sprintf(` tags:refs(refPrefix:"refs/tags/",first:%d){totalCount nodes{name target{oid}}}`, PerList)
	var data struct {
		Nodes []*refsNode `json:"nodes"`
	}
	_, err := a.Client.GraphQL(ctx, source, ghapp.GraphQLRequest{
		Op:        fmt.Sprintf("ask for the refs of %d repositories", len(nodes)),
		Query:     "query($ids:[ID!]!){nodes(ids:$ids){...r}}fragment r on Repository{" + of + "}",
		Variables: map[string]any{"ids": nodes},
	}, &data)
	if err != nil {
		return nil, err
	}
	answers := make([]*gitwire.Refs, len(nodes))
	for i, id := range nodes {
		if i < len(data.Nodes) && data.Nodes[i] != nil && data.Nodes[i].ID == id {
			answers[i] = data.Nodes[i].refs()
		}
	}
	return answers, nil
}

// refs are those of a node; nil where they are not all.
func (n *refsNode) refs() *gitwire.Refs {
	name, err := ghapp.ParseRepository(n.NameWithOwner)
	if err != nil {
		return nil
	}
	r := &gitwire.Refs{Repository: name, Format: gitwire.SHA1, Requests: 1}
	for prefix, list := range map[string]*refsOf{"refs/heads/": n.Heads, "refs/tags/": n.Tags} {
		if list == nil || list.TotalCount != len(list.Nodes) {
			return nil
		}
		for _, ref := range list.Nodes {
			if ref == nil || ref.Target == nil {
				return nil
			}
			if len(ref.Target.OID) == 64 {
				r.Format = gitwire.SHA256
			}
			r.List = append(r.List, gitwire.Ref{Name: prefix + ref.Name, ID: ref.Target.OID})
		}
	}
	slices.SortFunc(r.List, func(a, b gitwire.Ref) int { return strings.Compare(a.Name, b.Name) })
	if n.DefaultBranch != nil {
		r.Head = "refs/heads/" + n.DefaultBranch.Name
	}
	return r
}
