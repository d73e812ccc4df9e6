// Package description validates exchanges with GitHub's REST API against GitHub's
// own OpenAPI description of it (https://github.com/github/rest-api-description).
//
// It is stricter than the description: a field, a query parameter or a status that
// GitHub does not describe is an error, where OpenAPI lets it pass.
package description

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Exchange is a request and its answer, as they went over the wire.
type Exchange struct {
	Method        string
	URL           *url.URL
	RequestHeader http.Header
	RequestBody   []byte
	Status        int
	Header        http.Header
	Body          []byte
}

// String names the exchange in messages.
func (x *Exchange) String() string {
	return fmt.Sprintf("%s %s: %d", x.Method, x.URL.RequestURI(), x.Status)
}

// Description is GitHub's description of some operations in one version of the
// API. It is safe for concurrent use.
type Description struct {
	doc    *openapi3.T
	router routers.Router
}

// errorSchema is what GitHub describes most refusals with.
const errorSchema = "basic-error"

// Describe keeps of the file the given operations, with what they refer to, as
// they are in the given API version. An event that GitHub delivers is the operation
// "POST /EVENT" ("POST /push") of its receiver. base is where the API stands on its host: "",
// or "/api/v3". It fails where the file lacks one of the operations, knows nothing
// of the version, or has no need of a correction.
func (f *File) Describe(version, base string, operations []string, corrections []Correction) (*Description, error) {
	d, err := f.describe(version, base, operations, corrections)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return d, nil
}

func (f *File) describe(version, base string, operations []string, corrections []Correction) (*Description, error) {
	text, err := f.cut(version, operations, corrections)
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil
	if base != "" {
		doc.Servers = openapi3.Servers{{URL: base}}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &Description{doc: doc, router: router}, nil
}

// Operation is the operation an exchange belongs to, as it was given to [File.Describe];
// "" if it belongs to none.
func (d *Description) Operation(x *Exchange) string {
	route, _, err := d.router.FindRoute(&http.Request{Method: x.Method, URL: x.URL})
	if err != nil {
		return ""
	}
	return route.Method + " " + route.Path
}

// Statuses are those GitHub describes of an operation, in order.
func (d *Description) Statuses(operation string) []int {
	method, path, _ := strings.Cut(operation, " ")
	var list []int
	for status := range d.doc.Paths.Value(path).GetOperation(method).Responses.Map() {
		if n, err := strconv.Atoi(status); err == nil {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// CheckRequest says what in the request GitHub does not describe.
func (d *Description) CheckRequest(x *Exchange) error {
	input, err := d.input(x)
	if err != nil {
		return err
	}
	var problems []error
	if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
		problems = append(problems, err)
	}
	operation := input.Route.Operation
	for name := range x.URL.Query() {
		if operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			problems = append(problems, fmt.Errorf("query parameter %s is not described", name))
		}
	}
	if operation.RequestBody != nil && len(x.RequestBody) > 0 {
		if media := operation.RequestBody.Value.Content.Get("application/json"); media != nil {
			problems = append(problems, undescribed(media.Schema.Value, x.RequestBody))
		}
	}
	return named("request of ", x, problems)
}

// ErrStatus means that GitHub does not describe the answer's status for the
// operation. Such an answer was checked against GitHub's common form of a refusal.
var ErrStatus = errors.New("status is not described")

// CheckResponse says what in the answer GitHub does not describe. Of several
// problems [ErrStatus] may be one.
func (d *Description) CheckResponse(x *Exchange) error {
	input, err := d.input(x)
	if err != nil {
		return err
	}
	var problems []error
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Options: input.Options,
		Status: x.Status, Header: x.Header, Body: io.NopCloser(bytes.NewReader(x.Body)),
	})
	if err != nil {
		problems = append(problems, err)
	}
	described := input.Route.Operation.Responses.Status(x.Status)
	switch {
	case described == nil:
		problems = append(problems, fmt.Errorf("%w: %d of %s", ErrStatus, x.Status, d.Operation(x)),
			checkJSON(d.doc.Components.Schemas[errorSchema].Value, x))
	case len(described.Value.Content) == 0:
		if len(x.Body) > 0 {
			problems = append(problems, fmt.Errorf("a body of %d bytes is not described", len(x.Body)))
		}
	default:
		// The validator passes redirects over, so the body is looked at here too.
		problems = append(problems, checkJSON(described.Value.Content.Get("application/json").Schema.Value, x))
	}
	return named("answer to ", x, problems)
}

// checkJSON checks a body against a schema, and for what the schema leaves out.
func checkJSON(schema *openapi3.Schema, x *Exchange) error {
	if media, _, _ := mime.ParseMediaType(x.Header.Get("Content-Type")); media != "application/json" {
		return fmt.Errorf("media type %q is not described", media)
	}
	var value any
	if err := json.Unmarshal(x.Body, &value); err != nil {
		return err
	}
	options := append(schemaOptions(), openapi3.MultiErrors(), openapi3.VisitAsResponse())
	return errors.Join(schema.VisitJSON(value, options...), undescribed(schema, x.Body))
}

func (d *Description) input(x *Exchange) (*openapi3filter.RequestValidationInput, error) {
	request := &http.Request{
		Method: x.Method, URL: x.URL, Header: x.RequestHeader.Clone(),
		Body: io.NopCloser(bytes.NewReader(x.RequestBody)), ContentLength: int64(len(x.RequestBody)),
	}
	route, parameters, err := d.router.FindRoute(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x, err)
	}
	options := &openapi3filter.Options{
		MultiError:                        true,
		RejectWhenRequestBodyNotSpecified: true,
		SkipSettingDefaults:               true,
		SchemaValidationOptions:           schemaOptions(),
	}
	options.WithCustomSchemaErrorFunc(short)
	return &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters,
		Route: route, Options: options}, nil
}

// short is a schema's complaint without the schema.
func short(err *openapi3.SchemaError) string {
	return "/" + strings.Join(err.JSONPointer(), "/") + ": " + err.Reason
}

// schemaOptions adds to the validator the one format that GitHub uses and it does
// not know.
func schemaOptions() []openapi3.SchemaValidationOption {
	return []openapi3.SchemaValidationOption{
		openapi3.SetSchemaErrorMessageCustomizer(short),
		openapi3.EnableFormatValidation(),
		openapi3.WithStringFormatValidator("uri", openapi3.NewCallbackValidator(func(text string) error {
			u, err := url.Parse(text)
			if err != nil {
				return err
			}
			if !u.IsAbs() || strings.ContainsAny(text, "{} ") {
				return fmt.Errorf("%q is not a URI", text)
			}
			return nil
		})),
	}
}

func named(what string, x *Exchange, problems []error) error {
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%s%s: %w", what, x, err)
	}
	return nil
}

// undescribed lists the fields of a JSON text that a schema does not name.
func undescribed(schema *openapi3.Schema, text []byte) error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	var problems []error
	for _, field := range unknown([]*openapi3.Schema{schema}, value, "") {
		problems = append(problems, fmt.Errorf("field %s is not described", field))
	}
	return errors.Join(problems...)
}

// unknown walks a value along the schemas that describe it. A schema of an object
// without named fields describes any.
func unknown(schemas []*openapi3.Schema, value any, at string) []string {
	var fields []string
	switch value := value.(type) {
	case []any:
		var items []*openapi3.Schema
		for s := range flat(schemas) {
			if s.Items != nil {
				items = append(items, s.Items.Value)
			}
		}
		for i, element := range value {
			fields = append(fields, unknown(items, element, fmt.Sprintf("%s/%d", at, i))...)
		}
	case map[string]any:
		described, open := map[string][]*openapi3.Schema{}, true
		for s := range flat(schemas) {
			for name, property := range s.Properties {
				described[name], open = append(described[name], property.Value), false
			}
		}
		for s := range flat(schemas) {
			open = open || s.AdditionalProperties.Schema != nil ||
				s.AdditionalProperties.Has != nil && *s.AdditionalProperties.Has
		}
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if described[name] == nil && !open {
				fields = append(fields, at+"/"+name)
			}
			fields = append(fields, unknown(described[name], value[name], at+"/"+name)...)
		}
	}
	return fields
}

// flat is schemas, and those they are composed of.
func flat(schemas []*openapi3.Schema) func(yield func(*openapi3.Schema) bool) {
	return func(yield func(*openapi3.Schema) bool) {
		queue := slices.Clone(schemas)
		for len(queue) > 0 {
			s := queue[0]
			queue = queue[1:]
			if !yield(s) {
				return
			}
			for _, parts := range []openapi3.SchemaRefs{s.AllOf, s.AnyOf, s.OneOf} {
				for _, part := range parts {
					queue = append(queue, part.Value)
				}
			}
		}
	}
}
