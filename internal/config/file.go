package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/spelling"
)

// file is what a config file says.
type file struct {
	def     Value // the name of the App to use by default
	apps    []fileApp
	syncs   []Sync
	mirrors []Mirror
}

// fileApp is one App of a file.
type fileApp struct {
	name   string
	line   int
	values map[string]Value // by the keys of Settings
	owners []string
	source Source // of owners
	rights []rights
}

// host returns the host of the App, in the form in which names are compared.
func (a fileApp) host() string { return hostName(a.values["host"].Text) }

func (a fileApp) isFor(owner string) bool {
	return slices.ContainsFunc(a.owners, func(o string) bool { return strings.EqualFold(o, owner) })
}

// app returns the App of this name.
func (f file) app(name string) (fileApp, bool) {
	i := slices.IndexFunc(f.apps, func(a fileApp) bool { return a.name == name })
	if i < 0 {
		return fileApp{}, false
	}
	return f.apps[i], true
}

func names(apps []fileApp) []string {
	var names []string
	for _, a := range apps {
		names = append(names, a.name)
	}
	return names
}

var (
	// namePattern is what the name of an App may be. It is shorter than any token
	// or secret of GitHub's, so that a message may repeat it.
	namePattern  = lazily(`^[A-Za-z0-9][A-Za-z0-9._-]{0,38}$`)
	ownerPattern = lazily(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	linePattern  = lazily(`^yaml: (?:line ([0-9]+): )?(.*)`)
)

// lazily compiles a pattern when it is first needed: git starts this program anew
// for every question, and most of them need few of these.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// mostProblems is the number of problems that are told; further ones are counted.
const mostProblems = 50

// parser collects the problems of a file.
type parser struct {
	path, home string
	keyDir     string // of keys that are files and have a relative path
	lines      int
	problems   []Problem
	more       int // problems after the last of these
}

// parse reads a config file. Each of its problems has the file and a line.
func parse(path string, data []byte, home string) (file, []Problem) {
	return parseWithKeys(path, data, home, filepath.Dir(path))
}

// parseWithKeys is parse with another directory for the keys of Apps.
func parseWithKeys(path string, data []byte, home, keyDir string) (file, []Problem) {
	p := &parser{path: path, home: home, keyDir: keyDir, lines: bytes.Count(data, []byte("\n")) + 1}
	var f file
	if root := p.document(data); root != nil {
		f = p.file(root)
	}
	if p.more > 0 {
		last := p.problems[mostProblems-1]
		p.problems = append(p.problems, Problem{File: path, Line: last.Line,
			Text: fmt.Sprintf("and %d problems more", p.more)})
	}
	return f, p.problems
}

func (p *parser) problem(line int, hint, format string, args ...any) {
	if len(p.problems) == mostProblems {
		p.more++
		return
	}
	line = min(max(line, 1), p.lines)
	p.problems = append(p.problems, Problem{File: p.path, Line: line, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// document returns the root of the one YAML document, or nil where there is none.
func (p *parser) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) {
		return nil // empty, or nothing but comments
	}
	if err == nil {
		err = decoder.Decode(&second)
		if err == nil {
			p.problem(second.Line, "", "a second YAML document begins here; the file is to have one")
			return nil
		}
	}
	if errors.Is(err, io.EOF) {
		return first.Content[0]
	}
	// A key that was pasted in is why many a file is no YAML.
	if at := bytes.Index(data, []byte("PRIVATE KEY-----")); at >= 0 {
		p.privateKey(lineOf(data, at), "")
		return nil
	}
	match := linePattern().FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if match == nil {
		p.problem(1, "", "the file is not YAML")
		return nil
	}
	line, _ := strconv.Atoi(match[1])
	if match[1] == "" {
		line = lineOf(data, unreadable(data))
	}
	text := match[2]
	if strings.HasPrefix(text, "unknown anchor") {
		text = "an alias has no anchor" // without its name, which the file made up
	}
	p.problem(line, "", "the file is not YAML: %s", text)
	return nil
}

func lineOf(data []byte, at int) int { return bytes.Count(data[:at], []byte("\n")) + 1 }

// unreadable returns the place of the first character that YAML does not allow, or
// the beginning where there is none.
func unreadable(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r) {
			return i
		}
		i += size
	}
	return 0
}

// file reads the root.
func (p *parser) file(root *yaml.Node) file {
	var f file
	var def *yaml.Node
	var defaults syncDefaults
	if node := valueOfKey(root, "sync_defaults"); node != nil { // which may stand below those that have them
		defaults = p.syncDefaults(node)
	}
	known := []string{"default", "apps", "sync_defaults", "sync", "mirror"}
	p.each(root, "the file", known, func(key string, _, value *yaml.Node) {
		switch key {
		case "default":
			if text, ok := p.text(value, "default", "default"); ok {
				def, f.def = value, Value{Text: text, Source: p.source(value)}
			}
		case "apps":
			p.each(value, "apps", nil, func(name string, at, value *yaml.Node) {
				if app, ok := p.app(name, at, value); ok {
					f.apps = append(f.apps, app)
				}
			})
		case "mirror":
			p.each(value, "mirror", nil, func(name string, at, value *yaml.Node) {
				if m, ok := p.mirror(name, at, value); ok {
					f.mirrors = append(f.mirrors, m)
				}
			})
		case "sync":
			p.each(value, "sync", nil, func(name string, at, value *yaml.Node) {
				if s, ok := p.sync(name, at, value, defaults); ok {
					f.syncs = append(f.syncs, s)
				}
			})
		}
	})
	if len(p.problems) > 0 {
		return f // some Apps may be missing here
	}
	if _, ok := f.app(f.def.Text); def != nil && !ok {
		p.problem(def.Line, spelling.DidYouMean(spelling.Nearest(f.def.Text, names(f.apps))),
			"default names no App of this file")
	}
	p.checkOwners(f.apps)
	p.checkSyncs(f.syncs)
	p.checkMirrors(f.mirrors)
	return f
}

func (p *parser) app(name string, at, value *yaml.Node) (fileApp, bool) {
	app := fileApp{name: name, line: at.Line, values: map[string]Value{}}
	switch {
	case secretIn(name) != "" || !namePattern().MatchString(name):
		p.problem(at.Line, "use up to 39 letters, digits, dots, hyphens and underscores", "this cannot be the name of an App")
		return app, false
	case idPattern().MatchString(name):
		p.problem(at.Line, "choose another name", "the name %s could be taken for an App's ID", name)
		return app, false
	}
	where := "apps." + name
	p.each(value, where, fileKeys(), func(key string, at, value *yaml.Node) {
		switch key {
		case "owners":
			app.owners, app.source = p.owners(value, where+".owners"), p.source(at)
			return
		case "permissions":
			if permissions, ok := p.permissions(value, where+".permissions"); ok {
				app.rights = append(app.rights, rights{"", permissions, p.source(at)})
			}
			return
		case "repositories":
			app.rights = append(app.rights, p.repositories(value, where+".repositories")...)
			return
		}
		if key == "key" {
			p.keys(value, where+".key", app.values)
			return
		}
		text, ok := p.text(value, key, where+"."+key)
		if ok && key == "app" && !idPattern().MatchString(text) {
			p.problem(value.Line, "it is at the top of the App's settings page",
				"%s.app is neither a client ID (Iv23li…) nor an App ID (a number)", where)
		} else if ok {
			app.values[key] = Value{Text: text, Source: p.source(value)}
		}
	})
	p.checkRights(app)
	if hasKey(value, "broker") {
		p.checkBrokered(value, where)
	} else if !hasKey(value, "app") {
		p.problem(at.Line, "add app: with the App's client ID or App ID", "%s has no app", where)
	}
	return app, true
}

func hasKey(mapping *yaml.Node, key string) bool { return valueOfKey(mapping, key) != nil }

// valueOfKey returns the value of a key of a mapping, or nil.
func valueOfKey(mapping *yaml.Node, key string) *yaml.Node {
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func (p *parser) source(node *yaml.Node) Source {
	return Source{Kind: FromFile, Name: p.path, Line: node.Line}
}

// each calls fn with the keys and values of a mapping that are known and come for
// the first time. Nil for known lets all pass. Nothing at all is an empty mapping.
func (p *parser) each(node *yaml.Node, where string, known []string, fn func(key string, at, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		if !isNull(node) {
			p.wrongKind(node, where, "keys and values")
		}
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		at, value := node.Content[i], node.Content[i+1]
		key := at.Value
		switch {
		case at.Kind == yaml.AliasNode || at.Tag == "!!merge":
			p.noAlias(at, where)
		case at.Kind != yaml.ScalarNode:
			p.problem(at.Line, "", "a key of %s is not a name", where)
		case seen[key] != 0:
			p.problem(at.Line, "", "%s of %s is there twice, first in line %d", named("key", key), where, seen[key])
		case known != nil && isPrivateKey(key):
			p.privateKey(at.Line, where+": ")
		case known != nil && !slices.Contains(known, key):
			p.unknown(at, where, known)
		default:
			fn(key, at, value)
		}
		if seen[key] == 0 {
			seen[key] = at.Line
		}
	}
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// named repeats a name from the file in a message, unless it is so long that it
// could be anything.
func named(what, name string) string {
	if len(name) > 32 || secretIn(name) != "" {
		return fmt.Sprintf("%s of %d characters", what, utf8.RuneCountInString(name))
	}
	return what + " " + strconv.Quote(name)
}

func (p *parser) unknown(at *yaml.Node, where string, known []string) {
	key := at.Value
	hint := spelling.DidYouMean(spelling.Nearest(key, known))
	switch {
	case !slices.Contains(known, "app") && slices.Contains(fileKeys(), key):
		hint = "it belongs to an App, under apps: NAME:"
	case hint != "":
	case key == "client_id":
		hint = spelling.DidYouMean("app")
	default:
		hint = "known here: " + strings.Join(known, ", ")
	}
	p.problem(at.Line, hint, "unknown %s in %s", named("key", key), where)
}

// isPrivateKey says whether a key promises a private key, and not the path of one.
func isPrivateKey(key string) bool {
	key = strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(key))
	return key == "pem" || strings.Contains(key, "privatekey") && !strings.HasSuffix(key, "path") &&
		!strings.HasSuffix(key, "file")
}

func (p *parser) privateKey(line int, where string) {
	p.problem(line, "write it to a file of its own, of mode 0600, and name that file with key:",
		"%sa private key does not belong in the config file", where)
}

func (p *parser) noAlias(node *yaml.Node, where string) {
	p.problem(node.Line, "write the values out", "%s: anchors, aliases and merge keys are not supported here", where)
}

func (p *parser) wrongKind(node *yaml.Node, where, want string) {
	found := map[yaml.Kind]string{yaml.SequenceNode: "a list", yaml.MappingNode: "keys and values",
		yaml.ScalarNode: "a single value"}[node.Kind]
	if node.Kind == yaml.AliasNode {
		p.noAlias(node, where)
		return
	}
	p.problem(node.Line, "", "%s: want %s, found %s", where, want, found)
}

// text returns the text of a single value, checked and, if it is a path, complete.
func (p *parser) text(node *yaml.Node, key, where string) (string, bool) {
	if node.Kind != yaml.ScalarNode {
		p.wrongKind(node, where, "a single value")
		return "", false
	}
	text := strings.TrimSpace(node.Value)
	tag := node.ShortTag()
	switch {
	case tag == "!!null" || tag == "!!str" && text == "":
		p.problem(node.Line, "give it one, or leave the key out", "%s has no value", where)
		return "", false
	case tag == "!!str",
		tag == "!!int" && strings.Trim(text, "0123456789") == "" &&
			(key == "app" || key == "installation" || key == "owners"),
		tag == "!!timestamp" && key == "api_version":
	case slices.Contains([]string{"!!int", "!!float", "!!bool", "!!timestamp"}, tag):
		kind := map[string]string{"!!int": "a number", "!!float": "a number",
			"!!bool": "true or false", "!!timestamp": "a date"}[tag]
		p.problem(node.Line, "put it in quotes if it is meant so", "%s: want text, found %s", where, kind)
		return "", false
	default:
		p.problem(node.Line, "", "%s: want text, found a tag of YAML", where)
		return "", false
	}
	if secret := secretIn(text); secret == aPrivateKey {
		p.privateKey(node.Line, where+": ")
		return "", false
	} else if secret != "" {
		p.problem(node.Line, hintFor(secret), "%s holds %s", where, secret)
		return "", false
	}
	if why := unfit(key, text); why != "" {
		p.problem(node.Line, fitHint(key), "%s: %s", where, why)
		return "", false
	}
	if !isPath(key, text) {
		return text, true
	}
	full, err := "", error(nil)
	dir := filepath.Dir(p.path)
	if scheme := keyuri.Scheme(text); key == "key" && (scheme == "" || scheme == "file") {
		dir = p.keyDir
	}
	full, err = completed(key, text, dir, p.home)
	if err != nil {
		p.problem(node.Line, "", "%s: %s", where, err)
		return "", false
	}
	return full, true
}

// owners reads the list of owners of an App.
func (p *parser) owners(list *yaml.Node, where string) []string {
	if list.Kind != yaml.SequenceNode {
		p.wrongKind(list, where, "a list, such as [acme, octo]")
		return nil
	}
	var owners []string
	for _, node := range list.Content {
		text, ok := p.text(node, "owners", where)
		switch {
		case !ok:
		case strings.Contains(text, "/"):
			p.problem(node.Line, "write the owner alone", "%s: want owners, found a repository or a URL", where)
		case !ownerPattern().MatchString(text):
			p.problem(node.Line, "", "%s: this cannot be the name of an owner", where)
		default:
			owners = append(owners, text)
		}
	}
	return owners
}

// checkOwners refuses an owner that two Apps on one host claim, or one App twice.
func (p *parser) checkOwners(apps []fileApp) {
	type claim struct{ host, owner string }
	first := map[claim]fileApp{}
	for _, app := range apps {
		for _, owner := range app.owners {
			c := claim{app.host(), strings.ToLower(owner)}
			other, taken := first[c]
			switch {
			case !taken:
				first[c] = app
			case other.name == app.name:
				p.problem(app.source.Line, "", "apps.%s.owners has %s twice", app.name, owner)
			default:
				p.problem(app.source.Line, "leave it in one of them; --app chooses the other",
					"the owner %s on %s is claimed by two Apps: %s (line %d) and %s (line %d)",
					owner, c.host, other.name, other.source.Line, app.name, app.source.Line)
			}
		}
	}
}
