package githubtest

import (
	"fmt"
	"slices"
	"strings"
)

// bot is the kind of the user that an App acts as.
const bot AccountKind = "Bot"

// getUser tells everybody of a user, an organization, or the bot of an App, a private one's too.
func (c *call) getUser() answer {
	a := c.gh.accounts[fold(c.values["account"])]
	if name, ok := strings.CutSuffix(fold(c.values["account"]), "[bot]"); ok {
		if i := slices.IndexFunc(c.gh.apps, func(a *App) bool { return a.Slug == name }); i >= 0 {
			app := c.gh.apps[i]
			a = &Account{ID: app.BotID, Login: app.Slug + "[bot]", Kind: bot, created: app.created}
		}
	}
	if a == nil || a.Kind == Enterprise {
		return c.notFound()
	}
	body := c.userBody(a)
	if a.Kind == bot {
		body["html_url"] = c.web + "/apps/" + strings.TrimSuffix(a.Login, "[bot]")
	}
	for _, name := range []string{"name", "company", "location", "email", "hireable", "bio"} {
		body[name] = nil
	}
	body["blog"] = ""
	for _, name := range []string{"public_repos", "public_gists", "followers", "following"} {
		body[name] = 0
	}
	body["created_at"], body["updated_at"] = timestamp(a.created), timestamp(a.created)
	return c.ok(body)
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
