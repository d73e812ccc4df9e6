package githubtest

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"time"
)

// The JSON bodies, with everything GitHub's OpenAPI description requires of them.
// https://github.com/github/rest-api-description

// appBody is the schema "integration".
func (c *call) appBody() map[string]any {
	a := c.app
	return map[string]any{
		"id":                  a.ID,
		"slug":                a.Slug,
		"client_id":           a.ClientID,
		"node_id":             nodeID("A", a.ID),
		"owner":               c.accountBody(a.owner),
		"name":                a.Name,
		"description":         a.description,
		"external_url":        cmp.Or(a.homepage, c.web),
		"html_url":            c.web + "/apps/" + a.Slug,
		"created_at":          timestamp(a.created),
		"updated_at":          timestamp(a.created),
		"permissions":         maps.Clone(a.permissions),
		"events":              list(a.events),
		"installations_count": len(c.gh.installations(a)),
	}
}

// installationBody is the schema "installation".
func (c *call) installationBody(i *Installation) map[string]any {
	body := map[string]any{
		"id":                        i.ID,
		"client_id":                 i.app.ClientID,
		"account":                   c.accountBody(i.account),
		"repository_selection":      i.selection(),
		"access_tokens_url":         fmt.Sprintf("%s/app/installations/%d/access_tokens", c.api, i.ID),
		"repositories_url":          c.api + "/installation/repositories",
		"html_url":                  fmt.Sprintf("%s%s/settings/installations/%d", c.web, settings(i.account), i.ID),
		"app_id":                    i.app.ID,
		"app_slug":                  i.app.Slug,
		"target_id":                 i.account.ID,
		"target_type":               string(i.account.Kind),
		"permissions":               maps.Clone(i.permissions),
		"events":                    list(i.app.events),
		"created_at":                timestamp(i.created),
		"updated_at":                timestamp(i.updated),
		"single_file_name":          nil,
		"has_multiple_single_files": false,
		"single_file_paths":         []string{},
		"suspended_by":              nil,
		"suspended_at":              nil,
	}
	if !i.suspended.IsZero() {
		body["suspended_at"] = timestamp(i.suspended)
		body["suspended_by"] = c.userBody(&Account{ID: 1, Login: "ghost", Kind: User})
	}
	return body
}

// settings is where the settings pages of an account begin.
func settings(a *Account) string {
	switch a.Kind {
	case Organization:
		return "/organizations/" + a.Login
	case Enterprise:
		return "/enterprises/" + a.Login
	}
	return ""
}

func (c *call) accountBody(a *Account) map[string]any {
	if a.Kind == Enterprise {
		return c.enterpriseBody(a)
	}
	return c.userBody(a)
}

// enterpriseBody is the schema "enterprise", which has no login.
func (c *call) enterpriseBody(a *Account) map[string]any {
	return map[string]any{
		"id":          a.ID,
		"slug":        fold(a.Login),
		"name":        a.Login,
		"node_id":     nodeID("E", a.ID),
		"avatar_url":  fmt.Sprintf("%s/avatars/b/%d", c.web, a.ID),
		"description": "",
		"website_url": c.web,
		"html_url":    c.web + "/enterprises/" + fold(a.Login),
		"created_at":  timestamp(a.created),
		"updated_at":  timestamp(a.created),
	}
}

// userBody is the schema "simple-user", which organizations have as well.
func (c *call) userBody(a *Account) map[string]any {
	body := map[string]any{
		"login":          a.Login,
		"id":             a.ID,
		"node_id":        nodeID(string(a.Kind[:1]), a.ID),
		"avatar_url":     fmt.Sprintf("%s/avatars/u/%d", c.web, a.ID),
		"gravatar_id":    "",
		"html_url":       c.web + "/" + a.Login,
		"type":           string(a.Kind),
		"user_view_type": "public",
		"site_admin":     false,
	}
	url := c.api + "/users/" + escaped(a.Login)
	body["url"] = url
	for name, rest := range map[string]string{
		"followers_url": "/followers", "following_url": "/following{/other_user}", "gists_url": "/gists{/gist_id}",
		"starred_url": "/starred{/owner}{/repo}", "subscriptions_url": "/subscriptions", "organizations_url": "/orgs",
		"repos_url": "/repos", "events_url": "/events{/privacy}", "received_events_url": "/received_events",
	} {
		body[name] = url + rest
	}
	return body
}

// escaped is a login as it stands in URLs: GitHub escapes the brackets of a bot's.
func escaped(login string) string { return strings.NewReplacer("[", "%5B", "]", "%5D").Replace(login) }

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
	visibility := "private"
	if r.public {
		visibility = "public"
	}
	body := map[string]any{
		"id":                           r.ID,
		"node_id":                      nodeID("R", r.ID),
		"name":                         r.name,
		"full_name":                    r.fullName(),
		"owner":                        c.userBody(r.owner),
		"private":                      !r.public,
		"visibility":                   visibility,
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
		"default_branch":               r.branch,
		"created_at":                   timestamp(r.created),
		"updated_at":                   timestamp(r.pushed),
		"pushed_at":                    timestamp(r.pushed),
		"size":                         (r.size + 1023) / 1024,
		"topics":                       []string{},
		"fork":                         false,
		"is_template":                  false,
		"archived":                     r.archived,
		"disabled":                     false,
		"forks":                        0,
		"forks_count":                  0,
		"stargazers_count":             0,
		"watchers":                     0,
		"watchers_count":               0,
		"open_issues":                  0,
		"open_issues_count":            0,
		"has_issues":                   true,
		"has_projects":                 true,
		"has_wiki":                     true,
		"has_pages":                    false,
		"has_discussions":              false,
		"has_pull_requests":            true,
		"pull_request_creation_policy": "all",
		"allow_forking":                true,
		"web_commit_signoff_required":  false,
	}
	if r.description != "" {
		body["description"] = r.description
	}
	for name, rest := range repositoryURLs {
		body[name] = c.api + "/repos/" + r.fullName() + rest
	}
	if c.version < version2026 {
		body["has_downloads"] = true
	}
	if t != nil {
		push := t.covers(r) && t.may("contents", "write")
		body["permissions"] = map[string]bool{"admin": false, "maintain": false, "push": push, "triage": false, "pull": true}
	}
	return body
}

// getMeta answers GET /meta with what is true of a GitHub on this machine.
func (c *call) getMeta() answer {
	loopback := []string{"127.0.0.0/8", "::1/128"}
	if c.enterprise() {
		return c.ok(map[string]any{
			"verifiable_password_authentication": false,
			"packages":                           loopback,
			"installed_version":                  enterpriseVersion,
		})
	}
	return c.ok(map[string]any{
		"verifiable_password_authentication": false,
		"hooks":                              loopback,
		"web":                                loopback,
		"api":                                loopback,
		"git":                                loopback,
		"packages":                           loopback,
		"pages":                              loopback,
		"importer":                           loopback,
		"actions":                            loopback,
		"ssh_keys":                           []string{},
	})
}

// nodeID has the form GitHub's global node IDs have: a prefix for the kind, and the number in MessagePack.
func nodeID(kind string, id int64) string {
	return kind + "_" + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32([]byte{0x92, 0x00, 0xce}, uint32(id)))
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// list is a copy that is [] in JSON when it is empty, not null.
func list(texts []string) []string { return append([]string{}, texts...) }
