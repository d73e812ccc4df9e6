package signer

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What reaches key services is in programs of its own: this package, which each start
// of ghapp pays for, links no module but ours, where the system's keyring needs none.
func TestPackageLinksNoOtherModule(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{if not .Standard}}{{with .Module}}{{.Path}}{{end}}{{end}}", ".")
	list.Env = append(list.Environ(), "GOOS=linux", "GOARCH=amd64")
	output := testkit.Must(list.Output())(t)
	modules := strings.Fields(string(output))
	if len(modules) == 0 {
		t.Fatal("no package is listed")
	}
	for _, module := range modules {
		testkit.Equal(t, module, "github.com/ghapp-dev/ghapp", "it links")
	}
}
