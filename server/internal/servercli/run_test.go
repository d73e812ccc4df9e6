package servercli_test

import (
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestRunWithSettingsThatCannotBeUsedSaysWhere(t *testing.T) {
	t.Parallel()
	code, _, errs := run(t, "", "run", "--config", filepath.Join(t.TempDir(), "none.yaml"))
	testkit.Equal(t, code, fault.Configuration, "exit code")
	testkit.Contains(t, errs, "ghapp-server: error: ", "none.yaml: cannot read the file")
	code, _, errs = run(t, "", "run", "--config", files(t, "server.yaml", "listen: 0.0.0.0:8443\naudiences: a\n"))
	testkit.Equal(t, code, fault.Configuration, "exit code")
	testkit.Contains(t, errs, `server.yaml:2: unknown key "audiences"`)
}
