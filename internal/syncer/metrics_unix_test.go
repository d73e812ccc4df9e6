//go:build unix

package syncer

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The documentation has a row for each metric, in the words of its HELP, and for no other.
func TestDocsTellOfEveryMetric(t *testing.T) {
	text := testkit.Must(os.ReadFile("../../docs/sync.md"))(t)
	rows := append(rowsOf(allMetrics()), rowsOf(daemon.ProcessMetrics())...)
	for _, row := range rows {
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/sync.md has no row\n%s", row)
		}
	}
	told := regexp.MustCompile("(?m)^\\| `[a-z_]+(\\{[a-z,]+\\})?` \\| (counter|gauge|histogram) \\|").FindAll(text, -1)
	testkit.Equal(t, len(told), len(rows), "docs/sync.md")
}

func rowsOf[S any](table []daemon.Metric[S]) (rows []string) {
	for _, m := range table {
		rows = append(rows, m.Row())
	}
	return rows
}

// Prometheus' own conventions: https://prometheus.io/docs/practices/naming/.
func TestMetricsAreNamedAsPrometheusWantsThem(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range allMetrics() {
		total := strings.HasSuffix(m.Name, "_total")
		if seen[m.Name] || (m.Type == "counter") != total || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%+v", m)
		}
		seen[m.Name] = true
	}
}
