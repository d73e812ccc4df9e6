package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Draft is a config file while it is changed. [Edit] makes one, and checks it.
type Draft struct {
	path, home string
	text       []byte
}

var errNoKey = errors.New("no key of the config file is named")

// Bytes returns the text as it stands; SetBytes replaces all of it.
func (d *Draft) Bytes() []byte { return slices.Clone(d.text) }

// SetBytes replaces the whole text, as an editor does.
func (d *Draft) SetBytes(text []byte) { d.text = slices.Clone(text) }

// Has reports whether there is a value at the path, such as "apps", "deploy", "key".
func (d *Draft) Has(path ...string) bool {
	doc, err := d.document()
	return err == nil && lookup(doc, path) != nil
}

// Set gives the key at the path a value: a string, a list of strings, or a map of
// strings to strings. Mappings on the way there are made where they are missing.
// Everything else in the file stays as it is written, comments included.
func (d *Draft) Set(value any, path ...string) error {
	if len(path) == 0 {
		return errNoKey
	}
	return d.change(func(root *yaml.Node) error {
		mapping := root
		for i, key := range path[:len(path)-1] {
			at, next := entry(mapping, key)
			switch {
			case next == nil:
				next = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
				appendKey(mapping, key, next)
			case isNull(next), next.Kind == yaml.MappingNode && len(next.Content) == 0:
				// It is about to begin on a line of its own.
				at.LineComment += next.LineComment
				*next = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", FootComment: next.FootComment}
			case next.Kind != yaml.MappingNode:
				return fmt.Errorf("set %s: %s is not a mapping", strings.Join(path, "."), strings.Join(path[:i+1], "."))
			}
			mapping = next
		}
		key := path[len(path)-1]
		made, err := nodeOf(value, key)
		if err != nil {
			return fmt.Errorf("set %s: %w", strings.Join(path, "."), err)
		}
		if _, old := entry(mapping, key); old != nil {
			made.HeadComment, made.LineComment, made.FootComment = old.HeadComment, old.LineComment, old.FootComment
			*old = *made
			return nil
		}
		appendKey(mapping, key, made)
		return nil
	})
}

// Unset takes the key at the path out, with its comments, and the mappings that it
// leaves empty. It reports whether there was one.
func (d *Draft) Unset(path ...string) (found bool, err error) {
	if len(path) == 0 {
		return false, errNoKey
	}
	err = d.change(func(root *yaml.Node) error {
		found = remove(root, path)
		return nil
	})
	return found && err == nil, err
}

// remove reports whether the key was there.
func remove(mapping *yaml.Node, path []string) bool {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value != path[0] {
			continue
		}
		value := mapping.Content[i+1]
		if len(path) > 1 {
			if value.Kind != yaml.MappingNode || !remove(value, path[1:]) {
				return false
			}
			if len(value.Content) > 0 {
				return true
			}
		}
		mapping.Content = slices.Delete(mapping.Content, i, i+2)
		return true
	}
	return false
}

// entry returns a key of a mapping and its value, or nil.
func entry(mapping *yaml.Node, key string) (at, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

func lookup(doc *yaml.Node, path []string) *yaml.Node {
	if doc == nil {
		return nil
	}
	node := doc.Content[0]
	for _, key := range path {
		if node.Kind != yaml.MappingNode {
			return nil
		}
		if _, node = entry(node, key); node == nil {
			return nil
		}
	}
	return node
}

func appendKey(mapping *yaml.Node, key string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
}

// nodeOf is a value as people write it: lists and maps on one line, an ID without
// quotes.
func nodeOf(value any, key string) (*yaml.Node, error) {
	var node yaml.Node
	if err := node.Encode(value); err != nil {
		return nil, err
	}
	node.Style |= yaml.FlowStyle
	if node.Kind == yaml.ScalarNode {
		node.Style &^= yaml.FlowStyle
		if (key == "app" || key == "installation") && node.Value != "" &&
			strings.Trim(node.Value, "0123456789") == "" && node.Value[0] != '0' {
			node.Tag, node.Style = "!!int", 0
		}
	}
	return &node, nil
}

// document parses the text; nil is a file without anything but comments.
func (d *Draft) document() (*yaml.Node, error) {
	p := &parser{path: d.path, home: d.home, lines: bytes.Count(d.text, []byte("\n")) + 1}
	root := p.document(d.text)
	switch {
	case len(p.problems) > 0:
		return nil, &Error{Problems: p.problems}
	case root == nil:
		return nil, nil
	}
	// Once more, as a whole: comments before the root belong to the document.
	var doc yaml.Node
	if err := yaml.Unmarshal(d.text, &doc); err != nil {
		return nil, err
	}
	if root = doc.Content[0]; isNull(root) {
		root.Kind, root.Tag, root.Value = yaml.MappingNode, "!!map", ""
	}
	if root.Kind != yaml.MappingNode {
		return nil, &Error{Problems: []Problem{{File: d.path, Line: root.Line, Text: "the file: want keys and values"}}}
	}
	return &doc, nil
}

// change makes a change in the parsed document, and then the same in the text.
func (d *Draft) change(change func(root *yaml.Node) error) error {
	doc, err := d.document()
	if err != nil {
		return err
	}
	if doc == nil {
		root := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if err := change(root); err != nil {
			return err
		}
		if len(root.Content) == 0 {
			return nil
		}
		added, err := layout{indent: 2}.encode(root)
		if len(d.text) > 0 && !bytes.HasSuffix(d.text, []byte("\n")) {
			d.text = append(d.text, '\n')
		}
		d.text = append(d.text, added...)
		return err
	}
	own, old := d.layout(doc)
	if err := change(doc.Content[0]); err != nil {
		return err
	}
	if len(doc.Content[0].Content) == 0 {
		doc.Content[0].Style = 0
	}
	made, err := own.encode(doc)
	if err != nil {
		return err
	}
	if old != nil {
		if patched := patch(d.text, old, made); sameMeaning(patched, made) {
			made = patched
		}
	}
	d.text = made
	return nil
}

// sameMeaning is the proof that a text says what it should.
func sameMeaning(a, b []byte) bool {
	var x, y any
	return yaml.Unmarshal(a, &x) == nil && yaml.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// layout is how the encoder is to indent.
type layout struct {
	indent  int
	compact bool // lists as far to the left as their key
}

func (l layout) encode(node *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(l.indent)
	if l.compact {
		e.CompactSeqIndent()
	}
	if err := e.Encode(node); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// layout finds the one with which the encoder writes the file line for line as it is,
// blank lines and blanks within a line apart, and returns what it writes. Where there
// is none it returns nil, and the file is written anew.
func (d *Draft) layout(doc *yaml.Node) (layout, []byte) {
	own, _ := contents(d.text)
	for _, indent := range []int{2, 4, 3, 8} {
		for _, compact := range []bool{false, true} {
			l := layout{indent, compact}
			text, err := l.encode(doc)
			if err != nil {
				continue
			}
			if encoded, _ := contents(text); slices.Equal(own, encoded) {
				return l, text
			}
		}
	}
	return layout{indent: 2}, nil
}

// contents are the lines of a text that say something, in one form, and the numbers of
// these lines, from 0.
func contents(text []byte) (lines []string, numbers []int) {
	for i, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || line == "---" || line == "---\r" {
			continue
		}
		margin := line[:len(line)-len(strings.TrimLeft(line, " "))]
		lines, numbers = append(lines, margin+strings.Join(words, "")), append(numbers, i)
	}
	return lines, numbers
}

// patch makes the change from old to made, which the encoder wrote, in the text, whose
// lines are those of old.
func patch(text, old, made []byte) []byte {
	was, _ := contents(old)
	is, at := contents(made)
	_, own := contents(text)
	first := 0
	for first < len(was) && first < len(is) && was[first] == is[first] {
		first++
	}
	same := 0
	for same < len(was)-first && same < len(is)-first && was[len(was)-1-same] == is[len(is)-1-same] {
		same++
	}
	lines := strings.Split(string(text), "\n")
	ending := ""
	if strings.Contains(lines[0], "\r") {
		ending = "\r"
	}
	var added []string
	encoded := strings.Split(string(made), "\n")
	for _, number := range at[first : len(at)-same] {
		added = append(added, encoded[number]+ending)
	}
	// What goes away reaches from one line that says something to another; where
	// nothing does, the new lines come after the last one that stays.
	from, to := 0, 0
	switch gone := own[first : len(own)-same]; {
	case len(gone) > 0:
		from, to = gone[0], gone[len(gone)-1]+1
	case first > 0:
		from, to = own[first-1]+1, own[first-1]+1
	case len(own) > 0:
		from, to = own[0], own[0]
	}
	blank := func(i int) bool { return i < 0 || i >= len(lines) || strings.TrimSpace(lines[i]) == "" }
	if len(added) == 0 && blank(from-1) && blank(to) && to < len(lines)-1 {
		to++ // not two blank lines where there was one on either side
	}
	result := strings.Join(slices.Concat(lines[:from], added, lines[to:]), "\n")
	if !strings.HasSuffix(result, "\n") {
		result += ending + "\n"
	}
	return []byte(result)
}
