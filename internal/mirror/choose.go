package mirror

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/text"
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

// checkFit tells of patterns that fit no repository, which may be misspelled, once all are known.
func (p *pass) checkFit(sites map[int64]*site) {
	for _, s := range sites {
		if !s.complete {
			return
		}
	}
	var unfit []string
	for _, pattern := range p.Entry.Include {
		fit := false
		for id := range p.seen {
			fit = fit || fits([]string{pattern}, p.state.Repositories[id].Name)
		}
		if !fit {
			unfit = append(unfit, pattern)
		}
	}
	if words := text.ShellWords(unfit...); words != p.unfit {
		if p.unfit = words; words != "" {
			p.Log.Warn("no repository fits a pattern of --include", "patterns", words)
		}
	}
	switch {
	case len(sites) > 0 && len(p.seen) == 0: // an empty list is no sign that all is well
		p.report.None = &fault.ExitError{Code: fault.Refused,
			Err:  errors.New("nothing is mirrored: the App reaches no repository"),
			Hint: "select repositories in the settings of its installation; mirrors that are there stay as they are",
		}
	case len(p.seen) > 0 && p.allLeft():
		p.report.None = &fault.ExitError{Code: fault.Configuration,
			Err:  fmt.Errorf("nothing is mirrored: the options leave out all %d repositories that the App reaches", len(p.seen)),
			Hint: "`ghapp repos OWNER` lists them; look at --include, --exclude, --topic and --visibility",
		}
	}
}

// allLeft reports whether the options leave out all that was listed.
func (p *pass) allLeft() bool {
	for id := range p.seen {
		if !p.state.Repositories[id].Left {
			return false
		}
	}
	return true
}
