package config

import (
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// optionOf is the row of a key that the config file has.
func optionOf(table []Option, key string) Option {
	return table[slices.IndexFunc(table, func(o Option) bool { return o.Key == key && !o.Process })]
}

// option reads the value of an option into its field, and returns it as it stands there.
func (p *parser) option(o Option, field any, where string, node *yaml.Node) (Entry, bool) {
	entry := Entry{Key: o.Key, Value: strings.TrimSpace(node.Value), Source: p.source(node)}
	switch tag := map[OptionKind]string{NumberOption: "!!int", SwitchOption: "!!bool"}[o.Kind]; {
	case o.Kind == ListOption:
		return p.listOption(o, field.(*[]string), where, node)
	case o.Kind == TextOption || o.Kind == PathOption:
		text := entry.Value
		if text == "" && node.ShortTag() == "!!str" && o.Emptied && strings.HasPrefix(where, o.Command+".") {
			break // the defaults' is not for this directory
		}
		ok := false
		if text, ok = p.line(node, where); !ok {
			return entry, false
		}
		if o.Kind == PathOption {
			full, err := complete(text, filepath.Dir(p.path), p.home)
			if err != nil {
				p.problem(node.Line, "", "%s: %s", where, err)
				return entry, false
			}
			text = filepath.Clean(full)
		}
		entry.Value = text
	case node.Kind != yaml.ScalarNode || tag != "" && node.ShortTag() != tag:
		p.problem(node.Line, "", "%s: %s", where, o.refusal())
		return entry, false
	}
	if entry.Value == "" && o.Kind == TextOption {
		*field.(*string) = "" // which its own list of values would refuse
		return entry, true
	}
	if err := o.Assign(field, entry.Value); err != nil {
		p.problem(node.Line, "", "%s: %s", where, err)
		return entry, false
	}
	return entry, true
}

// listOption reads a list.
func (p *parser) listOption(o Option, list *[]string, where string, node *yaml.Node) (Entry, bool) {
	if node.Kind != yaml.SequenceNode {
		p.wrongKind(node, where, o.Takes)
		return Entry{}, false
	}
	for _, item := range node.Content {
		text, ok := p.line(item, where)
		if !ok {
			continue
		}
		if err := o.takes(text); err != nil {
			p.problem(item.Line, "", "%s: %s", where, err)
			continue
		}
		*list = append(*list, text)
	}
	return Entry{Key: o.Key, Value: strings.Join(*list, ","), Source: p.source(node)}, true
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
