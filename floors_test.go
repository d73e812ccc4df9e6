package ghapp_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// floors are the packages of this module from the top down. A package imports
// packages of lower floors only, so that no two ever need each other.
var floors = [][]string{
	{"cmd/ghapp", "cmd/git-credential-ghapp"},
	{"internal/demo"}, // above all that it shows, so that nothing leans on it
	{"internal/cli"},
	{"internal/registration", "internal/syncer"},
	{"configured", "internal/agentserver", "internal/gitsession", "internal/keystore"},
	{"internal/apps", "internal/configedit", "internal/doctor", "internal/hook", "internal/notify"},
	{"internal/diag"},
	{"internal/deploy", "internal/gitconfig", "internal/setup"},
	{"filestore", "internal/config", "internal/gitcmd", "internal/refs", "internal/term"},
	{"storetest", "internal/cache", "internal/gitauth"},
	{""}, // ghapp itself
	{"agent", "signer", "internal/api", "internal/jwt"},
	{"internal/agentproto", "internal/credcache"},
	{"credential", "signer/execsigner", "internal/childenv", "internal/filelock", "internal/gitsetup", "internal/keyfile",
		"internal/keyuri", "internal/private", "internal/process", "internal/watch", "internal/scrub"},
	{"internal/atomicfile", "internal/bridge", "internal/fault", "internal/ghtoken", "internal/installed",
		"internal/lfsconfig", "internal/permission", "internal/spelling", "internal/testkit", "internal/text",
		"internal/userdirs", "internal/wait", "secret"},
	{"githubtest"},
	{"internal/githubtest"}, // imports none of ours: it must not share our mistakes
}

func TestImportsGoDownOnly(t *testing.T) {
	const module = "github.com/ghapp-dev/ghapp"
	floorOf := map[string]int{}
	for i, packages := range floors {
		for _, name := range packages {
			floorOf[strings.TrimSuffix(module+"/"+name, "/")] = len(floors) - i
		}
	}
	list := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	output := testkit.Must(list.Output())(t)
	seen := 0
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p struct {
			ImportPath    string
			Imports, Deps []string
		}
		if err := decoder.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		floor, known := floorOf[p.ImportPath]
		if !known {
			t.Errorf("%s stands on no floor: give it one", p.ImportPath)
		}
		if p.ImportPath == module+"/internal/cli" && slices.Contains(p.Deps, module+"/githubtest") {
			t.Error("internal/cli needs githubtest; internal/demo alone brings it into the program, of which it is 5 %")
		}
		for _, imported := range p.Imports {
			standIn := module + "/internal/githubtest"
			if p.ImportPath == module+"/githubtest" || p.ImportPath == standIn {
				if strings.Contains(strings.Split(imported, "/")[0], ".") && imported != standIn {
					t.Errorf("%s imports %s; the stand-in keeps to the standard library", p.ImportPath, imported)
				}
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
	testkit.Equal(t, seen, len(floorOf), "packages are listed,  have a floor")
}

// docs/architecture.md tells a newcomer of the floors; it must not tell of others.
func TestArchitectureTellsOfTheseFloors(t *testing.T) {
	page := testkit.Must(os.ReadFile("docs/architecture.md"))(t)
	var told [][]string
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || !strings.HasPrefix(strings.TrimSpace(cells[2]), "`") {
			if len(told) > 0 {
				break // the table of floors is the first one
			}
			continue
		}
		var packages []string
		for i, text := range strings.Split(cells[2], "`") {
			if i%2 == 1 {
				packages = append(packages, strings.TrimPrefix(text, "ghapp"))
			}
		}
		told = append(told, packages)
	}
	for i, packages := range floors {
		want := slices.Sorted(slices.Values(packages))
		if i >= len(told) {
			t.Errorf("docs/architecture.md does not tell of the floor of %q", want)
		} else if got := slices.Sorted(slices.Values(told[i])); !slices.Equal(got, want) {
			t.Errorf("docs/architecture.md has %q on floor %d from the top, and floors_test.go %q", got, i+1, want)
		}
	}
}
