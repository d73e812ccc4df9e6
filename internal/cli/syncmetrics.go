//go:build unix

package cli

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// syncMetrics are what a monitoring system is told, under names as Prometheus wants them
// (https://prometheus.io/docs/practices/naming/).
type syncMetrics struct {
	set *metrics.Set

	mu        sync.Mutex
	succeeded map[*kept]time.Time
}

func newSyncMetrics(k *keeper, version string) *syncMetrics {
	m := &syncMetrics{set: metrics.NewSet(), succeeded: map[*kept]time.Time{}}
	m.set.NewGauge(fmt.Sprintf(`ghapp_build_info{version=%q}`, version), func() float64 { return 1 })
	for _, t := range k.kept {
		labels := labelsOf(t)
		published := func() (time.Time, bool) {
			r, err := t.deploy.Published()
			if err != nil || r == nil {
				return time.Time{}, false
			}
			return r.PublishedAt, true
		}
		m.set.NewGauge("ghapp_sync_exec_failed"+labels, func() float64 {
			r, err := t.deploy.Published()
			return truth(err == nil && r != nil && r.ExecFailed())
		})
		m.set.NewGauge("ghapp_sync_published"+labels, func() float64 {
			_, ok := published()
			return truth(ok)
		})
		m.set.NewGauge("ghapp_sync_release_age_seconds"+labels, func() float64 {
			at, ok := published()
			if !ok {
				return 0
			}
			return time.Since(at).Seconds()
		})
		m.set.NewGauge("ghapp_sync_last_success_timestamp_seconds"+labels, func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			if at := m.succeeded[t]; !at.IsZero() {
				return float64(at.UnixMilli()) / 1000
			}
			return 0
		})
		for _, outcome := range watch.Outcomes() {
			m.set.NewCounter(m.passes(t, outcome))
		}
		m.set.NewCounter("ghapp_sync_fetched_bytes_total" + labels)
		m.duration(t)
	}
	return m
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// labelsOf names a directory.
func labelsOf(t *kept) string {
	return "{name=" + label(t.entry.Name) + ",repository=" + label(t.entry.Repository) + "}"
}

// label is the value of a label, in which Prometheus escapes three characters and no more
// (https://prometheus.io/docs/instrumenting/exposition_formats/#comments-help-text-and-type-information):
// a directory may have any name.
func label(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(text, "\uFFFD")) + `"`
}

func (m *syncMetrics) passes(t *kept, outcome watch.Outcome) string {
	return fmt.Sprintf("ghapp_sync_passes_total{name=%s,outcome=%q}", label(t.entry.Name), outcome)
}

func (m *syncMetrics) duration(t *kept) *metrics.PrometheusHistogram {
	return m.set.GetOrCreatePrometheusHistogram(fmt.Sprintf("ghapp_sync_pass_duration_seconds{name=%s}", label(t.entry.Name)))
}

// passed counts a pass.
func (m *syncMetrics) passed(t *kept, p watch.Pass) {
	m.set.GetOrCreateCounter(m.passes(t, p.Outcome)).Inc()
	m.set.GetOrCreateCounter("ghapp_sync_fetched_bytes_total" + labelsOf(t)).AddInt64(p.Bytes)
	m.duration(t).Update(p.Took.Seconds())
	switch p.Outcome {
	case watch.Failed:
		report := diag.Explain(p.Err)
		kind := report.Kind
		if kind == "" {
			kind = "other"
		}
		m.set.GetOrCreateCounter(fmt.Sprintf("ghapp_sync_failures_total{name=%s,kind=%s}", label(t.entry.Name), label(kind))).Inc()
	case watch.Waiting:
	default:
		m.mu.Lock()
		m.succeeded[t] = time.Now()
		m.mu.Unlock()
	}
}

// serve answers GET /metrics, in Prometheus' text format.
func (m *syncMetrics) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}
