package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The units that make install brings start the ghapp that it has installed.
func TestUnitsStartTheInstalledProgram(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "share", "systemd", "user")
	if out, err := exec.CommandContext(t.Context(), "../../scripts/units", dir,
		"/home/ada/.local/bin").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	service := testkit.Must(os.ReadFile(filepath.Join(dir, "ghapp-agent.service")))(t)
	testkit.Contains(t, string(service), "\nExecStart=/home/ada/.local/bin/ghapp agent\n")
	testkit.Lacks(t, string(service), "/usr/local")
	socket := testkit.Must(os.ReadFile(filepath.Join(dir, "ghapp-agent.socket")))(t)
	testkit.Contains(t, string(socket), "\nListenStream=%t/ghapp/agent.sock\n")
}
