package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units that make install brings start the ghapp that it has installed.
func TestUnitsStartTheInstalledProgram(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "share", "systemd", "user")
	if out, err := exec.CommandContext(t.Context(), "../../scripts/units", dir, "/home/ada/.local/bin").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	service, err := os.ReadFile(filepath.Join(dir, "ghapp-agent.service"))
	if err != nil || !strings.Contains(string(service), "\nExecStart=/home/ada/.local/bin/ghapp agent\n") || strings.Contains(string(service), "/usr/local") {
		t.Errorf("%v\n%s", err, service)
	}
	socket, err := os.ReadFile(filepath.Join(dir, "ghapp-agent.socket"))
	if err != nil || !strings.Contains(string(socket), "\nListenStream=%t/ghapp/agent.sock\n") {
		t.Errorf("%v\n%s", err, socket)
	}
}
