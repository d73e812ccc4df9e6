package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ghapp-dev/ghapp"
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

// syncKeys are the keys of a Sync, in the order in which people read them.
func syncKeys() []string {
	return []string{
		"repository", "branch", "tag", "commit", "version", "to", "mode", "keep", "period", "depth", "filter", "sparse", "submodules", "lfs",
		"fsck_ignore", "verify_signatures", "allowed_signers", "check", "check_timeout", "exec", "exec_timeout", "exec_tries",
	}
}

func (p *parser) sync(name string, at, value *yaml.Node) (Sync, bool) {
	s := Sync{Name: name, Source: p.source(at)}
	if secretIn(name) != "" || !namePattern().MatchString(name) {
		p.problem(at.Line, "use up to 39 letters, digits, dots, hyphens and underscores", "this cannot be the name of a directory to keep")
		return s, false
	}
	before, where := p.count(), "sync."+name
	p.each(value, where, syncKeys(), func(key string, _, value *yaml.Node) {
		s.read(p, key, where+"."+key, value)
	})
	for _, key := range []string{"repository", "to"} {
		if !hasKey(value, key) {
			p.problem(at.Line, "", "%s has no %s", where, key)
		}
	}
	var wants []string
	for _, key := range []string{"branch", "tag", "commit", "version"} {
		if hasKey(value, key) {
			wants = append(wants, key)
		}
	}
	if len(wants) > 1 {
		p.problem(at.Line, "leave one of them", "%s has %s", where, strings.Join(wants, " and "))
	}
	return s, p.count() == before
}

// read reads one key.
func (s *Sync) read(p *parser, key, where string, node *yaml.Node) {
	text, of := "", map[string]*string{
		"repository": &s.Repository, "branch": &s.Branch, "tag": &s.Tag, "commit": &s.Commit, "version": &s.Version,
		"to": &s.To, "mode": &s.Mode, "filter": &s.Filter, "allowed_signers": &s.AllowedSigners, "check": &s.Check, "exec": &s.Exec,
	}
	lists := map[string]struct {
		to   *[]string
		want string
	}{
		"sparse":      {&s.Sparse, "a list of paths, such as [docs, site/public]"},
		"fsck_ignore": {&s.FsckIgnore, "a list of checks of git's, such as [zeroPaddedDate]"},
	}
	numbers := map[string]*int{"keep": &s.Keep, "depth": &s.Depth, "exec_tries": &s.ExecTries}
	flags := map[string]*bool{"submodules": &s.Submodules, "lfs": &s.LFS, "verify_signatures": &s.VerifySignatures}
	times := map[string]*time.Duration{"period": &s.Period, "check_timeout": &s.CheckTimeout, "exec_timeout": &s.ExecTimeout}
	ok := true
	switch {
	case lists[key].to != nil:
		if node.Kind != yaml.SequenceNode {
			p.wrongKind(node, where, lists[key].want)
			return
		}
		for _, item := range node.Content {
			if text, ok := p.line(item, where); ok {
				*lists[key].to = append(*lists[key].to, text)
			}
		}
		text = strings.Join(*lists[key].to, ",")
	case numbers[key] != nil:
		n, err := strconv.Atoi(node.Value)
		if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!int" || err != nil || n < 1 {
			p.problem(node.Line, "", "%s: want a number from 1 on", where)
			return
		}
		*numbers[key], text = n, node.Value
	case flags[key] != nil:
		if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!bool" {
			p.problem(node.Line, "", "%s: want true or false", where)
			return
		}
		*flags[key], text = strings.EqualFold(node.Value, "true"), node.Value
	case times[key] != nil:
		d, err := time.ParseDuration(node.Value)
		if err != nil || d < time.Second {
			p.problem(node.Line, "", "%s: want a time from 1s on, such as 30s or 5m", where)
			return
		}
		*times[key], text = d, node.Value
	default:
		if text, ok = p.line(node, where); !ok {
			return
		}
		if text, ok = p.syncText(node, key, where, text); !ok {
			return
		}
		*of[key] = text
	}
	s.given = append(s.given, Entry{Key: "sync." + s.Name + "." + key, Value: text, Source: p.source(node)})
}

// syncText checks a text of a Sync, and completes a path.
func (p *parser) syncText(node *yaml.Node, key, where, text string) (string, bool) {
	var err error
	switch key {
	case "repository":
		_, err = ghapp.ParseRepository(text)
	case "mode":
		if modes := []string{"link", "dir"}; !slices.Contains(modes, text) {
			err = fmt.Errorf("want link or dir")
		}
	case "to", "allowed_signers":
		if text, err = complete(text, filepath.Dir(p.path), p.home); err == nil {
			text = filepath.Clean(text)
		}
	}
	if err != nil {
		p.problem(node.Line, "", "%s: %s", where, err)
		return "", false
	}
	return text, true
}

// line is a text of one line that is no secret. A number may be the name of a branch or
// tag.
func (p *parser) line(node *yaml.Node, where string) (string, bool) {
	text := strings.TrimSpace(node.Value)
	switch {
	case node.Kind != yaml.ScalarNode:
		p.wrongKind(node, where, "a single value")
	case text == "" || node.ShortTag() == "!!null":
		p.problem(node.Line, "give it one, or leave the key out", "%s has no value", where)
	case secretIn(text) == aPrivateKey:
		p.privateKey(node.Line, where+": ")
	case secretIn(text) != "" && secretIn(text) != aClientSecret: // a commit looks like one
		p.problem(node.Line, hintFor(secretIn(text)), "%s holds %s", where, secretIn(text))
	case unfit("", text) != "":
		p.problem(node.Line, "", "%s: %s", where, unfit("", text))
	default:
		return text, true
	}
	return "", false
}

// checkSyncs refuses two that keep one directory.
func (p *parser) checkSyncs(syncs []Sync) {
	first := map[string]Sync{}
	for _, s := range syncs {
		if other, taken := first[s.To]; taken {
			p.problem(s.Source.Line, "", "sync.%s and sync.%s (line %d) keep one directory", s.Name, other.Name, other.Source.Line)
			continue
		}
		first[s.To] = s
	}
}
