package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// endpoint is one operation of the REST API.
type endpoint struct {
	method string
	path   string // {name} stands for one segment
	byApp  bool   // needs a JWT
	docs   string // page under https://docs.github.com/rest
	answer func(*call) answer
}

var endpoints = []endpoint{
	{"GET", "/app", true, "/apps/apps#get-the-authenticated-app", (*call).getApp},
	{"GET", "/apps/{slug}", false, "/apps/apps#get-an-app", (*call).getNamedApp},
	{"POST", "/app-manifests/{code}/conversions", false, "/apps/apps#create-a-github-app-from-a-manifest", (*call).convertManifest},
	{"GET", "/app/installations", true, "/apps/apps#list-installations-for-the-authenticated-app", (*call).listInstallations},
	{"GET", "/app/installations/{id}", true, "/apps/apps#get-an-installation-for-the-authenticated-app", (*call).getInstallation},
	{"POST", "/app/installations/{id}/access_tokens", true, "/reference/apps#create-an-installation-access-token-for-an-app", (*call).mint},
	{"GET", "/orgs/{account}/installation", true, "/apps/apps#get-an-organization-installation-for-the-authenticated-app", (*call).getOrganizationInstallation},
	{"GET", "/users/{account}", false, "/users/users#get-a-user", (*call).getUser},
	{"GET", "/users/{account}/installation", true, "/apps/apps#get-a-user-installation-for-the-authenticated-app", (*call).getUserInstallation},
	{"GET", "/enterprises/{account}/installation", true, "/apps/apps#get-an-enterprise-installation-for-the-authenticated-app", (*call).getEnterpriseInstallation},
	{"GET", "/repos/{owner}/{repo}/installation", true, "/apps/apps#get-a-repository-installation-for-the-authenticated-app", (*call).getRepositoryInstallation},
	{"GET", "/repositories/{id}/installation", true, "/apps/apps#get-a-repository-installation-for-the-authenticated-app", (*call).getRepositoryInstallation},
	{"GET", "/installation/repositories", false, "/apps/installations#list-repositories-accessible-to-the-app-installation", (*call).listInstallationRepositories},
	{"DELETE", "/installation/token", false, "/apps/installations#revoke-an-installation-access-token", (*call).revoke},
	{"GET", "/repos/{owner}/{repo}", false, "/repos/repos#get-a-repository", (*call).getRepository},
	{"GET", "/repositories/{id}", false, "/repos/repos#get-a-repository", (*call).getRepository},
	{"GET", "/orgs/{account}/repos", false, "/repos/repos#list-organization-repositories", (*call).listOrganizationRepositories},
	{"GET", "/rate_limit", false, "/rate-limit/rate-limit#get-rate-limit-status-for-the-authenticated-user", (*call).getRateLimit},
	{"GET", "/meta", false, "/meta/meta#get-github-meta-information", (*call).getMeta},
	{"POST", "/graphql", false, "", (*call).graphQL},
	{"POST", "/api/graphql", false, "", (*call).graphQL},
}

func (c *call) getApp() answer { return c.ok(c.appBody()) }

func (c *call) listInstallations() answer {
	list := c.gh.installations(c.app)
	if since, err := time.Parse(time.RFC3339, c.query("since")); err == nil {
		list = slices.DeleteFunc(list, func(i *Installation) bool { return i.updated.Before(since) })
	}
	list, links := page(c, list)
	bodies := make([]any, len(list))
	for i, inst := range list {
		bodies[i] = c.installationBody(inst)
	}
	return answer{status: http.StatusOK, header: links, body: bodies}
}

// installation finds the App's own installation the path names, or nil.
func (c *call) installation() *Installation {
	id, _ := strconv.ParseInt(c.values["id"], 10, 64)
	if inst := c.gh.installs[id]; inst != nil && inst.app == c.app {
		return inst
	}
	return nil
}

func (c *call) getInstallation() answer { return c.installationOr404(c.installation()) }

func (c *call) getOrganizationInstallation() answer { return c.accountInstallation(Organization) }

// getUserInstallation serves organizations as well, as GitHub does and its own actions rely on.
func (c *call) getUserInstallation() answer { return c.accountInstallation(User, Organization) }

func (c *call) getEnterpriseInstallation() answer { return c.accountInstallation(Enterprise) }

func (c *call) accountInstallation(kinds ...AccountKind) answer {
	a := c.gh.accounts[fold(c.values["account"])]
	if a == nil || !slices.Contains(kinds, a.Kind) {
		return c.notFound()
	}
	return c.installationOr404(c.gh.installed(c.app, a))
}

func (c *call) getRepositoryInstallation() answer {
	r, moved := c.named()
	if r == nil {
		return c.notFound()
	}
	inst := c.gh.installed(c.app, r.owner)
	if inst == nil || !inst.covers(r) {
		return c.notFound()
	}
	if moved {
		return c.moved(fmt.Sprintf("/repositories/%d/installation", r.ID))
	}
	return c.ok(c.installationBody(inst))
}

func (c *call) installationOr404(inst *Installation) answer {
	if inst == nil {
		return c.notFound()
	}
	return c.ok(c.installationBody(inst))
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
	all := c.gh.sorted(c.token.covers)
	list, links := page(c, all)
	selection := c.token.inst.selection()
	if c.token.repos != nil {
		selection = "selected"
	}
	return answer{status: http.StatusOK, header: links, body: map[string]any{
		"total_count": len(all), "repository_selection": selection, "repositories": c.repositories(list, c.token),
	}}
}

func (c *call) revoke() answer {
	switch {
	case c.app != nil:
		return c.fail(http.StatusForbidden, notAccessible)
	case c.token == nil:
		return c.fail(http.StatusUnauthorized, authenticationNeeded)
	}
	c.token.revoked = true
	return answer{status: http.StatusNoContent}
}

func (c *call) getRepository() answer {
	r, moved := c.named()
	if r == nil || !r.public && (c.token == nil || !c.token.covers(r)) {
		return c.notFound()
	}
	if c.token != nil && r.owner.allowList {
		return c.fail(http.StatusForbidden, fmt.Sprintf(allowListRefusal, r.owner.Login))
	}
	if !r.public && !c.token.may("metadata", "read") {
		return c.denied("metadata=read")
	}
	if moved {
		return c.moved(fmt.Sprintf("/repositories/%d", r.ID))
	}
	return c.ok(c.fullRepository(r, c.token))
}

func (c *call) listOrganizationRepositories() answer {
	owner := c.gh.accounts[fold(c.values["account"])]
	if owner == nil || owner.Kind != Organization {
		return c.notFound()
	}
	if c.token != nil && owner.allowList {
		return c.fail(http.StatusForbidden, fmt.Sprintf(allowListRefusal, owner.Login))
	}
	kind := c.query("type")
	all := c.gh.sorted(func(r *Repository) bool {
		seen := r.public || c.token != nil && c.token.covers(r) && c.token.may("metadata", "read")
		return r.owner == owner && seen && (kind != "public" || r.public) && (kind != "private" || !r.public)
	})
	c.sort(all)
	list, links := page(c, all)
	return answer{status: http.StatusOK, header: links, body: c.repositories(list, c.token)}
}

// sort orders repositories as the sort and direction parameters say: newest first without them.
func (c *call) sort(list []*Repository) {
	by := c.query("sort")
	slices.SortStableFunc(list, func(a, b *Repository) int {
		switch by {
		case "full_name":
			return strings.Compare(fold(a.fullName()), fold(b.fullName()))
		case "pushed", "updated":
			return a.pushed.Compare(b.pushed)
		}
		return a.created.Compare(b.created)
	})
	direction := c.query("direction")
	if direction == "desc" || direction == "" && by != "full_name" {
		slices.Reverse(list)
	}
}

// page cuts the page asked for out of a list, and names its neighbours in a Link header.
// https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
func page[T any](c *call, all []T) ([]T, http.Header) {
	number, err := strconv.Atoi(c.query("page"))
	if err != nil || number < 1 {
		number = 1
	}
	size, err := strconv.Atoi(c.query("per_page"))
	if err != nil || size < 1 {
		size = 30
	}
	size = min(size, 100)
	last := max(1, (len(all)+size-1)/size)
	link := func(to int, rel string) string {
		query := c.r.URL.Query()
		query.Set("page", strconv.Itoa(to))
		return fmt.Sprintf(`<%s%s?%s>; rel="%s"`, origin(c.r), c.r.URL.EscapedPath(), query.Encode(), rel)
	}
	var links []string
	if number > 1 {
		links = append(links, link(min(number-1, last), "prev"))
	}
	if number < last {
		links = append(links, link(number+1, "next"), link(last, "last"))
	}
	if number > 1 {
		links = append(links, link(1, "first"))
	}
	from := min((number-1)*size, len(all))
	header := http.Header{}
	if links != nil {
		header.Set("Link", strings.Join(links, ", "))
	}
	return all[from:min(from+size, len(all))], header
}
