package githubtest

import (
	"maps"
	"slices"
	"strings"
)

// The events that tell what becomes of repositories and installations. Those of installations reach every App with a
// webhook, subscribed or not. https://docs.github.com/en/webhooks/webhook-events-and-payloads#installation

// event is one that is to be told to an App.
type event struct {
	app     *App
	name    string
	payload map[string]any
}

// telling makes a change with the lock held, and tells of it without.
func (gh *GitHub) telling(change func() []event) {
	_ = gh.tellingUnless(func() ([]event, error) { return change(), nil })
}

// tellingUnless tells of a change that may fail.
func (gh *GitHub) tellingUnless(change func() ([]event, error)) error {
	locked := func() ([]event, error) {
		gh.mu.Lock()
		defer gh.mu.Unlock()
		return change()
	}
	events, err := locked()
	for _, e := range events {
		e.app.Deliver(e.name, e.payload)
	}
	return err
}

// about is what the payload of every event has: who did it, and to what.
func (c *call) about(r *Repository, owner *Account, inst *Installation) map[string]any {
	body := map[string]any{"sender": c.userBody(&Account{ID: 583231, Login: "octocat", Kind: User})}
	if r != nil {
		repository := c.repositoryBody(r, nil)
		delete(repository, "pull_request_creation_policy")
		body["repository"] = repository
		body["installation"] = map[string]any{"id": inst.ID, "node_id": nodeID("I", inst.ID)}
	}
	if owner.Kind == Organization {
		body["organization"] = c.organizationBody(owner)
	}
	return body
}

// organizationBody is the schema "organization-simple-webhooks".
func (c *call) organizationBody(a *Account) map[string]any {
	api := c.api + "/orgs/" + a.Login
	return map[string]any{
		"login": a.Login, "id": a.ID, "node_id": nodeID("O", a.ID), "url": api, "description": nil,
		"avatar_url": c.userBody(a)["avatar_url"], "repos_url": api + "/repos",
		"events_url": api + "/events", "hooks_url": api + "/hooks",
		"issues_url": api + "/issues", "members_url": api + "/members{/member}",
		"public_members_url": api + "/public_members{/member}",
	}
}

// repositoryEvents tell what was done to a repository, with more of it in the payload. They are called with the lock
// held.
func (r *Repository) repositoryEvents(action string, more map[string]any) []event {
	var list []event
	for _, s := range r.subscribers("repository", "metadata") {
		payload := s.app.calls().about(r, r.owner, s.inst)
		payload["action"] = action
		maps.Copy(payload, more)
		list = append(list, event{s.app, "repository", payload})
	}
	return list
}

// changed tells what the options of a repository have become.
func (r *Repository) changed(from RepositoryOptions) []event {
	var events []event
	to := r.options
	for _, change := range []struct {
		was, is   bool
		on, orOff string
	}{
		{from.Archived, to.Archived, "archived", "unarchived"},
		{from.Public, to.Public, "publicized", "privatized"},
	} {
		switch {
		case change.is && !change.was:
			events = append(events, r.repositoryEvents(change.on, nil)...)
		case change.was && !change.is:
			events = append(events, r.repositoryEvents(change.orOff, nil)...)
		}
	}
	changes := map[string]any{}
	if from.DefaultBranch != to.DefaultBranch {
		changes["default_branch"] = map[string]any{"from": from.DefaultBranch}
	}
	if from.Description != to.Description {
		changes["description"] = map[string]any{"from": from.Description}
	}
	if !slices.Equal(from.Topics, to.Topics) {
		changes["topics"] = map[string]any{"from": list(from.Topics)}
	}
	if len(changes) > 0 {
		events = append(events, r.repositoryEvents("edited", map[string]any{"changes": changes})...)
	}
	return events
}

// installationEvents tell an App what was done to its installation.
func (i *Installation) installationEvents(action string) []event {
	if i.app.webhook.URL == "" {
		return nil
	}
	c := i.app.calls()
	payload := c.about(nil, i.account, i)
	payload["action"], payload["installation"] = action, c.installationBody(i)
	payload["repositories"], payload["requester"] = briefs(i.gh.sorted(i.covers)), nil
	if i.account.Kind == Enterprise {
		payload["enterprise"] = c.enterpriseBody(i.account)
	}
	return []event{{i.app, "installation", payload}}
}

// selecting changes which repositories an installation reaches, and tells which came and which went.
func (i *Installation) selecting(change func()) []event {
	if i.app.webhook.URL == "" {
		change()
		return nil
	}
	before := i.gh.sorted(i.covers)
	change()
	after := i.gh.sorted(i.covers)
	return i.selectionEvents(without(after, before), without(before, after))
}

// selectionEvents tell an App which repositories its installation reaches besides those it did, and which no more.
func (i *Installation) selectionEvents(added, removed []*Repository) []event {
	if i.app.webhook.URL == "" {
		return nil
	}
	var list []event
	for _, e := range []struct {
		action         string
		added, removed []*Repository
	}{{"added", added, nil}, {"removed", nil, removed}} {
		if len(e.added)+len(e.removed) == 0 {
			continue
		}
		c := i.app.calls()
		payload := c.about(nil, i.account, i)
		payload["action"], payload["installation"] = e.action, c.installationBody(i)
		payload["repository_selection"], payload["requester"] = i.selection(), nil
		payload["repositories_added"], payload["repositories_removed"] = briefs(e.added), briefs(e.removed)
		list = append(list, event{i.app, "installation_repositories", payload})
	}
	return list
}

// without are those of a list that another has not.
func without(list, other []*Repository) []*Repository {
	there := map[*Repository]bool{}
	for _, r := range other {
		there[r] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(r *Repository) bool { return there[r] })
}

// briefs are what the events of installations tell of repositories.
func briefs(list []*Repository) []any {
	bodies := make([]any, len(list))
	for i, r := range list {
		bodies[i] = map[string]any{"id": r.ID, "node_id": nodeID("R", r.ID), "name": r.name, "full_name": r.fullName(),
			"private": !r.options.Public}
	}
	return bodies
}

// refBody is the schemas "webhook-create" and "webhook-delete".
func (c *call) refBody(r *Repository, p push, inst *Installation) map[string]any {
	body := c.about(r, r.owner, inst)
	kind, name := "branch", strings.TrimPrefix(p.ref, "refs/heads/")
	if tag, ok := strings.CutPrefix(p.ref, "refs/tags/"); ok {
		kind, name = "tag", tag
	}
	body["ref"], body["ref_type"], body["pusher_type"] = name, kind, "user"
	if p.created() {
		body["master_branch"], body["description"] = r.options.DefaultBranch, nil
		if r.options.Description != "" {
			body["description"] = r.options.Description
		}
	}
	return body
}
