package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// Mirror is a directory in which `ghapp mirror` keeps repositories, under mirror: NAME: in the
// config file. What is not said there is as in [DefaultMirror].
type Mirror struct {
	Name   string
	Owners []string // nil: all that have the App installed
	To     string   // the directory, an absolute path

	// Which repositories are kept: all, but for what these say.
	Include, Exclude    []string // patterns of owner/name, or of the name alone
	Topics              []string // one of them
	Visibilities        []string // public, private, internal
	NoArchived, NoForks bool

	// What of them is kept besides branches, tags and notes.
	PullRequests, Wikis, LFS bool

	KeepHistory time.Duration // may be [Forever]
	Prune       bool
	PruneAfter  time.Duration
	FullEvery   time.Duration
	Leave       int   // requests
	MinFree     int64 // bytes
	Jobs        int

	Source Source  // of its name
	given  []Entry // its keys as they stand there
}

// Mirrors are the mirrors of the config file, in its order.
func (c *Config) Mirrors() []Mirror { return c.file.mirrors }

func (p *parser) mirror(name string, at, value *yaml.Node) (Mirror, bool) {
	m := DefaultMirror()
	m.Name, m.Source = name, p.source(at)
	if secretIn(name) != "" || !namePattern().MatchString(name) {
		p.problem(at.Line, "use up to 39 letters, digits, dots, hyphens and underscores",
			"this cannot be the name of a mirror")
		return m, false
	}
	var keys []string
	for _, o := range MirrorOptions() {
		if !o.Process {
			keys = append(keys, o.Key)
		}
	}
	before, where := p.count(), "mirror."+name
	p.each(value, where, keys, func(key string, _, value *yaml.Node) {
		if entry, ok := p.option(optionOf(MirrorOptions(), key), m.Field(key), where+"."+key, value); ok {
			entry.Key = where + "." + key
			m.given = append(m.given, entry)
		}
	})
	if !hasKey(value, "to") {
		p.problem(at.Line, "", "%s has no to", where)
	}
	return m, p.count() == before
}

// checkMirrors refuses two that keep one directory.
func (p *parser) checkMirrors(mirrors []Mirror) {
	first := map[string]Mirror{}
	for _, m := range mirrors {
		if other, taken := first[m.To]; taken {
			p.problem(m.Source.Line, "", "mirror.%s and mirror.%s (line %d) keep one directory",
				m.Name, other.Name, other.Source.Line)
			continue
		}
		first[m.To] = m
	}
}
