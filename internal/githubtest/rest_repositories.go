package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// repositories are bodies of the schema "repository", as the token sees them.
func (c *call) repositories(list []*Repository, t *token) []any {
	bodies := make([]any, len(list))
	for i, r := range list {
		bodies[i] = c.repositoryBody(r, t)
	}
	return bodies
}

// fullRepository is the schema "full-repository".
func (c *call) fullRepository(r *Repository, t *token) map[string]any {
	body := c.repositoryBody(r, t)
	body["subscribers_count"] = 0
	body["network_count"] = 0
	if r.owner.Kind == Organization {
		body["organization"] = c.userBody(r.owner)
	}
	return body
}

// repositoryURLs are what the URLs of a repository end with.
var repositoryURLs = map[string]string{
	"archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
	"branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}",
	"comments_url": "/comments{/number}", "commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}",
	"contents_url": "/contents/{+path}", "contributors_url": "/contributors", "deployments_url": "/deployments",
	"downloads_url": "/downloads", "events_url": "/events", "forks_url": "/forks", "git_commits_url": "/git/commits{/sha}",
	"git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}", "hooks_url": "/hooks",
	"issue_comment_url": "/issues/comments{/number}", "issue_events_url": "/issues/events{/number}",
	"issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}", "labels_url": "/labels{/name}",
	"languages_url": "/languages", "merges_url": "/merges", "milestones_url": "/milestones{/number}",
	"notifications_url": "/notifications{?since,all,participating}", "pulls_url": "/pulls{/number}",
	"releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
	"subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags", "teams_url": "/teams",
	"trees_url": "/git/trees{/sha}", "url": "",
}

// repositoryBody is the schema "repository".
func (c *call) repositoryBody(r *Repository, t *token) map[string]any {
	_, host, _ := strings.Cut(c.web, "://")
	body := map[string]any{
		"id":                           r.ID,
		"node_id":                      nodeID("R", r.ID),
		"name":                         r.name,
		"full_name":                    r.fullName(),
		"owner":                        c.userBody(r.owner),
		"private":                      !r.options.Public,
		"visibility":                   r.options.visibility(),
		"html_url":                     c.web + "/" + r.fullName(),
		"clone_url":                    c.web + "/" + r.fullName() + ".git",
		"svn_url":                      c.web + "/" + r.fullName(),
		"git_url":                      "git://" + host + "/" + r.fullName() + ".git",
		"ssh_url":                      "git@" + host + ":" + r.fullName() + ".git",
		"mirror_url":                   nil,
		"homepage":                     nil,
		"description":                  nil,
		"language":                     nil,
		"license":                      nil,
		"default_branch":               r.options.DefaultBranch,
		"created_at":                   timestamp(r.created),
		"updated_at":                   timestamp(r.pushed),
		"pushed_at":                    timestamp(r.pushed),
		"size":                         r.sizeKB(),
		"topics":                       list(r.options.Topics),
		"fork":                         r.options.Fork,
		"is_template":                  false,
		"archived":                     r.options.Archived,
		"disabled":                     r.options.Disabled,
		"forks":                        0,
		"forks_count":                  0,
		"stargazers_count":             0,
		"watchers":                     0,
		"watchers_count":               0,
		"open_issues":                  0,
		"open_issues_count":            0,
		"has_issues":                   true,
		"has_projects":                 true,
		"has_wiki":                     !r.options.NoWiki,
		"has_pages":                    false,
		"has_discussions":              false,
		"has_pull_requests":            true,
		"pull_request_creation_policy": "all",
		"allow_forking":                true,
		"web_commit_signoff_required":  false,
	}
	if r.options.Description != "" {
		body["description"] = r.options.Description
	}
	for name, rest := range repositoryURLs {
		body[name] = c.api + "/repos/" + r.fullName() + rest
	}
	if c.version < version2026 {
		body["has_downloads"] = true
	}
	if t != nil {
		body["permissions"] = permissions(t, r)
	}
	return body
}

func (t *token) mayPush(r *Repository) bool { return t.covers(r) && t.may("contents", "write") }

func permissions(t *token, r *Repository) map[string]bool {
	return map[string]bool{"admin": false, "maintain": false, "push": t.mayPush(r), "triage": false, "pull": true}
}

// named finds the repository the path names, by number or by a present or former name.
func (c *call) named() (r *Repository, moved bool) {
	if id, ok := c.values["id"]; ok {
		n, _ := strconv.ParseInt(id, 10, 64)
		return c.gh.repos[n], false
	}
	return c.gh.find(c.values["owner"], c.values["repo"])
}

func (c *call) listInstallationRepositories() answer {
	switch {
	case c.app != nil:
		return c.fail(http.StatusForbidden, installationNeeded)
	case c.token == nil:
		return c.fail(http.StatusUnauthorized, authenticationNeeded)
	case !c.token.may("metadata", "read"):
		return c.denied("metadata=read")
	}
	all := c.gh.reached(c.token)
	list, links := page(c, all)
	selection := c.token.inst.selection()
	if c.token.repos != nil {
		selection = "selected"
	}
	body := fmt.Appendf(nil, `{"total_count":%d,"repository_selection":%q,"repositories":[`, len(all), selection)
	return answer{status: http.StatusOK, header: links, body: append(c.appendRows(body, list), "]}\n"...)}
}

func (c *call) getRepository() answer {
	r, moved := c.named()
	if r == nil || !r.options.Public && (c.token == nil || !c.token.covers(r)) {
		return c.notFound()
	}
	if c.token != nil && r.owner.allowList {
		return c.fail(http.StatusForbidden, fmt.Sprintf(allowListRefusal, r.owner.Login))
	}
	if !r.options.Public && !c.token.may("metadata", "read") {
		return c.denied("metadata=read")
	}
	if moved {
		return c.moved(fmt.Sprintf("/repositories/%d", r.ID))
	}
	if r.options.Blocked {
		return c.blocked(r)
	}
	return c.ok(c.fullRepository(r, c.token))
}

// blocked answers for a repository that a notice under the DMCA has closed.
func (c *call) blocked(r *Repository) answer {
	return answer{status: http.StatusUnavailableForLegalReasons, body: map[string]any{
		"message": blockedRefusal,
		"block":   map[string]any{"reason": "dmca", "created_at": timestamp(r.created), "html_url": takedown},
	}}
}

// What GitHub says of a repository that a notice under the DMCA has closed.
const (
	blockedRefusal = "Repository access blocked"
	takedown       = "https://github.com/github/dmca/blob/master/2026/01/2026-01-01-notice.md"
)

func (c *call) listOrganizationRepositories() answer {
	owner := c.gh.accounts[fold(c.values["account"])]
	if owner == nil || owner.Kind != Organization {
		return c.notFound()
	}
	if c.token != nil && owner.allowList {
		return c.fail(http.StatusForbidden, fmt.Sprintf(allowListRefusal, owner.Login))
	}
	kind := c.parameter("type")
	all := c.gh.sorted(func(r *Repository) bool {
		seen := r.options.Public || c.token != nil && c.token.covers(r) && c.token.may("metadata", "read")
		return r.owner == owner && seen && (kind != "public" || r.options.Public) && (kind != "private" || !r.options.Public)
	})
	c.sort(all)
	list, links := page(c, all)
	return answer{status: http.StatusOK, header: links, body: c.repositories(list, c.token)}
}

// sort orders repositories as the sort and direction parameters say: newest first without them.
func (c *call) sort(list []*Repository) {
	by := c.parameter("sort")
	slices.SortStableFunc(list, func(a, b *Repository) int {
		switch by {
		case "full_name":
			return strings.Compare(fold(a.fullName()), fold(b.fullName()))
		case "pushed", "updated":
			return a.pushed.Compare(b.pushed)
		}
		return a.created.Compare(b.created)
	})
	direction := c.parameter("direction")
	if direction == "desc" || direction == "" && by != "full_name" {
		slices.Reverse(list)
	}
}
