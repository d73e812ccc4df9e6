//go:build unix

package cli

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/mirror"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// printed are the rows of docs/mirror.md that tell of --json, and what each is about.
func printed() map[string]any {
	return map[string]any{
		"`ghapp mirror`: a list, of each directory": mirrored{},
		"`failed`":            mirrorFailure{},
		"`error`, everywhere": diag.Report{},
		"`list`: a list, and `mirrors` of `status`": mirrorState{},
		"`wiki`":                              wikiState{},
		"`lfs`":                               mirror.Large{},
		"`last_pass`":                         mirror.LastPass{},
		"`owners`":                            mirror.FailedOwner{},
		"`failure`":                           mirror.Failure{},
		"`status`: a list, of each directory": dirState{},
		"`installations`":                     mirror.Installation{},
		"`verify`: a list, of each mirror":    verifiedMirror{},
		"`restore`":                           restored{},
		"`bundle`: a list, of each mirror":    bundledMirror{},
	}
}

// fieldsOf are those of a struct in JSON, with a question mark where one may be left out, and the structs in them.
func fieldsOf(of reflect.Type) (names []string, within []reflect.Type) {
	for field := range of.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "-" {
			continue
		}
		if options != "" {
			name += "?"
		}
		names = append(names, name)
		inner := field.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() {
			within = append(within, inner)
		}
	}
	slices.Sort(names)
	return names, within
}

// The documentation has each field that is printed, and no other.
func TestMirrorDocsTellOfEveryFieldOfJSON(t *testing.T) {
	text := string(testkit.Must(os.ReadFile("../../docs/mirror.md"))(t))
	_, table, _ := strings.Cut(text, "| in | there is |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	told := map[string][]string{}
	field := regexp.MustCompile("`([a-z_]+)`(\\??)")
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(row), " | ")
		testkit.Equal(t, len(cells), 2, row)
		var names []string
		for _, m := range field.FindAllStringSubmatch(cells[1], -1) {
			names = append(names, m[1]+m[2])
		}
		slices.Sort(names)
		told[strings.TrimPrefix(cells[0], "| ")] = names
	}
	want, known := map[string][]string{}, map[reflect.Type]bool{}
	var met []reflect.Type
	for row, value := range printed() {
		names, within := fieldsOf(reflect.TypeOf(value))
		want[row], known[reflect.TypeOf(value)] = names, true
		met = append(met, within...)
	}
	testkit.Diff(t, told, want)
	for _, within := range met {
		testkit.Equal(t, known[within], true, "no row tells of %s", within)
	}
}
