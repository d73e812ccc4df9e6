package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Sync is a directory that `ghapp sync` keeps at a commit, under sync: NAME: in the
// config file. A field that the file does not name is zero.
type Sync struct {
	Name string
	// Repository is owner/name, or an address.
	Repository string
	// At most one of these says which commit is wanted; without any, it is that of the
	// default branch.
	Branch, Tag, Commit, Version string

	To   string // the directory, an absolute path
	Mode string // link or dir
	Keep int    // releases
	// Share is reflink, link or none.
	Share string
	// TrustParent takes a directory above that other users may write to.
	TrustParent bool

	Period     time.Duration
	Depth      int // commits
	Filter     string
	Sparse     []string
	Submodules bool
	LFS        bool
	FsckIgnore []string // names of git's checks

	VerifySignatures bool
	AllowedSigners   string // a path

	Check, Exec               string // command lines
	CheckTimeout, ExecTimeout time.Duration
	ExecTries                 int

	Source Source  // of its name
	given  []Entry // its keys as they stand there
}

// Syncs are the directories of the config file, in its order.
func (c *Config) Syncs() []Sync { return c.file.syncs }

// syncKeys are the keys of a Sync, in the order in which people read them. Common are those
// that can be the same for several directories.
func syncKeys(common bool) []string {
	var keys []string
	for _, o := range SyncOptions() {
		if !o.Process && !(common && o.Own) {
			keys = append(keys, o.Key)
		}
	}
	return keys
}

// syncDefaults are what directories have in common: sync_defaults of the config file.
type syncDefaults struct {
	Sync
	has map[string]bool // the keys that stand there
}

func (p *parser) syncDefaults(value *yaml.Node) syncDefaults {
	d := syncDefaults{has: map[string]bool{}}
	p.each(value, "sync_defaults", syncKeys(true), func(key string, _, value *yaml.Node) {
		d.has[key] = true
		d.read(p, key, "sync_defaults."+key, value)
	})
	p.checkRevisions(value.Line, "sync_defaults", value)
	return d
}

// inherit takes what the defaults say and the directory does not. What the directory
// wants to be at takes the place of all that the defaults say of that.
func (s *Sync) inherit(d syncDefaults, own func(key string) bool) {
	wants := slices.ContainsFunc(revisionKeys(), own)
	for _, o := range SyncOptions() {
		if !d.has[o.Key] || own(o.Key) || wants && o.IsRevision() {
			continue
		}
		reflect.ValueOf(s.Field(o.Key)).Elem().Set(reflect.ValueOf(d.Field(o.Key)).Elem())
		for _, e := range d.given {
			if e.Key == o.Key {
				e.Key = "sync." + s.Name + "." + o.Key
				s.given = append(s.given, e)
			}
		}
	}
}

func (p *parser) sync(name string, at, value *yaml.Node, defaults syncDefaults) (Sync, bool) {
	s := Sync{Name: name, Source: p.source(at)}
	if secretIn(name) != "" || !namePattern().MatchString(name) {
		p.problem(at.Line, "use up to 39 letters, digits, dots, hyphens and underscores",
			"this cannot be the name of a directory to keep")
		return s, false
	}
	before, where := p.count(), "sync."+name
	p.each(value, where, syncKeys(false), func(key string, _, value *yaml.Node) {
		s.read(p, key, where+"."+key, value)
	})
	for _, key := range []string{"repository", "to"} {
		if !hasKey(value, key) {
			p.problem(at.Line, "", "%s has no %s", where, key)
		}
	}
	p.checkRevisions(at.Line, where, value)
	for i := range s.given {
		s.given[i].Key = where + "." + s.given[i].Key
	}
	s.inherit(defaults, func(key string) bool { return hasKey(value, key) })
	return s, p.count() == before
}

// checkRevisions refuses a mapping that wants several things at once.
func (p *parser) checkRevisions(line int, where string, mapping *yaml.Node) {
	var wants []string
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if key := mapping.Content[i]; slices.Contains(revisionKeys(), key.Value) {
			wants = append(wants, key.Value)
		}
	}
	if len(wants) > 1 {
		p.problem(line, "leave one of them", "%s has %s", where, strings.Join(wants, " and "))
	}
}

// read reads one key.
func (s *Sync) read(p *parser, key, where string, node *yaml.Node) {
	if entry, ok := p.option(optionOf(SyncOptions(), key), s.Field(key), where, node); ok {
		s.given = append(s.given, entry)
	}
}

// checkSyncs refuses two that keep one directory.
func (p *parser) checkSyncs(syncs []Sync) {
	first := map[string]Sync{}
	for _, s := range syncs {
		if other, taken := first[s.To]; taken {
			p.problem(s.Source.Line, "", "sync.%s and sync.%s (line %d) keep one directory",
				s.Name, other.Name, other.Source.Line)
			continue
		}
		first[s.To] = s
	}
}
