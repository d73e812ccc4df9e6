package githubtest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// document is a GraphQL document: its queries and fragments, and what is wrong with it. Mutations, subscriptions,
// directives and block strings are not read. https://spec.graphql.org/October2021/#sec-Document-Syntax
type document struct {
	text       string
	variables  map[string]any
	operations map[string][]selection // by name, "" for one that has none
	fragments  map[string]selection
	errors     []any

	tokens [][]int // those not read yet: where each begins and ends
}

// selection is a field that is asked for, or fields of a fragment in its place.
type selection struct {
	key       string // of the value in the answer
	field     string
	arguments map[string]any
	fragment  string // its name
	on        string // the type that the fields of a fragment are of
	fields    []selection
	at        int // where it stands
}

var documentToken = regexp.MustCompile(`[_A-Za-z][_0-9A-Za-z]*|\.\.\.|"(?:\\.|[^"\\\n])*"|-?[0-9][-+.0-9eE]*|[^\s,]`)

func readDocument(text string, variables map[string]any) *document {
	d := &document{text: text, variables: variables, operations: map[string][]selection{},
		fragments: map[string]selection{}}
	d.tokens = documentToken.FindAllStringIndex(text, -1)
	for d.token() != "" {
		switch {
		case d.token() == "{":
			d.operations[""] = d.selections()
		case d.skip("query"):
			name := ""
			if d.token() != "(" && d.token() != "{" {
				name = d.next()
			}
			if d.skip("(") {
				for d.token() != "" && !d.skip(")") { // which types the variables have is known
					d.next()
				}
			}
			d.operations[name] = d.selections()
		default:
			d.expect("fragment")
			name := d.next()
			d.expect("on")
			d.fragments[name] = selection{on: d.next(), fields: d.selections()}
		}
	}
	return d
}

// token is the next one; "" at the end, and after an error.
func (d *document) token() string {
	if len(d.tokens) == 0 {
		return ""
	}
	return d.text[d.tokens[0][0]:d.tokens[0][1]]
}

// at is where the next token begins.
func (d *document) at() int {
	if len(d.tokens) == 0 {
		return len(d.text)
	}
	return d.tokens[0][0]
}

func (d *document) next() string {
	token := d.token()
	if token == "" {
		d.fail("the end")
		return ""
	}
	d.tokens = d.tokens[1:]
	return token
}

func (d *document) skip(token string) bool {
	if d.token() != token {
		return false
	}
	d.tokens = d.tokens[1:]
	return true
}

func (d *document) expect(token string) {
	if d.token() == "" || !d.skip(token) {
		d.fail(fmt.Sprintf("%q where %q was expected", d.token(), token))
	}
}

// fail ends the reading. Only the first error is told.
func (d *document) fail(found string) {
	if d.errors == nil {
		d.errors = []any{map[string]any{"message": "Parse error: " + found, "locations": d.location(d.at())}}
	}
	d.tokens = nil
}

func (d *document) location(at int) []any {
	before := d.text[:at]
	return []any{map[string]any{"line": 1 + strings.Count(before, "\n"),
		"column": at - strings.LastIndexByte(before, '\n')}}
}

func (d *document) selections() []selection {
	var list []selection
	for d.expect("{"); d.errors == nil && !d.skip("}"); {
		s := selection{at: d.at()}
		switch {
		case !d.skip("..."):
			s.field = d.next()
			if s.key = s.field; d.skip(":") {
				s.field = d.next()
			}
			if d.skip("(") {
				s.arguments = d.named(")")
			}
		case d.skip("on"):
			s.on = d.next()
		case d.token() != "{":
			s.fragment = d.next()
		}
		if d.token() == "{" {
			s.fields = d.selections()
		}
		list = append(list, s)
	}
	return list
}

// named are values with their names, up to what closes them.
func (d *document) named(end string) map[string]any {
	values := map[string]any{}
	for d.errors == nil && !d.skip(end) {
		name := d.next()
		d.expect(":")
		values[name] = d.value()
	}
	return values
}

func (d *document) value() any {
	switch token := d.next(); {
	case token == "$":
		return d.variables[d.next()]
	case token == "{":
		return d.named("}")
	case token == "[":
		list := []any{}
		for d.errors == nil && !d.skip("]") {
			list = append(list, d.value())
		}
		return list
	default:
		var value any
		if json.Unmarshal([]byte(token), &value) != nil {
			return token // the name of a value of an enum
		}
		return value
	}
}
