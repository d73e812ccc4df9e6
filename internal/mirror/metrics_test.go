package mirror

import (
	"os"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The documentation has a row for each metric, in the words of its HELP.
func TestDocsTellOfEveryMetric(t *testing.T) {
	text := testkit.Must(os.ReadFile("../../docs/mirror.md"))(t)
	for _, m := range allMetrics() {
		if !strings.Contains(string(text), m.Row()) {
			t.Errorf("docs/mirror.md has no row\n%s", m.Row())
		}
		if (m.Type == "counter") != strings.HasSuffix(m.Name, "_total") || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s is not named as Prometheus wants it", m.Name)
		}
	}
	for _, m := range daemon.ProcessMetrics() {
		if strings.HasPrefix(m.Name, "ghapp_") && !strings.Contains(string(text), "`"+m.Name+"`") {
			t.Errorf("docs/mirror.md does not name %s", m.Name)
		}
	}
}
