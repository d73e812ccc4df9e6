//go:build unix

package syncer

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The documentation has a row for each metric, in the words of its HELP, and for no other.
func TestDocsTellOfEveryMetric(t *testing.T) {
	text := testkit.Must(os.ReadFile("../../docs/sync.md"))(t)
	for _, m := range allMetrics() {
		name := m.name
		if m.labels != "" {
			name += "{" + m.labels + "}"
		}
		if row := "| `" + name + "` | " + m.kind + " | " + m.help + " |\n"; !strings.Contains(string(text), row) {
			t.Errorf("docs/sync.md has no row\n%s", row)
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `[a-z_]+(\\{[a-z,]+\\})?` \\| (counter|gauge|histogram) \\|").FindAll(text, -1)
	testkit.Equal(t, len(rows), len(allMetrics()), "docs/sync.md")
}

// Prometheus' own conventions: https://prometheus.io/docs/practices/naming/.
func TestMetricsAreNamedAsPrometheusWantsThem(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range allMetrics() {
		if seen[m.name] || (m.kind == counter) != strings.HasSuffix(m.name, "_total") || !strings.HasSuffix(m.help, ".") {
			t.Errorf("%+v", m)
		}
		seen[m.name] = true
	}
}
