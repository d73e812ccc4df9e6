package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/permission"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// rights are what git may do in repositories.
type rights struct {
	of          string // owner/name, or owner/* for all of an owner; "" for all
	permissions ghapp.Permissions
	source      Source
}

// gitPermissions are those that GitHub's git service looks at, and the values that
// they take: contents, and workflows where a push changes a file of
// .github/workflows
// (https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps).
func gitPermissions() map[string][]string {
	return map[string][]string{"contents": {"read", "write"}, "workflows": {"write"}}
}

// repositoryPattern is owner/name or owner/*.
var repositoryPattern = lazily(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/(\*|[A-Za-z0-9._-]{1,100})$`)

// GitPermissions returns what git may do in a repository: what the config file says
// of it, or else of all repositories of its owner, or else of all of the App's. git
// does not tell a credential helper whether it is about to fetch or to push, so
// nothing but the file allows to write. Nil, where the file says nothing, is to read
// the contents.
func (a AppSettings) GitPermissions(r ghapp.RepositoryName) ghapp.Permissions {
	for _, of := range []string{r.String(), r.Owner + "/*", ""} {
		for _, known := range a.rights {
			if strings.EqualFold(known.of, of) {
				return known.permissions
			}
		}
	}
	return nil
}

// listRights are the entries of what git may do.
func (a AppSettings) listRights() []Entry {
	all := Entry{App: a.Name, Key: "permissions", Value: "contents:read", Source: Source{Kind: FromDefault}}
	var entries []Entry
	for _, r := range a.rights {
		if r.of == "" {
			all.Value, all.Source = r.permissions.String(), r.source
			continue
		}
		entries = append(entries, Entry{App: a.Name, Key: "repositories." + r.of,
			Value: r.permissions.String(), Source: r.source})
	}
	return append([]Entry{all}, entries...)
}

// permissions reads what git may do.
func (p *parser) permissions(node *yaml.Node, where string) (ghapp.Permissions, bool) {
	known := gitPermissions()
	names := []string{"contents", "workflows"}
	before := p.count()
	if isNull(node) || node.Kind == yaml.MappingNode && len(node.Content) == 0 {
		p.problem(node.Line, "write {contents: write}, or leave the key out", "%s has no value", where)
		return nil, false
	}
	permissions := ghapp.Permissions{}
	p.each(node, where, names, func(name string, _, value *yaml.Node) {
		text, ok := p.text(value, name, where+"."+name)
		switch {
		case !ok:
		case !slices.Contains(known[name], text):
			p.problem(value.Line, spelling.DidYouMean(spelling.Nearest(text, known[name])), "%s.%s: want %s", where, name,
				strings.Join(known[name], " or "))
		default:
			permissions[name] = text
		}
	})
	if p.count() > before {
		return nil, false
	}
	if permissions["workflows"] != "" && permissions["contents"] != "write" {
		p.problem(node.Line, "add contents: write", "%s: workflows is of use to those only who may write contents", where)
		return nil, false
	}
	return permissions, true
}

// repositories reads what git may do in some of an App's repositories.
func (p *parser) repositories(node *yaml.Node, where string) []rights {
	var list []rights
	seen := map[string]int{}
	p.each(node, where, nil, func(name string, at, value *yaml.Node) {
		folded := strings.ToLower(name)
		switch {
		case !repositoryPattern().MatchString(name) || secretIn(name) != "" || strings.HasSuffix(name, "/.") ||
			strings.HasSuffix(name, "/.."):
			p.problem(at.Line, "write OWNER/NAME, or OWNER/* for all of an owner's", "%s: %s is no repository",
				where, named("the key", name))
			return
		case seen[folded] != 0:
			p.problem(at.Line, "", "%s of %s is there twice, first in line %d", named("key", name), where, seen[folded])
			return
		}
		seen[folded] = at.Line
		if permissions, ok := p.permissions(value, where+"."+name); ok {
			list = append(list, rights{name, permissions, p.source(at)})
		}
	})
	return list
}

// checkRights refuses what git may do in repositories of an owner whom the App is
// not for: a name that was written wrong would silently allow nothing.
func (p *parser) checkRights(app fileApp) {
	for _, r := range app.rights {
		owner, _, ok := strings.Cut(r.of, "/")
		if ok && len(app.owners) > 0 && !app.isFor(owner) {
			hint := spelling.DidYouMean(spelling.Nearest(owner, app.owners))
			if hint == "" {
				hint = fmt.Sprintf("add %s to owners", owner)
			}
			p.problem(r.source.Line, hint, "apps.%s.repositories: %s is not among the owners of this App", app.name, owner)
		}
	}
}

// count is the number of problems so far.
func (p *parser) count() int { return len(p.problems) + p.more }

// PermissionError is a permission that [ParsePermissions] does not read.
type PermissionError struct {
	Text  string // what is wrong with it
	Meant string // what may have been meant; empty: nothing comes to mind
}

func (e *PermissionError) Error() string { return e.Text }

// ParsePermissions reads name:level pairs; "all" alone asks for everything the
// installation was granted. A name that may be one of GitHub's is not looked for in a
// list: GitHub adds to it. The error is a [*PermissionError].
func ParsePermissions(list []string) (permissions ghapp.Permissions, all bool, err error) {
	if len(list) == 1 && list[0] == "all" {
		return nil, true, nil
	}
	permissions = ghapp.Permissions{}
	for _, entry := range list {
		name, level, err := parsePermission(strings.TrimSpace(entry))
		if err != nil {
			return nil, false, err
		}
		if _, twice := permissions[name]; twice {
			return nil, false, &PermissionError{Text: name + " is given twice"}
		}
		permissions[name] = level
	}
	return permissions, false, nil
}

// parsePermission reads one name:level pair.
func parsePermission(entry string) (name, level string, err error) {
	name, level, ok := strings.Cut(entry, ":")
	known := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	if !slices.Contains(permission.Names(), known) {
		known = spelling.Nearest(known, permission.Names())
	}
	refuse := func(name, level, format string, args ...any) (string, string, error) {
		e := &PermissionError{Text: fmt.Sprintf(format, args...)}
		if name != "" && level != "" {
			e.Meant = name + ":" + level
		}
		return "", "", e
	}
	switch {
	case !ok && slices.Contains(permission.Names(), known):
		return refuse(known, "read", "%s is not NAME:read, NAME:write or NAME:admin", text.Quoted(entry))
	case !ok || name == "" || level == "":
		return refuse("", "", "%s is not NAME:read, NAME:write or NAME:admin", text.Quoted(entry))
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "":
		return refuse(known, level, "%s is no permission of GitHub's: their names are of small letters and _",
			text.Quoted(name))
	case !slices.Contains(permission.Levels(), level):
		return refuse(name, spelling.Nearest(level, permission.Levels()),
			"%s: a permission is read, write or admin", text.Quoted(entry))
	}
	return name, level, nil
}
