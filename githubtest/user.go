package githubtest

import (
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
