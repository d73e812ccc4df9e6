package mirror

import (
	"path"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
)

// chosen reports whether a repository is one of those that are to be kept.
func chosen(m *config.Mirror, r *Record) bool {
	switch {
	case len(m.Include) > 0 && !fits(m.Include, r.Name), fits(m.Exclude, r.Name),
		m.NoArchived && r.Archived, m.NoForks && r.Fork,
		len(m.Visibilities) > 0 && !slices.Contains(m.Visibilities, r.Visibility):
		return false
	}
	return len(m.Topics) == 0 || slices.ContainsFunc(m.Topics, func(topic string) bool {
		return slices.ContainsFunc(r.Topics, func(has string) bool { return strings.EqualFold(has, topic) })
	})
}

// fits reports whether a name fits one of some patterns, in whatever letter case. A pattern
// without a slash is about the name alone.
func fits(patterns []string, name string) bool {
	name = strings.ToLower(name)
	_, short, _ := strings.Cut(name, "/")
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		of := short
		if strings.Contains(pattern, "/") {
			of = name
		}
		ok, _ := path.Match(strings.ToLower(pattern), of) // the configuration has checked it
		return ok
	})
}
