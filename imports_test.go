package ghapp_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// TestImporterLinksFewModules keeps the library light for those who import it.
func TestImporterLinksFewModules(t *testing.T) {
	const ours = "github.com/ghapp-dev/ghapp"
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{if not .Standard}}{{with .Module}}{{.Path}}{{end}}{{end}}", ".")
	output := testkit.Must(list.Output())(t)
	modules := strings.Fields(string(output))
	slices.Sort(modules)
	modules = slices.Compact(modules)
	if !slices.Contains(modules, ours) {
		t.Fatalf("modules %v: this test proves nothing", modules)
	}
	if len(modules) > 3 {
		t.Errorf("an importer links %d modules, ours and two at most: %v", len(modules), modules)
	}
	for _, heavy := range []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "go.yaml.in/yaml/v3",
		"github.com/google/go-github", "golang.org/x/oauth2", "github.com/golang-jwt/jwt", "github.com/gofrs/flock"} {
		if slices.ContainsFunc(modules, func(m string) bool { return m == heavy || strings.HasPrefix(m, heavy+"/") }) {
			t.Errorf("an importer links %s", heavy)
		}
	}
}
