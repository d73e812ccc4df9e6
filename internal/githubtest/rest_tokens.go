package githubtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// tokenRequest is the body of a mint.
// https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
type tokenRequest struct {
	Repositories  []string          `json:"repositories"`
	RepositoryIDs []int64           `json:"repository_ids"`
	Permissions   map[string]string `json:"permissions"`
}

// minting is a mint under way: what is asked for, and the token that the checks narrow to it.
type minting struct {
	*call
	asked tokenRequest
	*token
}

// mintChecks are made in GitHub's order: the first that refuses, with a status other than 0, answers.
var mintChecks = []func(*minting) (status int, message string){
	func(m *minting) (int, string) { return m.inst.barred() },
	(*minting).readBody,
	(*minting).countRepositories,
	(*minting).narrowPermissions,
	(*minting).narrowRepositories,
}

// mint answers POST /app/installations/{id}/access_tokens.
func (c *call) mint() answer {
	inst := c.installation()
	if inst == nil {
		return c.notFound()
	}
	t := &token{inst: inst, permissions: maps.Clone(inst.permissions), created: c.gh.now()}
	m := &minting{call: c, token: t}
	for _, check := range mintChecks {
		if status, message := check(m); status != 0 {
			return c.fail(status, message)
		}
	}
	if o := c.overgrant; o != nil {
		t.extra = maps.Clone(o.Permissions)
		maps.Copy(t.permissions, o.Permissions)
		if o.AllRepositories {
			t.repos = nil
		}
	}
	t.expires = t.created.Add(c.gh.life).Truncate(time.Second)
	t.value = newToken(c.tokenFormat(), inst, t.created, t.expires)
	c.gh.tokens[t.value] = t
	c.gh.minted = append(c.gh.minted, t)
	return answer{status: http.StatusCreated, body: c.tokenBody(t)}
}

// readBody reads what is asked for. No body at all asks for everything.
func (m *minting) readBody() (status int, message string) {
	if len(bytes.TrimSpace(m.body)) == 0 {
		return 0, ""
	}
	if !json.Valid(m.body) {
		return http.StatusBadRequest, bodyNotJSON
	}
	if err := json.Unmarshal(m.body, &m.asked); err != nil {
		return http.StatusUnprocessableEntity, bodyInvalid + invalidPart(err)
	}
	return 0, ""
}

func (m *minting) countRepositories() (status int, message string) {
	if len(m.asked.Repositories)+len(m.asked.RepositoryIDs) > maxRepositories {
		return http.StatusUnprocessableEntity,
			fmt.Sprintf("%sNo more than %d repositories can be listed.", bodyInvalid, maxRepositories)
	}
	return 0, ""
}

func (m *minting) narrowPermissions() (status int, message string) {
	if len(m.asked.Permissions) == 0 {
		return 0, ""
	}
	for name, value := range m.asked.Permissions {
		if level(value) == 0 || level(m.inst.permissions[name]) < level(value) || name == "workflows" && value != "write" {
			return http.StatusUnprocessableEntity, permissionNotGiven
		}
	}
	m.permissions = grant(m.asked.Permissions)
	return 0, ""
}

// narrowRepositories leaves the token one for all repositories where none is asked for: an empty list narrows nothing.
func (m *minting) narrowRepositories() (status int, message string) {
	var asked []*Repository
	for _, name := range m.asked.Repositories {
		asked = append(asked, m.gh.names[fold(m.inst.account.Login+"/"+name)])
	}
	for _, id := range m.asked.RepositoryIDs {
		asked = append(asked, m.gh.repos[id])
	}
	if len(asked) == 0 {
		return 0, ""
	}
	m.repos = map[int64]bool{}
	for _, r := range asked {
		if r == nil || !m.inst.covers(r) {
			return http.StatusUnprocessableEntity, repositoryNotGiven
		}
		m.repos[r.ID] = true
	}
	return 0, ""
}

// tokenBody tells of a token that was minted.
func (c *call) tokenBody(t *token) map[string]any {
	body := map[string]any{
		"token":                t.value,
		"expires_at":           timestamp(t.expires),
		"permissions":          maps.Clone(t.permissions),
		"repository_selection": t.inst.selection(),
	}
	if t.repos != nil {
		body["repository_selection"] = "selected"
		body["repositories"] = c.repositories(c.gh.reached(t), t)
	}
	return body
}

// invalidPart names what of a body has the wrong type.
func invalidPart(err error) string {
	part := "the body"
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		part = "properties/" + strings.ReplaceAll(wrong.Field, ".", "/")
	}
	return fmt.Sprintf("For '%s', the value is not of the right type.", part)
}

// tokenFormat is what the override header asks for, if it asks in a way GitHub heeds.
func (c *call) tokenFormat() TokenFormat {
	switch c.r.Header.Get(statelessTokenAsked) {
	case "enabled":
		return Stateless
	case "disabled":
		return Classic
	}
	return c.gh.format
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
