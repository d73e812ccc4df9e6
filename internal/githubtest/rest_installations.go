package githubtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

func (c *call) listInstallations() answer {
	list := c.gh.installations(c.app)
	if since, err := time.Parse(time.RFC3339, c.parameter("since")); err == nil {
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
