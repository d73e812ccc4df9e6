package description

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// document is an OpenAPI file, the parts of which are read only where needed:
// GitHub's is 13 MB.
type document struct {
	OpenAPI    string          `json:"openapi"`
	Info       json.RawMessage `json:"info"`
	Paths      tree            `json:"paths"`                // path, method
	Components tree            `json:"components"`           // kind, name
	Webhooks   tree            `json:"x-webhooks,omitempty"` // event, method
}

type tree map[string]map[string]json.RawMessage

func (t tree) add(branch, leaf string, value json.RawMessage) {
	if t[branch] == nil {
		t[branch] = map[string]json.RawMessage{}
	}
	t[branch][leaf] = value
}

// firstVersion is what the files describe as they stand. What later versions
// changed is written beside it, under changesKey.
// https://docs.github.com/en/rest/about-the-rest-api/api-versions
const (
	firstVersion = "2022-11-28"
	changesKey   = "x-github-breaking-changes"
)

// File is one of GitHub's OpenAPI files.
type File struct {
	name  string
	whole document
	text  []byte
}

// Read reads an OpenAPI file. It fails where it describes no operation.
func Read(name string) (*File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &File{name: name, text: text}
	if err := json.Unmarshal(text, &f.whole); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(f.whole.Paths) == 0 {
		return nil, fmt.Errorf("%s: it describes no operation", name)
	}
	return f, nil
}

// Operations are all that the file describes ("GET /app"), in order.
func (f *File) Operations() []string {
	var list []string
	for path, methods := range f.whole.Paths {
		for method := range methods {
			list = append(list, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(list)
	return list
}

// Correction mends a mistake in GitHub's description. Its patch fails where the
// mistake is no longer there, if it begins with a test for it.
type Correction struct {
	Of    string // an operation, or a component: "schemas/installation"
	Patch string // RFC 6902
	Why   string
}

// operation is the text of an operation, or of a webhook, which stand under a path each; nil where there is none.
func (f *File) operation(path, method string) json.RawMessage {
	if text := f.whole.Paths[path][method]; text != nil {
		return text
	}
	return f.whole.Webhooks[strings.TrimPrefix(path, "/")][method]
}

// correct applies the corrections that are of the name, and marks them in done.
func correct(name string, text json.RawMessage, corrections []Correction, done []bool) (json.RawMessage, error) {
	for i, c := range corrections {
		if c.Of != name {
			continue
		}
		done[i] = true
		var err error
		if text, err = apply(json.RawMessage(c.Patch), text); err != nil {
			return nil, fmt.Errorf("correction of %s (%s): %w", c.Of, c.Why, err)
		}
	}
	return text, nil
}

// cut keeps of the file the operations, and the components they refer to, as they
// are in a version, corrected.
func (f *File) cut(version string, operations []string, corrections []Correction) ([]byte, error) {
	whole := f.whole
	if len(operations) == 0 {
		return nil, errors.New("no operation is asked for")
	}
	if version != firstVersion && !bytes.Contains(f.text, []byte(`"`+version+`"`)) {
		return nil, fmt.Errorf("it knows nothing of API version %s", version)
	}
	kept := document{OpenAPI: whole.OpenAPI, Info: whole.Info, Paths: tree{}, Components: tree{}}

	corrected := make([]bool, len(corrections))
	var keep func(name string, text json.RawMessage) (json.RawMessage, error)
	component := func(reference string) error {
		kind, name, ok := strings.Cut(strings.TrimPrefix(reference, "#/components/"), "/")
		if kept.Components[kind][name] != nil {
			return nil
		}
		text := whole.Components[kind][name]
		if !ok || text == nil {
			return fmt.Errorf("%s is referred to and not there", reference)
		}
		kept.Components.add(kind, name, text) // before what it refers to, which may be itself
		text, err := keep(kind+"/"+name, text)
		kept.Components.add(kind, name, text)
		return err
	}
	keep = func(name string, text json.RawMessage) (json.RawMessage, error) {
		text, err := at(version, text)
		if err == nil {
			text, err = correct(name, text, corrections, corrected)
		}
		if err != nil {
			return nil, err
		}
		for _, reference := range references(text) {
			if err := component(reference); err != nil {
				return nil, err
			}
		}
		return text, nil
	}
	for _, operation := range operations {
		method, path, _ := strings.Cut(operation, " ")
		method = strings.ToLower(method)
		text := f.operation(path, method)
		if text == nil {
			return nil, fmt.Errorf("there is no operation %s", operation)
		}
		text, err := keep(operation, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", operation, err)
		}
		kept.Paths.add(path, method, text)
	}
	if err := component("#/components/schemas/" + errorSchema); err != nil {
		return nil, err
	}
	if i := slices.Index(corrected, false); i >= 0 {
		return nil, fmt.Errorf("%s is to be corrected (%s) and not in use", corrections[i].Of, corrections[i].Why)
	}
	return json.Marshal(kept)
}

// at returns an operation or a component as it is in a version: GitHub writes the
// changes as JSON Merge Patch (RFC 7396), or as JSON Patch (RFC 6902) where they
// are a list.
func at(version string, text json.RawMessage) (json.RawMessage, error) {
	if !bytes.Contains(text, []byte(changesKey)) {
		return text, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	written := fields[changesKey]
	delete(fields, changesKey)
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(text, []byte(changesKey)) {
		return nil, fmt.Errorf("%s is deeper than at the top", changesKey)
	}
	var changes []struct {
		Version string          `json:"version"`
		Patch   json.RawMessage `json:"patch"`
	}
	if err := json.Unmarshal(written, &changes); err != nil {
		return nil, fmt.Errorf("%s: %w", changesKey, err)
	}
	for _, change := range changes {
		if change.Version > version { // a date
			continue
		}
		if text, err = apply(change.Patch, text); err != nil {
			return nil, fmt.Errorf("%s: %w", changesKey, err)
		}
	}
	return text, nil
}

func apply(patch, text json.RawMessage) (json.RawMessage, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(patch), []byte("[")) {
		return jsonpatch.MergePatch(text, patch)
	}
	operations, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, err
	}
	return operations.Apply(text)
}

// references are the targets of every $ref in a JSON text.
func references(text json.RawMessage) []string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return nil
	}
	var found []string
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			if target, ok := value["$ref"].(string); ok {
				found = append(found, target)
			}
			for _, field := range value {
				walk(field)
			}
		case []any:
			for _, element := range value {
				walk(element)
			}
		}
	}
	walk(value)
	return found
}
