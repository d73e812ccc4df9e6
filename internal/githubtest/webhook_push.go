package githubtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// subscriber is an App whose webhook is told of what is done to a repository.
type subscriber struct {
	app  *App
	inst *Installation
}

// subscribers are the Apps that are told of an event: subscribed, with a webhook, and with an installation that reaches
// the repository, has the permission, and is not suspended. It is called with the lock held.
func (r *Repository) subscribers(event, permission string) []subscriber {
	var list []subscriber
	for _, a := range r.gh.apps {
		if a.webhook.URL == "" || !slices.Contains(a.events, event) {
			continue
		}
		inst := r.gh.installed(a, r.owner)
		if inst != nil && inst.covers(r) && inst.suspended.IsZero() &&
			level(inst.permissions[permission]) >= level("read") {
			list = append(list, subscriber{a, inst})
		}
	}
	return list
}

// pushing makes a change to refs, and tells the webhooks.
func (r *Repository) pushing(change func() error) error {
	told := map[string][]subscriber{}
	for _, event := range []string{"push", "create", "delete"} {
		if r.wikiOf == nil {
			r.gh.mu.Lock()
			told[event] = r.subscribers(event, "contents")
			r.gh.mu.Unlock()
		}
	}
	if len(told["push"])+len(told["create"])+len(told["delete"]) == 0 {
		return change()
	}
	before, err := r.told()
	if err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	after, err := r.told()
	if err != nil {
		return err
	}
	pushes, err := r.pushes(before, after)
	if err != nil {
		return err
	}
	for _, p := range pushes {
		r.gh.telling(func() []event { return r.pushEvents(p, told) })
	}
	return nil
}

// pushEvents tell of one ref that was changed.
func (r *Repository) pushEvents(p push, told map[string][]subscriber) []event {
	var events []event
	for _, s := range told["push"] {
		events = append(events, event{s.app, "push", s.app.calls().pushBody(r, p, s.inst)})
	}
	name := map[bool]string{p.created(): "create", p.deleted(): "delete"}[true]
	for _, s := range told[name] {
		events = append(events, event{s.app, name, s.app.calls().refBody(r, p, s.inst)})
	}
	return events
}

// told are the refs that webhooks are told of, with their object IDs.
func (r *Repository) told() (map[string]string, error) {
	out, err := r.ask("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
	return parseRefs(out), err
}

// push is a ref that was changed.
type push struct {
	ref, before, after string // before and after as they are told
	forced             bool
	commits            []any // bodies, the oldest first, of those that no ref had before
	head               any   // body of the commit the ref is at, or nil
}

func (p push) created() bool { return isZero(p.before) }
func (p push) deleted() bool { return isZero(p.after) }

func isZero(oid string) bool { return strings.Trim(oid, "0") == "" }

// pushes compares refs, and returns what GitHub tells of the differences.
func (r *Repository) pushes(before, after map[string]string) ([]push, error) {
	var list []push
	branches, tags := 0, 0
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, ref := range slices.Sorted(maps.Keys(names)) {
		if before[ref] == after[ref] {
			continue
		}
		if strings.HasPrefix(ref, "refs/tags/") {
			tags++
		} else {
			branches++
		}
		p := push{ref: ref, before: before[ref], after: after[ref], commits: []any{}}
		zero := strings.Repeat("0", max(len(p.before), len(p.after)))
		p.before, p.after = cmp.Or(p.before, zero), cmp.Or(p.after, zero)
		list = append(list, p)
	}
	list = slices.DeleteFunc(list, func(p push) bool {
		isTag := strings.HasPrefix(p.ref, "refs/tags/")
		return isTag && tags > maxTagsTold || !isTag && branches > maxBranchesTold
	})
	r.files.Lock()
	defer r.files.Unlock()
	for i := range list {
		if err := r.look(&list[i], before); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// look finds out what a push brought. It is called with files held.
func (r *Repository) look(p *push, before map[string]string) error {
	if p.deleted() {
		return nil
	}
	if !p.created() {
		_, err := r.run(nil, "merge-base", "--is-ancestor", p.before, p.after)
		p.forced = err != nil
	}
	head, err := r.log(1, p.after)
	if err != nil {
		return err
	}
	p.head = head[0]
	known := append([]string{"--not"}, slices.Sorted(maps.Values(before))...)
	if len(known) == 1 {
		known = nil
	}
	p.commits, err = r.log(2048, append([]string{p.after}, known...)...)
	return err
}

// log are the bodies of commits, the oldest first.
func (r *Repository) log(most int, commits ...string) ([]any, error) {
	const format = "%x1e%H%x1f%T%x1f%an%x1f%ae%x1f%aI%x1f%cn%x1f%ce%x1f%cI%x1f%B%x1f"
	args := append([]string{"-z", "--reverse", "--name-status", "--no-renames", "--root", "--format=" + format,
		fmt.Sprintf("--max-count=%d", most)}, commits...)
	out, err := r.run(nil, "log", args...)
	if err != nil {
		return nil, err
	}
	bodies := []any{}
	for _, record := range strings.Split(out, "\x1e")[1:] {
		f := strings.Split(record, "\x1f")
		changed := map[string][]string{"A": {}, "D": {}, "M": {}}
		words := strings.FieldsFunc(f[9], func(r rune) bool { return r == 0 })
		for i := 0; i+1 < len(words); i += 2 {
			kind := strings.TrimSpace(words[i])
			if kind == "T" { // a file that became a link, say
				kind = "M"
			}
			changed[kind] = append(changed[kind], words[i+1])
		}
		bodies = append(bodies, map[string]any{
			"id": f[0], "tree_id": f[1], "distinct": true, "message": strings.TrimSpace(f[8]), "timestamp": f[7],
			"author":    map[string]any{"name": f[2], "email": f[3], "date": f[4]},
			"committer": map[string]any{"name": f[5], "email": f[6], "date": f[7]},
			"added":     changed["A"], "removed": changed["D"], "modified": changed["M"],
		})
	}
	return bodies, nil
}

// pushBody is the schema "webhook-push".
func (c *call) pushBody(r *Repository, p push, inst *Installation) map[string]any {
	web := c.web + "/" + r.fullName()
	located := func(commit any) any { // a copy: another App may be told another address
		body, ok := commit.(map[string]any)
		if !ok {
			return nil
		}
		body = maps.Clone(body)
		body["url"] = fmt.Sprintf("%s/commit/%s", web, body["id"])
		return body
	}
	commits := make([]any, len(p.commits))
	for i, commit := range p.commits {
		commits[i] = located(commit)
	}
	body := c.about(r, r.owner, inst)
	repository := body["repository"].(map[string]any)
	repository["created_at"], repository["pushed_at"] = r.created.Unix(), r.pushed.Unix()
	repository["stargazers"], repository["master_branch"] = 0, r.options.DefaultBranch
	owner := c.userBody(r.owner)
	owner["name"], owner["email"] = r.owner.Login, nil
	repository["owner"] = owner
	maps.Copy(body, map[string]any{
		"ref": p.ref, "before": p.before, "after": p.after, "base_ref": nil,
		"created": p.created(), "deleted": p.deleted(), "forced": p.forced,
		"compare":     fmt.Sprintf("%s/compare/%.12s...%.12s", web, p.before, p.after),
		"commits":     commits,
		"head_commit": located(p.head),
		"pusher":      map[string]any{"name": "octocat", "email": "octocat@example.com"},
	})
	if r.owner.Kind == Organization {
		repository["organization"] = r.owner.Login
	}
	return body
}
