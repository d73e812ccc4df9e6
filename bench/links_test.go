package bench

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A library's importer links the packages that it needs, and no others of the module.
const (
	ours = "github.com/ghapp-dev/ghapp"
	peer = "github.com/bradleyfalzon/ghinstallation/v2"
)

// library is what an importer of ghapp needs: the App, and its key.
var library = []string{ours, ours + "/signer"}

// mostModules is how many modules beside our own an importer of the library links.
const mostModules = 3

func TestModulesAnImporterLinks(t *testing.T) {
	linked := modules(t, library...)
	if !slices.Contains(linked, ours) {
		t.Fatalf("%v are linked, but not %s: nothing was counted", linked, ours)
	}
	if others := len(linked) - 1; others > mostModules {
		t.Errorf("an importer links %d modules beside ours, want %d at most: %v", others, mostModules, linked)
	}
}

// modules are those outside the standard library that a program links when it imports
// the packages.
func modules(tb testing.TB, packages ...string) []string {
	tb.Helper()
	args := append([]string{"list", "-deps", "-json=Module"}, packages...)
	out := output(tb, ".", "go", args...)
	var paths []string
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var listed struct{ Module *struct{ Path string } }
		err := decoder.Decode(&listed)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		if listed.Module != nil {
			paths = append(paths, listed.Module.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// BenchmarkWeight takes no time worth measuring: it reports how many modules an
// importer links beside the library's own, and the sizes of programs, all built the
// same way. importer-bytes is the smallest program that gets a token.
func BenchmarkWeight(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(0, "ns/op")
	}
	b.ReportMetric(float64(len(modules(b, library...))-1), "modules")
	b.ReportMetric(float64(len(modules(b, peer))-1), "ghinstallation-modules")
	for unit, path := range map[string]string{
		"ghapp-bytes":                   build(b, "../cmd/ghapp"),
		"helper-bytes":                  build(b, "../cmd/git-credential-ghapp"),
		"line-bytes":                    build(b, "testdata/line"),
		"importer-bytes":                build(b, "testdata/importer"),
		"ghinstallation-importer-bytes": build(b, "testdata/ghinstallation"),
	} {
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size()), unit)
	}
}

// output runs a program and returns what it printed.
func output(tb testing.TB, dir, name string, args ...string) string {
	tb.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	return string(out)
}
