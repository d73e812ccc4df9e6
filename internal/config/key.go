package config

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// previousKey is where the key before the newest one is kept, beside "key". It is no
// setting of its own: both are given as one.
const previousKey = "previous_key"

// maxKeyTimeout leaves the library time for its requests: it gives up on a token after
// two minutes.
const maxKeyTimeout = 90 * time.Second

// CompleteKey returns a key in the form in which it is used: of a file: URI the path, and
// paths complete, also those in other URIs: of an exec: URI's program, and of the files
// that pkcs11:, tpmkms: and yubikey: URIs name. A path that is not absolute is taken from
// dir.
func CompleteKey(key, dir, home string) (string, error) {
	switch scheme := keyuri.Scheme(key); scheme {
	case "", "file":
		path := keyuri.FilePath(key)
		if path == "" {
			return "", errors.New("the file: URI names no path on this machine")
		}
		return complete(path, dir, home)
	case "exec":
		program, attributes, _ := strings.Cut(key[len("exec:"):], "?")
		if !strings.ContainsFunc(program, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) }) {
			return key, nil // it is looked for on PATH
		}
		program, err := complete(program, dir, home)
		if attributes != "" {
			program += "?" + attributes
		}
		return "exec:" + program, err
	case "pkcs11", "tpmkms", "yubikey":
		return completeAttributes(key, dir, home)
	}
	return key, nil
}

// completeAttributes completes the paths in the attributes of a key URI. All else stays as
// it is written: package signer judges it.
func completeAttributes(uri, dir, home string) (string, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	var b strings.Builder
	b.WriteString(scheme + ":")
	for rest != "" {
		part, separator := rest, ""
		if end := strings.IndexAny(rest, "?;&"); end >= 0 {
			part, separator = rest[:end], rest[end:end+1]
		}
		rest = rest[len(part)+len(separator):]
		name, value, _ := strings.Cut(part, "=")
		if path := fileOf(name, value); path != "" && !filepath.IsAbs(path) {
			path, err := complete(path, dir, home)
			if err != nil {
				return "", err
			}
			// All but RFC 3986's unreserved characters and slashes, as %XX.
			part = name + "=" + strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(filepath.ToSlash(path)))
		}
		b.WriteString(part + separator)
	}
	return b.String(), nil
}

// fileOf returns the path that an attribute of a key URI has, or "". A module without a
// slash in its name is looked for by the system.
func fileOf(name, value string) string {
	path, err := url.PathUnescape(value)
	if err != nil || strings.HasPrefix(path, "|") {
		return ""
	}
	switch name {
	case "module-path":
		if !strings.Contains(path, "/") {
			return ""
		}
	case "pin-source", "management-key-source", "path", "storage-directory":
	default:
		return ""
	}
	return keyuri.FilePath(path)
}

// complete expands ~ in a path and puts dir before one that is relative.
func complete(path, dir, home string) (string, error) {
	full, err := expand(path, home)
	switch {
	case err != nil || filepath.IsAbs(full):
		return full, err
	case dir == "":
		return "", errors.New("the path is relative, and the current directory cannot be found")
	}
	return filepath.Join(dir, full), nil
}

// here is the directory from which the paths of flags and variables are taken; "" where
// it cannot be found.
func here() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return dir
}

// unfitKey says what is wrong with a key, or "".
func unfitKey(text string) string {
	if scheme := keyuri.Scheme(text); scheme != "" && !slices.Contains(keyuri.Schemes(), scheme) {
		return "it is no kind of key URI that is known: " + strings.Join(keyuri.Schemes(), ":, ") + ":"
	}
	return ""
}

// unfitTimeout says what is wrong with a time that a key's holder has, or "".
func unfitTimeout(text string) string {
	switch d, err := time.ParseDuration(text); {
	case err != nil:
		return "it is no duration such as 30s"
	case d < time.Second || d > maxKeyTimeout:
		return "it is to be between 1s and " + maxKeyTimeout.String()
	}
	return ""
}

const (
	secretOnCommandLine     = "--key has a PIN or a password in it, and others can read a command line"
	hintSecretOnCommandLine = "say where it is instead (pin-source=file:/path in a pkcs11: URI), " +
		"or give the URI in GHAPP_KEY or the config file"
	tooManyKeys = "two keys can be given, the newest one and the one before it"
)

// Keys returns every key that is given, by a flag, a variable or for any App of the file,
// whether it is used or not.
func (c *Config) Keys() []Value {
	layers := []map[string]Value{c.flags, c.env}
	for _, app := range c.file.apps {
		layers = append(layers, app.values)
	}
	var keys []Value
	for _, layer := range layers {
		for _, name := range []string{"key", previousKey} {
			if key, ok := layer[name]; ok {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// readKeys reads --key, whose values stand on a line each.
func (c *Config) readKeys(s Setting, text, home string) []Problem {
	keys := strings.Split(text, "\n")
	if len(keys) > 2 {
		return []Problem{{Text: "--key is given several times: " + tooManyKeys}}
	}
	var problems []Problem
	for i, name := range []string{"key", previousKey}[:len(keys)] {
		key := strings.TrimSpace(keys[i])
		switch full, problem := checked(s, "--key", key, home); {
		case key == "":
			problems = append(problems, emptyFlag("--key"))
		case problem != nil:
			problems = append(problems, *problem)
		case keyuri.HasSecret(key):
			problems = append(problems, Problem{Text: secretOnCommandLine, Hint: hintSecretOnCommandLine})
		default:
			c.flags[name] = Value{Text: full, Source: Source{Kind: FromFlag, Name: "--key"}}
		}
	}
	return problems
}

// keys reads one key, or a list of the newest and the one before it.
func (p *parser) keys(node *yaml.Node, where string, values map[string]Value) {
	nodes := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		nodes = node.Content
	}
	switch {
	case len(nodes) == 0:
		p.problem(node.Line, "give it one, or leave the key out", "%s has no value", where)
		return
	case len(nodes) > 2:
		p.problem(nodes[2].Line, "leave out those that the App's settings page shows no more", "%s: %s", where, tooManyKeys)
		return
	}
	for i, name := range []string{"key", previousKey}[:len(nodes)] {
		if text, ok := p.text(nodes[i], "key", where); ok {
			values[name] = valueOf(text, p.source(nodes[i]))
		}
	}
	if newest, before := values["key"], values[previousKey]; len(nodes) == 2 &&
		newest.Reveal() == before.Reveal() && newest.Text != "" {
		p.problem(before.Source.Line, "", "%s names the same key twice", where)
	}
}
