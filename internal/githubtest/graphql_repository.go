package githubtest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// nodeRepository finds a repository by its global node ID, or nil.
func (gh *GitHub) nodeRepository(id string) *Repository {
	code, ok := strings.CutPrefix(id, "R_")
	raw, err := base64.RawURLEncoding.DecodeString(code)
	if !ok || err != nil || len(raw) != 7 {
		return nil
	}
	r := gh.repos[int64(binary.BigEndian.Uint32(raw[3:]))]
	if r == nil || nodeID("R", r.ID) != id {
		return nil
	}
	return r
}

func (c *call) queryRepository(arguments map[string]any) any {
	owner, _ := arguments["owner"].(string)
	name, _ := arguments["name"].(string)
	r, _ := c.gh.find(owner, name)
	return c.repository(r, failure{kind: "NOT_FOUND", message: fmt.Sprintf(graphQLNoRepository, owner, name)})
}

// queryNode finds a repository; nodes of other kinds have no place here.
func (c *call) queryNode(arguments map[string]any) any { return c.node(arguments["id"]) }

func (c *call) node(id any) any {
	text := fmt.Sprint(id)
	return c.repository(c.gh.nodeRepository(text), failure{kind: "NOT_FOUND", message: fmt.Sprintf(graphQLNoNode, text)})
}

// queryNodes finds as many, in the order asked for.
func (c *call) queryNodes(arguments map[string]any) any {
	ids, ok := arguments["ids"].([]any)
	if !ok && arguments["ids"] != nil {
		ids = []any{arguments["ids"]} // a list of one may be written without its brackets
	}
	if len(ids) > maxNodes {
		return failure{kind: "ARGUMENT_LIMIT", message: fmt.Sprintf(graphQLManyNodes, maxNodes, len(ids)), void: true}
	}
	list := make([]any, len(ids))
	for i, id := range ids {
		list[i] = c.node(id)
	}
	return list
}

// repository is one as the token sees it, nil included. https://docs.github.com/en/graphql/reference/objects#repository
func (c *call) repository(r *Repository, none failure) any {
	switch {
	case r == nil || !r.options.Public && !c.token.covers(r):
		return none
	case r.owner.allowList:
		return failure{kind: "FORBIDDEN", message: fmt.Sprintf(allowListRefusal, r.owner.Login)}
	case !r.options.Public && !c.token.may("metadata", "read"):
		return forbidden
	case r.options.Blocked:
		return failure{kind: "FORBIDDEN", message: blockedRefusal}
	}
	contents := func(find resolver) resolver {
		if !r.options.Public && !c.token.may("contents", "read") {
			return is(forbidden)
		}
		return find
	}
	o := r.options
	_, host, _ := strings.Cut(c.web, "://")
	fields := map[string]resolver{
		"id": is(nodeID("R", r.ID)), "databaseId": is(r.ID), "name": is(r.name), "nameWithOwner": is(r.fullName()),
		"owner": func(map[string]any) any {
			return object{string(r.owner.Kind),
				map[string]resolver{"id": is(c.userBody(r.owner)["node_id"]), "login": is(r.owner.Login)}}
		},
		"description": is(nil), "url": is(c.web + "/" + r.fullName()),
		"sshUrl":    is("git@" + host + ":" + r.fullName() + ".git"),
		"isPrivate": is(!o.Public), "visibility": is(strings.ToUpper(o.visibility())), "isArchived": is(o.Archived),
		"isDisabled": is(o.Disabled), "isFork": is(o.Fork), "isLocked": is(false), "isMirror": is(false),
		"isTemplate": is(false), "parent": is(nil),
		"createdAt": is(timestamp(r.created)), "updatedAt": is(timestamp(r.pushed)), "pushedAt": is(timestamp(r.pushed)),
		"diskUsage": is(r.sizeKB()), "hasIssuesEnabled": is(true), "hasWikiEnabled": is(!o.NoWiki),
		"mergeCommitAllowed": is(true), "rebaseMergeAllowed": is(true), "squashMergeAllowed": is(true),
		"viewerPermission": is(nil), // of people alone
		"isEmpty":          func(map[string]any) any { return c.isEmpty(r) },
		"repositoryTopics": func(arguments map[string]any) any { return topics(o.Topics, arguments) },
		"defaultBranchRef": contents(func(map[string]any) any { return c.queryRef(r, "refs/heads/"+o.DefaultBranch) }),
		"ref": contents(func(arguments map[string]any) any {
			name, _ := arguments["qualifiedName"].(string)
			return c.queryRef(r, name)
		}),
		"refs":         contents(func(arguments map[string]any) any { return c.queryRefs(r, arguments) }),
		"issues":       c.none(r, "Issue", "issues"),
		"pullRequests": c.none(r, "PullRequest", "pull_requests"),
		"releases":     c.none(r, "Release", "contents"),
	}
	if o.Description != "" {
		fields["description"] = is(o.Description)
	}
	return object{"Repository", fields}
}

func topics(names []string, arguments map[string]any) any {
	list := make([]any, len(names))
	for i, name := range names {
		list[i] = object{"RepositoryTopic",
			map[string]resolver{"topic": is(object{"Topic", map[string]resolver{"name": is(name)}})}}
	}
	return connection("RepositoryTopic", "repositoryTopics", list, arguments)
}

// none is a list, for who may read it, of what the stand-in has none of.
func (c *call) none(r *Repository, kind, permission string) resolver {
	if !r.options.Public && !c.token.may(permission, "read") {
		return is(forbidden)
	}
	return func(arguments map[string]any) any { return connection(kind, "", nil, arguments) }
}

// connection is a page of a list. Without a name it is one of which nothing need be asked for in particular.
// https://docs.github.com/en/graphql/guides/using-pagination-in-the-graphql-api
func connection(kind, name string, all []any, arguments map[string]any) any {
	first, no := unbounded(name, arguments)
	from := 0
	if after, ok := arguments["after"].(string); ok {
		text, err := base64.StdEncoding.DecodeString(after)
		if from, _ = strconv.Atoi(string(text)); err != nil || from < 1 {
			return failure{kind: "INVALID_CURSOR_ARGUMENTS", message: fmt.Sprintf(graphQLBadCursor, after)}
		}
	}
	from = min(from, len(all))
	to := min(from+first, len(all))
	cursor := func(i int) any { return base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(i + 1))) }
	bounded := func(value func() any) resolver {
		if no != nil && name != "" {
			return is(*no)
		}
		return func(map[string]any) any { return value() }
	}
	start, end := any(nil), any(nil)
	if from < to {
		start, end = cursor(from), cursor(to-1)
	}
	return object{kind + "Connection", map[string]resolver{
		"totalCount": is(len(all)),
		"nodes":      bounded(func() any { return all[from:to] }),
		"edges": bounded(func() any {
			edges := []any{}
			for i, node := range all[from:to] {
				edges = append(edges,
					object{kind + "Edge", map[string]resolver{"node": is(node), "cursor": is(cursor(from + i))}})
			}
			return edges
		}),
		"pageInfo": is(object{"PageInfo", map[string]resolver{
			"hasNextPage": is(to < len(all)), "hasPreviousPage": is(from > 0), "startCursor": is(start), "endCursor": is(end),
		}}),
	}}
}

// read asks git of a repository, whose lock is taken without the GitHub's own. What there is not is "".
func (c *call) read(r *Repository, command string, args ...string) string {
	var out string
	c.atRest(r, func() { out, _ = r.run(nil, command, args...) })
	return strings.TrimSpace(out)
}

// atRest reads a repository that is on the disk.
func (c *call) atRest(r *Repository, read func()) {
	c.gh.mu.Unlock()
	defer c.gh.mu.Lock()
	r.files.Lock()
	defer r.files.Unlock()
	if r.ready && r.make() == nil {
		read()
	}
}

func (c *call) isEmpty(r *Repository) bool { return c.read(r, "for-each-ref", "--count=1") == "" }

// queryRef is a ref by its full name, or nil. https://docs.github.com/en/graphql/reference/objects#ref
func (c *call) queryRef(r *Repository, full string) any {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		name, ok := strings.CutPrefix(full, prefix)
		if !ok || name == "" {
			continue
		}
		var oid string
		if c.atRest(r, func() { oid = r.tip(full) }); oid != "" {
			kind := ""
			if prefix == "refs/heads/" {
				kind = "commit" // as git sees to
			}
			return c.ref(r, prefix, name, oid, kind)
		}
	}
	return nil
}

func (c *call) ref(r *Repository, prefix, name, oid, kind string) any {
	return object{"Ref", map[string]resolver{
		"id":   is("REF_" + base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(r.ID, 10)+":"+prefix+name))),
		"name": is(name), "prefix": is(prefix),
		"target": func(map[string]any) any { return c.gitObject(r, oid, kind) },
	}}
}

// queryRefs are the refs whose names begin with the prefix, in their names' order.
func (c *call) queryRefs(r *Repository, arguments map[string]any) any {
	prefix, _ := arguments["refPrefix"].(string)
	var list []any
	out := c.read(r, "for-each-ref", "--format=%(refname) %(objectname) %(objecttype)", prefix)
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if name, ok := strings.CutPrefix(f[0], prefix); ok {
			list = append(list, c.ref(r, prefix, name, f[1], f[2]))
		}
	}
	return connection("Ref", "refs", list, arguments)
}

// gitObject is one of git's; a kind that is not given is looked up.
// https://docs.github.com/en/graphql/reference/interfaces#gitobject
func (c *call) gitObject(r *Repository, oid, kind string) any {
	if kind == "" {
		kind = c.read(r, "cat-file", "-t", oid)
	}
	kinds := map[string]string{"commit": "Commit", "tag": "Tag", "tree": "Tree", "blob": "Blob"}
	fields := map[string]resolver{"oid": is(oid), "abbreviatedOid": is(oid[:7])}
	if kind == "tag" {
		fields["target"] = func(map[string]any) any {
			to, _, _ := strings.Cut(c.read(r, "cat-file", "tag", oid), "\n")
			return c.gitObject(r, strings.TrimPrefix(to, "object "), "")
		}
	}
	return object{kinds[kind], fields}
}
