package githubtest

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"slices"
)

func (c *call) getApp() answer { return c.ok(c.appBody()) }

// getNamedApp tells of an App by its slug: of a public one everybody, of any other the App itself.
func (c *call) getNamedApp() answer {
	i := slices.IndexFunc(c.gh.apps, func(a *App) bool { return a.Slug == c.values["slug"] })
	if i < 0 {
		return c.notFound()
	}
	app := c.gh.apps[i]
	if app.private && app != c.app && (c.token == nil || c.token.inst.app != app) {
		return c.notFound()
	}
	c.app = app
	body := c.appBody()
	delete(body, "installations_count")
	return c.ok(body)
}

// convertManifest trades a code for the App with its secrets, once.
func (c *call) convertManifest() answer {
	code := c.values["code"]
	made := c.gh.registrations[code]
	delete(c.gh.registrations, code)
	if made == nil || c.gh.now().After(made.until) {
		return c.notFound()
	}
	c.app = made.app
	body := c.appBody()
	delete(body, "installations_count") // only for the App itself
	body["client_secret"] = inventSecret()
	body["webhook_secret"] = nil
	if made.webhookSecret != "" {
		body["webhook_secret"] = made.webhookSecret
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(made.key)}
	body["pem"] = string(pem.EncodeToMemory(block))
	c.app = nil
	return answer{status: http.StatusCreated, body: body}
}

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
