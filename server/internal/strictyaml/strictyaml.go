// Package strictyaml reads files that decide who may have what. Whatever could be read in two
// ways is refused, with file and line: unknown and doubled keys, anchors, aliases, merge keys,
// tags, several documents, tabs, empty values. All problems are told at once.
package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/internal/text"
)

const (
	// MaxSize is how many bytes a file may have.
	MaxSize = 1 << 20
	// mostProblems is how many problems of a file are told.
	mostProblems = 20
	// shortestToken is the length of GitHub's shortest tokens: no message repeats what may
	// be one.
	shortestToken = 40
)

// ReadFile returns what is in a file, if that is not too much.
func ReadFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	return data, nil
}

func unreadable(path string, err error) error {
	if cause, ok := errors.AsType[*os.PathError](err); ok {
		err = cause.Err
	}
	return &config.Error{Problems: []config.Problem{{File: path, Text: "cannot read the file: " + err.Error()}}, Err: err}
}

// Parse has read look at the one document of a text; the name is that of its file. The error
// is a [*config.Error] with every problem that was met.
func Parse(name string, data []byte, read func(Value)) error {
	p := &problems{file: name}
	if root := p.document(data); root != nil {
		p.walk(root)
		if len(p.list) == 0 {
			read(Value{node: root, where: "the file", to: p})
		}
	}
	if len(p.list) == 0 {
		return nil
	}
	return &config.Error{Problems: p.list}
}

// problems gathers what is wrong with a file.
type problems struct {
	file string
	list []config.Problem
}

func (p *problems) add(line int, hint, format string, args ...any) {
	if len(p.list) < mostProblems {
		what := fmt.Sprintf(format, args...)
		p.list = append(p.list, config.Problem{File: p.file, Line: max(line, 1), Text: what, Hint: hint})
	}
}

// linePattern takes a message of the YAML library apart.
var linePattern = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)`)

// document returns the root of the only document, or nil where something is wrong.
func (p *problems) document(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		p.add(bytes.Count(data[:MaxSize], []byte("\n"))+1, "", "the file has more than %d bytes", MaxSize)
		return nil
	}
	if at := bytes.IndexByte(data, '\t'); at >= 0 {
		p.add(bytes.Count(data[:at], []byte("\n"))+1, "use blanks", "there is a tab in the file")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := decoder.Decode(&first); err != nil {
		if errors.Is(err, io.EOF) {
			p.add(1, "", "the file is empty")
		} else {
			p.notYAML(err)
		}
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		p.add(second.Line, "", "a second YAML document begins here; the file is to have one")
	case errors.Is(err, io.EOF):
		return first.Content[0]
	default:
		p.notYAML(err)
	}
	return nil
}

func (p *problems) notYAML(err error) {
	line, why := 1, "it cannot be read"
	if match := linePattern.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " ")); match != nil {
		line, _ = strconv.Atoi(match[1])
		why = match[2]
	}
	if strings.HasPrefix(why, "unknown anchor") {
		why = "an alias has no anchor" // without its name, which the file made up
	}
	p.add(line, "", "the file is not YAML: %s", text.OneLine(why))
}

// walk refuses what no value of these files is to have.
func (p *problems) walk(node *yaml.Node) {
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		p.add(node.Line, "write the values out", "anchors and aliases are not taken here")
		return
	case node.Style&yaml.TaggedStyle != 0:
		p.add(node.Line, "", "tags are not taken here")
		return
	case node.Kind == yaml.ScalarNode && (node.ShortTag() == "!!null" || node.Value == ""):
		p.add(node.Line, "give it one, or leave the key out", "there is no value here")
	case node.Kind != yaml.ScalarNode && len(node.Content) == 0:
		p.add(node.Line, "give it a value, or leave the key out", "there is nothing in here")
	}
	seen := map[string]int{}
	for i, child := range node.Content {
		if node.Kind != yaml.MappingNode || i%2 == 1 {
			p.walk(child)
			continue
		}
		switch first := seen[child.Value]; {
		case child.Kind != yaml.ScalarNode || child.ShortTag() == "!!merge" || child.Anchor != "":
			p.add(child.Line, "", "a key is a single word here, without anchors, aliases and merging")
		case first != 0:
			p.add(child.Line, "", "the key %s is there twice, first in line %d", text.Quoted(child.Value), first)
		default:
			seen[child.Value] = child.Line
		}
	}
}

// Value is a place in a file. What is asked of one that is of another kind is a problem, and
// the answer empty.
type Value struct {
	node  *yaml.Node
	where string
	to    *problems
}

// Line is where the value stands.
func (v Value) Line() int { return v.node.Line }

// Where names the value in messages.
func (v Value) Where() string { return v.where }

// Problem tells that something is wrong with the value, and what to do about it.
func (v Value) Problem(hint, format string, args ...any) {
	v.to.add(v.node.Line, hint, v.where+": "+format, args...)
}

// Count is the number of problems that the file has so far.
func (v Value) Count() int { return len(v.to.list) }

// Canonical is the value in one form, whatever its layout: as JSON with sorted keys.
func (v Value) Canonical() ([]byte, error) {
	var plain any
	if err := v.node.Decode(&plain); err != nil {
		return nil, err
	}
	return json.Marshal(plain)
}

// IsMapping reports whether the value is keys and values.
func (v Value) IsMapping() bool { return v.node.Kind == yaml.MappingNode }

// IsList reports whether the value is a list.
func (v Value) IsList() bool { return v.node.Kind == yaml.SequenceNode }

// IsText reports whether the value is a text, and no number, truth or date.
func (v Value) IsText() bool { return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!str" }

// Has reports whether a mapping has a key.
func (v Value) Has(key string) bool {
	for i := 0; v.IsMapping() && i+1 < len(v.node.Content); i += 2 {
		if v.node.Content[i].Value == key {
			return true
		}
	}
	return false
}

// Entries are keys and values of a mapping, in their order, of which any key is taken.
func (v Value) Entries(each func(key string, value Value)) {
	if !v.IsMapping() {
		v.Problem("", "want keys and values")
		return
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i].Value
		each(key, v.child(v.node.Content[i+1], "."+shown(key)))
	}
}

// shown is a key in the name of a place.
func shown(key string) string {
	if strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.:") == "" &&
		len(key) < shortestToken {
		return key
	}
	return text.Quoted(key)
}

// Keys hands each value of a mapping to the function for its key. There are no other keys.
func (v Value) Keys(known map[string]func(Value)) {
	v.Entries(func(key string, value Value) {
		if read := known[key]; read != nil {
			read(value)
			return
		}
		names := slices.Sorted(maps.Keys(known))
		hint := spelling.DidYouMean(spelling.Nearest(key, names))
		if hint == "" {
			hint = "known here: " + strings.Join(names, ", ")
		}
		v.to.add(value.node.Line, hint, "unknown key %s in %s", text.Quoted(key), v.where)
	})
}

// Items are the values of a list.
func (v Value) Items() []Value {
	if !v.IsList() {
		v.Problem("", "want a list")
		return nil
	}
	items := make([]Value, len(v.node.Content))
	for i, node := range v.node.Content {
		items[i] = v.child(node, fmt.Sprintf("[%d]", i))
	}
	return items
}

func (v Value) child(node *yaml.Node, name string) Value {
	where := v.where + name
	if v.where == "the file" {
		where = strings.TrimPrefix(name, ".")
	}
	return Value{node, where, v.to}
}

// Text is a text of one line.
func (v Value) Text() string {
	switch {
	case v.node.Kind != yaml.ScalarNode:
		v.Problem("", "want a single text")
	case !v.IsText():
		v.Problem("put it in quotes if it is meant so", "want a text, found a number, a truth or a date")
	case text.OneLine(v.node.Value) != v.node.Value:
		v.Problem("", "there are characters in it that are not printed, or blanks around it")
	default:
		return v.node.Value
	}
	return ""
}

// Texts are one text, or a list of them.
func (v Value) Texts() []string {
	if !v.IsList() {
		return []string{v.Text()}
	}
	var list []string
	for _, item := range v.Items() {
		list = append(list, item.Text())
	}
	return list
}

// Block is a text of one line or several.
func (v Value) Block() string {
	if !v.IsText() {
		v.Problem("", "want a text")
		return ""
	}
	return v.node.Value
}

// Bool is true or false, in these words.
func (v Value) Bool() bool {
	if v.node.Kind != yaml.ScalarNode || v.node.Value != "true" && v.node.Value != "false" || v.IsText() {
		v.Problem("", "want true or false")
		return false
	}
	return v.node.Value == "true"
}

// Integer is a whole number above 0.
func (v Value) Integer() int64 {
	n, err := strconv.ParseInt(v.node.Value, 10, 64)
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!int" || err != nil || n < 1 {
		v.Problem("", "want a whole number above 0")
		return 0
	}
	return n
}

// Duration is a time such as 10m.
func (v Value) Duration() time.Duration {
	d, err := time.ParseDuration(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil || d <= 0 {
		v.Problem("", "want a time such as 10m or 30s")
		return 0
	}
	return d
}

// Object is keys and values of any kind, as JSON has them.
func (v Value) Object() map[string]any {
	var object map[string]any
	canonical, err := v.Canonical()
	if err == nil {
		err = json.Unmarshal(canonical, &object)
	}
	if err != nil {
		v.Problem("", "want keys and values as JSON has them")
	}
	return object
}

// Scalar is a text, a number (float64) or a truth, as JSON has them.
func (v Value) Scalar() any {
	const exact = 1 << 53 // above, JSON's numbers are not told apart
	switch {
	case v.node.Kind != yaml.ScalarNode:
		v.Problem("", "want a single value")
	case v.IsText():
		return v.Text()
	case v.node.ShortTag() == "!!bool" && (v.node.Value == "true" || v.node.Value == "false"):
		return v.node.Value == "true"
	case v.node.ShortTag() == "!!int" || v.node.ShortTag() == "!!float":
		n, err := strconv.ParseFloat(v.node.Value, 64)
		if err == nil && n > -exact && n < exact {
			return n
		}
		v.Problem("put it in quotes if the claim is a text", "want a decimal number below 2^53")
	default:
		v.Problem("put it in quotes if it is meant so", "want a text, a number, true or false")
	}
	return nil
}
