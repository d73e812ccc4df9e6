package policy

import (
	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/strictyaml"
)

// RepositoryFile is what a repository allows itself, in the file .github/ghapp.yaml: whom, and
// how much at most. It takes away from what the policy gives, and adds nothing.
type RepositoryFile struct {
	allows []allowed
}

type allowed struct {
	who         matcher
	permissions ghapp.Permissions
}

// ParseRepositoryFile reads the text of a repository's file as strictly as a policy. The error
// is a [*config.Error].
func ParseRepositoryFile(name string, data []byte) (*RepositoryFile, error) {
	f := &RepositoryFile{}
	err := strictyaml.Parse(name, data, func(root strictyaml.Value) {
		r := reader{}
		root.Keys(map[string]func(strictyaml.Value){
			"allow": func(v strictyaml.Value) {
				for _, item := range v.Items() {
					f.allows = append(f.allows, r.allowed(item))
				}
			},
		})
		if !root.IsMapping() || !root.Has("allow") {
			root.Problem("add allow:", "nothing is allowed")
		}
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (r *reader) allowed(v strictyaml.Value) allowed {
	var a allowed
	before := v.Count()
	keys := r.matcher(&a.who)
	keys["permissions"] = func(v strictyaml.Value) { a.permissions = permissions(v) }
	v.Keys(keys)
	switch {
	case v.Count() > before:
	case a.permissions == nil:
		v.Problem("add permissions:, such as {contents: read}", "no permissions are named")
	default:
		checkMatcher(v, &a.who)
	}
	return a
}

// Refuses says why the repository does not allow a caller these permissions, or nothing. One
// entry has to allow them all.
func (f *RepositoryFile) Refuses(c caller.Caller, asked ghapp.Permissions) string {
	why := "it allows nobody anything"
	for _, a := range f.allows {
		if why = a.who.refuses(c); why != "" {
			continue
		}
		if covers(a.permissions, asked) {
			return ""
		}
		why = "it allows " + a.permissions.String() + " at most"
	}
	return why
}
