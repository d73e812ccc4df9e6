package gitsetup

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// Scope is one of the places where git looks for its configuration, which it reads in
// this order (https://git-scm.com/docs/git-config#SCOPES).
type Scope string

// The scopes.
const (
	System   Scope = "system"
	Global   Scope = "global"
	Local    Scope = "local"
	Worktree Scope = "worktree"
	Command  Scope = "command" // -c, and the environment
)

// after reports whether git reads s later than other, so that it goes before it.
func (s Scope) after(other Scope) bool {
	order := []Scope{System, Global, Local, Worktree, Command}
	return slices.Index(order, s) > slices.Index(order, other)
}

// Entry is an entry of git's configuration and where it stands.
type Entry struct {
	Scope      Scope
	File       string // "" where it stands in none
	Key, Value string
	// Nth is how many entries with this key the file has before it.
	Nth int
}

// ParseEntries reads the output of
//
//	git config --null --show-scope --show-origin --list
//
// in which git has written section and variable in lower case.
func ParseEntries(out []byte) ([]Entry, error) {
	fields := bytes.Split(bytes.TrimSuffix(out, []byte{0}), []byte{0})
	if len(out) == 0 {
		return nil, nil
	}
	if len(fields)%3 != 0 {
		return nil, errors.New("git's list of its configuration has not three fields an entry")
	}
	var list []Entry
	seen := map[[2]string]int{}
	for field := range slices.Chunk(fields, 3) {
		e := Entry{Scope: Scope(field[0])}
		e.File, _ = strings.CutPrefix(string(field[1]), "file:")
		if e.File == string(field[1]) {
			e.File = ""
		}
		key, value, given := strings.Cut(string(field[2]), "\n")
		if !given {
			value = "true"
		}
		e.Key, e.Value = key, value
		place := [2]string{e.File, e.Key}
		e.Nth = seen[place]
		seen[place]++
		list = append(list, e)
	}
	return list, nil
}

// Conflict is an entry of git's configuration, or of a .netrc, that stands in the way
// of the helper.
type Conflict struct {
	File string `json:"file,omitempty"` // "" where it stands in none
	Line int    `json:"line,omitempty"` // from 1; 0 where it is not known
	Key  string `json:"key"`
	Text string `json:"text"` // what it does
	Hint string `json:"hint"` // one line
	// Beside is an entry in spite of which git asks the helper and uses its answer.
	Beside bool `json:"-"`
}

// Place is FILE:LINE, or where else the entry stands.
func (c Conflict) Place() string {
	switch {
	case c.File == "":
		return "the environment, or git -c"
	case c.Line == 0:
		return c.File
	}
	return fmt.Sprintf("%s:%d", c.File, c.Line)
}

// Conflicts returns the entries that keep git from asking our helper for origin, or
// from using what it answers, once that stands at the end of scope. read gives the
// text of a file, for the number of the line. Values, which may be secret, are not
// repeated.
func Conflicts(entries []Entry, origin string, scope Scope, read func(path string) ([]byte, error)) []Conflict {
	var list []Conflict
	for i, e := range entries {
		name, subsection := e.name()
		rule, ok := rules[name]
		if !ok {
			continue
		}
		found := rule(candidate{e, subsection, origin, scope, entries[i+1:]})
		if found.text == "" {
			continue
		}
		c := Conflict{File: e.File, Key: Shown(e.Key), Text: found.text, Hint: found.hint, Beside: found.beside}
		if c.Hint == "" {
			c.Hint = e.hint()
		}
		if file, err := read(e.File); e.File != "" && err == nil {
			c.Line = LineOf(file, e)
		}
		list = append(list, c)
	}
	return list
}

// name splits a key into its section and variable, and the subsection between them.
func (e Entry) name() (name, subsection string) {
	section, variable, _ := strings.Cut(e.Key, ".")
	if dot := strings.LastIndexByte(variable, '.'); dot >= 0 {
		subsection, variable = variable[:dot], variable[dot+1:]
	}
	return section + "." + variable, subsection
}

// candidate is an entry that a rule looks at.
type candidate struct {
	Entry
	subsection string
	origin     string
	ours       Scope   // where our helper is to stand
	later      []Entry // what git reads after it
}

// covers reports whether the entry holds for our origin.
func (c candidate) covers() bool { return covers(c.subsection, c.origin) }

// finding is what a rule says of an entry. Without a text the entry is no conflict, and
// without a hint it is to be taken away.
type finding struct {
	text, hint string
	beside     bool // as [Conflict.Beside]
}

// rules are what may be wrong, by the entry's section and variable.
var rules = map[string]func(candidate) finding{
	"remote.url":             loginInAddress,
	"remote.pushurl":         loginInAddress,
	"submodule.url":          loginInAddress,
	"http.sslverify":         anyCertificate,
	"http.extraheader":       ownAuthorization,
	"url.insteadof":          replacedAddress,
	"url.pushinsteadof":      replacedForPush,
	"credential.helper":      otherHelper,
	"credential.usehttppath": hiddenPath,
}

const takesAnyCertificate = "git takes any certificate, so that whoever stands in the way gets the token"

func loginInAddress(c candidate) finding {
	address, ok := withoutLogin(c.Value, c.origin)
	if !ok {
		return finding{}
	}
	found := finding{text: "git sends the login in this address instead of asking for a credential"}
	if c.File != "" {
		found.hint = "git config --file " + text.ShellWords(c.File, c.Key, address)
	}
	return found
}

func anyCertificate(c candidate) finding {
	if !c.covers() || !isFalse(c.Value) || !strings.HasPrefix(c.origin, "https:") || repeated(c.later, c.Key) {
		return finding{}
	}
	return finding{text: takesAnyCertificate, beside: true}
}

func ownAuthorization(c candidate) finding {
	if !c.covers() || !isAuthorization(c.Value) || emptied(c.later, c.Key) {
		return finding{}
	}
	return finding{text: "git sends this header instead of asking for a credential"}
}

func replacedAddress(c candidate) finding {
	if !leadsAway(c.Value, c.subsection, c.origin) {
		return finding{}
	}
	return finding{text: "addresses of " + c.origin + " are replaced by others, for which ghapp is not asked"}
}

func replacedForPush(c candidate) finding {
	if !leadsAway(c.Value, c.subsection, c.origin) {
		return finding{}
	}
	return finding{text: "a push to " + c.origin + " goes to another address, for which ghapp is not asked"}
}

// otherHelper looks at helpers that git asks after ours, or instead of it. An empty
// value that our helper follows is our own: it empties the list for our helper's sake.
func otherHelper(c candidate) finding {
	switch {
	case !c.covers() || !c.Scope.after(c.ours) || strings.Contains(c.Value, "ghapp"):
		return finding{}
	case c.Value != "":
		return finding{
			text:   "this helper stands behind ghapp; git before 2.46 hands it every token, and it may save them",
			beside: true,
		}
	case strings.Contains(next(c.later, c.Key), "ghapp"):
		return finding{}
	}
	return finding{text: "it makes git forget the helpers before it, ghapp among them"}
}

func hiddenPath(c candidate) finding {
	if !c.covers() || !c.Scope.after(c.ours) || !isFalse(c.Value) {
		return finding{}
	}
	return finding{text: "it keeps git from saying which repository a credential is for, " +
		"and without that ghapp gives none"}
}

// Variables returns the variables that make git, or git-lfs, show or hand over what the
// helper answers, whatever is configured. lookup is os.LookupEnv.
func Variables(lookup func(name string) (string, bool)) []Conflict {
	var list []Conflict
	add := func(name, text string) {
		list = append(list, Conflict{Key: name, Text: text, Hint: "unset " + name, Beside: true})
	}
	if value, set := lookup("GIT_TRACE_REDACT"); set && isFalse(value) {
		add("GIT_TRACE_REDACT", "git shows every token where it is told to trace")
	}
	debugged := []string{"1", "t", "true", "yes", "on"}
	if value, _ := lookup("LFS_DEBUG_HTTP"); slices.Contains(debugged, strings.ToLower(value)) {
		add("LFS_DEBUG_HTTP", "git-lfs shows every token where it is told to trace")
	}
	if _, set := lookup("GIT_SSL_NO_VERIFY"); set {
		add("GIT_SSL_NO_VERIFY", takesAnyCertificate)
	}
	return list
}

// hint is a command that takes the entry away.
func (e Entry) hint() string {
	key := Shown(e.Key)
	switch {
	case e.File == "":
		return "unset GIT_CONFIG_COUNT and GIT_CONFIG_PARAMETERS, or what sets them"
	case key != e.Key:
		return "delete the line"
	}
	return fmt.Sprintf("git config --file %s --unset-all %s", text.ShellWord(e.File), text.ShellWord(key))
}

// Shown is a key without the user information of an address in it, which may be a
// secret.
func Shown(key string) string {
	scheme, rest, ok := strings.Cut(key, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 || strings.HasSuffix(scheme, "ssh") {
		return key
	}
	return scheme + "://…" + rest[at:]
}

// isAuthorization reports whether a header is the one that a credential is sent in
// (RFC 9110 section 11.6.2).
func isAuthorization(header string) bool {
	name, _, _ := strings.Cut(header, ":")
	return strings.EqualFold(strings.TrimSpace(name), "Authorization")
}

// emptied reports whether a later entry empties the list of key.
func emptied(later []Entry, key string) bool {
	return slices.ContainsFunc(later, func(e Entry) bool { return e.Key == key && e.Value == "" })
}

// repeated reports whether there is a later entry for key.
func repeated(later []Entry, key string) bool {
	return slices.ContainsFunc(later, func(e Entry) bool { return e.Key == key })
}

// withoutLogin returns an address on origin without the user and the password in it, and
// whether it has both. With a user alone git asks for the password.
func withoutLogin(address, origin string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil || !covers(u.Scheme+"://"+u.Host, origin) {
		return "", false
	}
	_, both := u.User.Password()
	u.User = nil
	return u.String(), both
}

// next is the value of the next entry with this key, or "".
func next(later []Entry, key string) string {
	at := slices.IndexFunc(later, func(e Entry) bool { return e.Key == key })
	if at < 0 {
		return ""
	}
	return later[at].Value
}

func isFalse(value string) bool {
	return slices.Contains([]string{"false", "no", "off", "0", ""}, strings.ToLower(value))
}

// leadsAway reports whether git, which replaces prefix by base, leads addresses of
// origin to another place.
func leadsAway(prefix, base, origin string) bool {
	site := origin + "/"
	if rest, ok := strings.CutPrefix(site, prefix); ok {
		return !strings.HasPrefix(base+rest, site)
	}
	return strings.HasPrefix(prefix, site) && !strings.HasPrefix(base, site)
}

// covers reports whether the url of an http.<url>.* or a credential.<url>.* applies to
// some address on origin (https://git-scm.com/docs/git-config, http.<url>.*): one that
// is not there applies to all, a "*" stands for a label of the host's name, and what
// is missing of a credential's applies as well.
func covers(pattern, origin string) bool {
	if pattern == "" {
		return true
	}
	o, err := url.Parse(origin)
	if err != nil {
		return false
	}
	scheme, rest, ok := strings.Cut(pattern, "://")
	if !ok {
		scheme, rest = o.Scheme, pattern
	}
	host, _, _ := strings.Cut(rest, "/")
	host = strings.ToLower(host[strings.LastIndexByte(host, '@')+1:])
	host = strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[scheme])
	if !strings.EqualFold(scheme, o.Scheme) {
		return false
	}
	if host == "" {
		return true
	}
	labels, own := strings.Split(host, "."), strings.Split(o.Host, ".")
	return slices.EqualFunc(labels, own, func(label, own string) bool { return label == "*" || label == own })
}
