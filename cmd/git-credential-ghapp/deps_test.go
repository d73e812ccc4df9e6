package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// TestLinksOnlyWhatItNeeds keeps out of the helper what makes a program slow to
// start. git starts it twice per operation.
func TestLinksOnlyWhatItNeeds(t *testing.T) {
	const ours = "github.com/ghapp-dev/ghapp/"
	forbidden := []string{"net/http", "crypto", "html", "text/template", "encoding/xml", "database/sql",
		"flag", "testing", "encoding/json"}
	var allowed []string
	for _, name := range []string{
		"cmd/git-credential-ghapp", "credential", "internal/agentproto", "internal/childenv",
		"internal/credcache", "internal/ghtoken",
		"internal/lfsconfig", "internal/private", "internal/text", "internal/userdirs", "secret",
	} {
		allowed = append(allowed, ours+name)
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		// Its tables are made at each start, and those of net/netip.
		forbidden := forbidden
		if goos != "windows" {
			forbidden = append(forbidden, "net")
		}
		cmd := exec.Command("go", "list", "-deps", ".")
		cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		out, err := cmd.Output()
		testkit.OK(t, err, "%s", goos)
		packages := strings.Fields(string(out))
		if len(packages) < len(allowed) {
			t.Fatalf("%s: go list names %d packages only", goos, len(packages))
		}
		for _, name := range packages {
			root, _, _ := strings.Cut(name, "/")
			switch {
			case slices.Contains(forbidden, name), slices.Contains(forbidden, root):
				t.Errorf("%s: links %s", goos, name)
			case strings.Contains(root, ".") && !slices.Contains(allowed, name) && name != "golang.org/x/sys/unix":
				t.Errorf("%s: links %s", goos, name)
			}
		}
	}
}
