package ghapp_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// floors are the packages of this module from the top down. A package imports
// packages of lower floors only, so that no two ever need each other.
var floors = [][]string{
	{
		"cmd/ghapp",
		"cmd/git-credential-ghapp",
	},
	{"internal/demo"}, // above all that it shows, so that nothing leans on it
	{"internal/cli"},
	{
		"internal/mirror",
		"internal/registration",
		"internal/syncer",
	},
	{
		"configured",
		"internal/agentserver",
		"internal/daemon",
		"internal/gitsession",
		"internal/keystore",
	},
	{
		"internal/apps",
		"internal/configedit",
		"internal/doctor",
		"internal/hook",
		"internal/notify",
	},
	{"internal/diag"},
	{
		"internal/barerepo",
		"internal/deploy",
		"internal/gitconfig",
		"internal/setup",
	},
	{
		"filestore",
		"internal/config",
		"internal/gitcmd",
		"internal/inventory",
		"internal/refs",
		"internal/term",
	},
	{
		"internal/gitwire",
		"internal/indexpack",
		"internal/lfsbatch",
	},
	{
		"broker",
		"broker/identity",
		"storetest",
		"internal/cache",
		"internal/gitauth",
		"internal/testapp",
	},
	{""}, // ghapp itself
	{
		"signer",
		"internal/agent",
		"internal/api",
		"internal/jwt",
	},
	{
		"internal/agentproto",
		"internal/credcache",
	},
	{
		"credential",
		"signer/execsigner",
		"internal/childenv",
		"internal/filelock",
		"internal/gitsetup",
		"internal/keyfile",
		"internal/keyuri",
		"internal/lfsstore",
		"internal/page",
		"internal/private",
		"internal/process",
		"internal/scrub",
		"internal/tracer",
		"internal/watch",
	},
	{
		"internal/atomicfile",
		"internal/bridge",
		"internal/fault",
		"internal/flush",
		"internal/ghtoken",
		"internal/installed",
		"internal/lastday",
		"internal/lfsconfig",
		"internal/markup",
		"internal/packindex",
		"internal/permission",
		"internal/quarantine",
		"internal/regular",
		"internal/spelling",
		"internal/testkit",
		"internal/text",
		"internal/userdirs",
		"internal/wait",
		"secret",
	},
	{"githubtest"},
	{"internal/githubtest"}, // imports none of ours: it must not share our mistakes
}

const module = "github.com/ghapp-dev/ghapp"

// listedPackage is what go list says of a package.
type listedPackage struct {
	ImportPath    string
	Imports, Deps []string
}

func listPackages(t *testing.T, environ ...string) []listedPackage {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", "./...")
	list.Env = append(os.Environ(), environ...)
	output := testkit.Must(list.Output())(t)
	var packages []listedPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); decoder.More(); {
		var p listedPackage
		testkit.OK(t, decoder.Decode(&p))
		packages = append(packages, p)
	}
	return packages
}

// strayed reports whether a package belongs to the stand-in of GitHub, and what it imports
// neither to that nor to the standard library, whose paths have no dot in their first part.
func strayed(path, imported string) bool {
	const standIn = module + "/internal/githubtest"
	within := func(path string) bool { return strings.HasPrefix(path+"/", standIn+"/") }
	first, _, _ := strings.Cut(imported, "/")
	return (path == module+"/githubtest" || within(path)) && strings.Contains(first, ".") && !within(imported)
}

func TestStandInIsHeldToTheStandardLibraryWithAllBelowIt(t *testing.T) {
	const standIn = module + "/internal/githubtest"
	for _, test := range []struct {
		path, imported string
		want           bool
	}{
		{standIn, "net/http", false},
		{standIn, standIn + "/pages", false},
		{standIn, "golang.org/x/sync/errgroup", true},
		{standIn, module + "/internal/text", true},
		{standIn + "/pages", "html", false},
		{standIn + "/pages", standIn, false},
		{standIn + "/pages", "golang.org/x/net/html", true},
		{standIn + "/pages", module, true},
		{standIn + "/pages", standIn + "s", true},
		{module + "/githubtest", standIn, false},
		{module + "/githubtest", module + "/internal/api", true},
		{standIn + "s", "golang.org/x/net/html", false}, // another package, whose name begins so
		{module + "/internal/cli", "github.com/spf13/pflag", false},
	} {
		testkit.Equal(t, strayed(test.path, test.imported), test.want, "%s imports %s", test.path, test.imported)
	}
}

func TestImportsGoDownOnly(t *testing.T) {
	floorOf := map[string]int{}
	for i, packages := range floors {
		for _, name := range packages {
			floorOf[strings.TrimSuffix(module+"/"+name, "/")] = len(floors) - i
		}
	}
	packages := listPackages(t)
	for _, p := range packages {
		floor, known := floorOf[p.ImportPath]
		if !known {
			t.Errorf("%s stands on no floor: give it one", p.ImportPath)
		}
		if p.ImportPath == module+"/internal/cli" && slices.Contains(p.Deps, module+"/githubtest") {
			t.Error("internal/cli needs githubtest; internal/demo alone brings it into the program, of which it is 5 %")
		}
		for _, imported := range p.Imports {
			if strayed(p.ImportPath, imported) {
				t.Errorf("%s imports %s; the stand-in keeps to the standard library", p.ImportPath, imported)
			}
			below, ours := floorOf[imported]
			switch {
			case ours && below >= floor:
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, floor, imported, below)
			case imported == "github.com/spf13/cobra" && p.ImportPath != module+"/internal/cli":
				t.Errorf("%s imports cobra; internal/cli alone does", p.ImportPath)
			case imported == "html/template", imported == "text/template":
				t.Errorf("%s imports %s, which keeps every method of the program alive: ghapp becomes a fifth larger",
					p.ImportPath, imported)
			}
		}
	}
	testkit.Equal(t, len(packages), len(floorOf), "packages are listed,  have a floor")
}

const architecture = "docs/architecture.md"

// docs/architecture.md tells a newcomer of the floors; it must not tell of others.
func TestArchitectureTellsOfTheseFloors(t *testing.T) {
	page := testkit.Must(os.ReadFile(architecture))(t)
	_, table, _ := strings.Cut(string(page), "\n| floor |")
	table, _, _ = strings.Cut(table, "\n\n")
	var told [][]string
	for line := range strings.Lines(table) {
		cells := strings.SplitN(line, "|", 4) // nothing, the floor, the package, what lives there
		if len(cells) != 4 || !strings.Contains(cells[2], "`") {
			continue
		}
		if strings.TrimSpace(cells[1]) != "" {
			told = append(told, nil)
		}
		name := strings.Trim(cells[2], " `")
		told[len(told)-1] = append(told[len(told)-1], strings.TrimPrefix(name, "ghapp"))
	}
	testkit.Diff(t, told, floors)
}

// drawnFloors is how many floors, from the top, are in the drawing of docs/architecture.md. Who
// uses the parts below them, which know nothing of the others, would hide the rest.
const drawnFloors = 13

// draw draws the packages of the upper floors: each with those that it imports, but for one that
// another of them leads to as well.
func draw(packages []listedPackage) string {
	short := func(importPath string) string {
		name := strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
		return cmp.Or(strings.TrimPrefix(name, "internal/"), "ghapp")
	}
	drawn := map[string]bool{}
	for _, name := range slices.Concat(floors[:drawnFloors]...) {
		drawn[short(name)] = true
	}
	imports := map[string][]string{}
	needs := map[string][]string{} // all of them, also by way of another
	for _, p := range packages {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, module) && drawn[short(imported)] {
				imports[short(p.ImportPath)] = append(imports[short(p.ImportPath)], short(imported))
			}
		}
		for _, needed := range p.Deps {
			if strings.HasPrefix(needed, module) {
				needs[short(p.ImportPath)] = append(needs[short(p.ImportPath)], short(needed))
			}
		}
	}
	b := strings.Builder{}
	b.WriteString("flowchart TD\n")
	for _, floor := range floors[:drawnFloors] {
		for _, path := range floor {
			name := short(path)
			below := slices.DeleteFunc(slices.Clone(imports[name]), func(far string) bool {
				return slices.ContainsFunc(imports[name], func(near string) bool { return slices.Contains(needs[near], far) })
			})
			if len(below) == 0 {
				continue // it is drawn below those that import it
			}
			id := strings.NewReplacer("/", "_", "-", "_").Replace(name)
			if id != name {
				id += `["` + name + `"]`
			}
			fmt.Fprintf(&b, "  %s --> %s\n", id, strings.Join(below, " & "))
		}
	}
	return b.String()
}

var update = flag.Bool("update", false, "write the drawing of "+architecture+" anew")

func TestArchitectureIsDrawnFromTheCode(t *testing.T) {
	page := string(testkit.Must(os.ReadFile(architecture))(t))
	before, rest, found := strings.Cut(page, "```mermaid\n")
	drawing, after, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("%s has no drawing", architecture)
	}
	now := draw(listPackages(t, "GOOS=linux"))
	if drawing == now {
		return
	}
	if *update {
		testkit.OK(t, os.WriteFile(architecture, []byte(before+"```mermaid\n"+now+"```\n"+after), 0o644))
		return
	}
	testkit.Diff(t, drawing, now)
	t.Errorf("draw it anew: go test -run TestArchitectureIsDrawnFromTheCode . -update")
}

// Files move; who looks for one by a page of ours should find it.
func TestArchitectureAndOtherPagesNameWhatExists(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", "bench/*.md"} {
		pages = append(pages, testkit.Must(filepath.Glob(pattern))(t)...)
	}
	exists := func(path ...string) bool {
		_, err := os.Stat(filepath.Join(path...))
		return err == nil
	}
	path := regexp.MustCompile("`([\\w.-]+(?:/[\\w.-]+)*)/?`")
	link := regexp.MustCompile(`\]\(([\w./-]+)(?:#[\w-]+)?\)`)
	for _, page := range pages {
		for line := range strings.Lines(string(testkit.Must(os.ReadFile(page))(t))) {
			for _, found := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(found[1], ".") && !exists(filepath.Dir(page), found[1]) {
					t.Errorf("%s links to %s", page, found[1])
				}
			}
			dirs := []string{".", filepath.Dir(page)} // a file without a directory may be beside one of its line
			for _, found := range path.FindAllStringSubmatch(line, -1) {
				first, _, nested := strings.Cut(found[1], "/")
				dirs = append(dirs, filepath.Dir(found[1]))
				ours := nested && first != ".git" && exists(first) || !nested && filepath.Ext(first) == ".go"
				if !ours {
					continue
				}
				if !slices.ContainsFunc(dirs, func(dir string) bool { return exists(dir, found[1]) }) {
					t.Errorf("%s names %s", page, found[1])
				}
			}
		}
	}
}
