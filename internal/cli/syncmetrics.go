//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// syncMetrics are what a monitoring system is told, under names as Prometheus wants them
// (https://prometheus.io/docs/practices/naming/).
type syncMetrics struct {
	watching *watching

	mu       sync.Mutex
	of       map[string]*directoryMetrics // by the names of directories
	requests map[requestKind]int          // to the webhook's server
	limits   *rateLimits
	loaded   time.Time // when the configuration was last read
	refused  bool      // the last one could not be used
}

// directoryMetrics are what is counted of a directory.
type directoryMetrics struct {
	passes    map[watch.Outcome]int
	failures  map[string]int // by kind
	bytes     int64
	succeeded time.Time
	retry     time.Time // when what has failed is tried again; zero where all is well
	took      *metrics.PrometheusHistogram
	set       *metrics.Set // of took
}

// requestKind is a path, and what became of a request for it.
type requestKind struct{ path, outcome string }

func newSyncMetrics(w *watching, limits *rateLimits) *syncMetrics {
	return &syncMetrics{
		watching: w, loaded: time.Now(), limits: limits,
		of: map[string]*directoryMetrics{}, requests: map[requestKind]int{},
	}
}

// directory is what is counted of a directory. The lock is held.
func (m *syncMetrics) directory(name string) *directoryMetrics {
	d := m.of[name]
	if d == nil {
		d = &directoryMetrics{passes: map[watch.Outcome]int{}, failures: map[string]int{}, set: metrics.NewSet()}
		d.took = d.set.NewPrometheusHistogram("ghapp_sync_pass_duration_seconds{name=" + label(name) + "}")
		m.of[name] = d
	}
	return d
}

// passed counts a pass.
func (m *syncMetrics) passed(t *kept, p watch.Pass) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.directory(t.entry.Name)
	d.passes[p.Outcome]++
	d.bytes += p.Bytes
	d.retry = p.Retry
	d.took.Update(p.Took.Seconds())
	switch p.Outcome {
	case watch.Failed:
		kind := diag.Explain(p.Err).Kind
		d.failures[kind]++
	case watch.Waiting:
	default:
		d.succeeded = time.Now()
	}
}

// answered counts what a request to the webhook's server was answered.
func (m *syncMetrics) answered(path, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[requestKind{path, outcome}]++
}

// reloaded notes that the configuration was read anew, or could not be used.
func (m *syncMetrics) reloaded(well bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = !well
	if well {
		m.loaded = time.Now()
	}
}

// exposition is Prometheus' text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
type exposition struct{ bytes.Buffer }

// family begins the samples of a name.
func (e *exposition) family(name, kind, help string) {
	fmt.Fprintf(e, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample writes one value, with the names and values of its labels.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		e.WriteString(separator + labels[i] + "=" + label(labels[i+1]))
	}
	if len(labels) > 0 {
		e.WriteString("}")
	}
	e.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// label is the value of a label, in which three characters are escaped and no more
// (https://prometheus.io/docs/instrumenting/exposition_formats/#comments-help-text-and-type-information):
// a directory may have any name.
func label(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(text, "\uFFFD")) + `"`
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus has it; 0 for none.
func seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}

// serve answers GET /metrics.
func (m *syncMetrics) serve(w http.ResponseWriter, _ *http.Request) {
	var e exposition
	m.write(&e)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(e.Bytes())
}

// directoryFamily is a family with a sample for each directory.
type directoryFamily struct {
	name, kind, help string
	value            func(d *directoryMetrics, r *deploy.Release) float64
}

func directoryFamilies() []directoryFamily {
	return []directoryFamily{
		{
			"ghapp_sync_published", "gauge", "1 where the directory shows a release.",
			func(_ *directoryMetrics, r *deploy.Release) float64 { return truth(r != nil) },
		},
		{
			"ghapp_sync_exec_failed", "gauge", "1 where the command after the release has failed and is to be tried again.",
			func(_ *directoryMetrics, r *deploy.Release) float64 { return truth(r != nil && r.ExecFailed()) },
		},
		{
			"ghapp_sync_release_age_seconds", "gauge", "Time since the release that is shown was published.",
			func(_ *directoryMetrics, r *deploy.Release) float64 {
				if r == nil {
					return 0
				}
				return time.Since(r.PublishedAt).Seconds()
			},
		},
		{
			"ghapp_sync_last_success_timestamp_seconds", "gauge", "When a pass last ended well; 0 where none has since the start.",
			func(d *directoryMetrics, _ *deploy.Release) float64 { return seconds(d.succeeded) },
		},
		{
			"ghapp_sync_failing", "gauge", "1 where the last pass has failed, or waits for its next try.",
			func(d *directoryMetrics, _ *deploy.Release) float64 { return truth(!d.retry.IsZero()) },
		},
		{
			"ghapp_sync_retry_timestamp_seconds", "gauge", "When what has failed is tried again by itself; 0 where nothing waits.",
			func(d *directoryMetrics, _ *deploy.Release) float64 { return seconds(d.retry) },
		},
		{
			"ghapp_sync_fetched_bytes_total", "counter", "Bytes fetched, as git packs them.",
			func(d *directoryMetrics, _ *deploy.Release) float64 { return float64(d.bytes) },
		},
	}
}

func (m *syncMetrics) write(e *exposition) {
	list := m.watching.now.Load().kept
	published := map[*kept]*deploy.Release{}
	for _, t := range list {
		published[t] = t.shown()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e.family("ghapp_build_info", "gauge", "Always 1; the label is the version of ghapp.")
	e.sample("ghapp_build_info", 1, "version", m.watching.command.release())
	for _, f := range directoryFamilies() {
		e.family(f.name, f.kind, f.help)
		for _, t := range list {
			value := f.value(m.directory(t.entry.Name), published[t])
			e.sample(f.name, value, "name", t.entry.Name, "repository", t.entry.Repository)
		}
	}
	e.family("ghapp_sync_release_info", "gauge", "Always 1; the labels tell what the directory shows.")
	for _, t := range list {
		if r := published[t]; r != nil {
			e.sample("ghapp_sync_release_info", 1, "name", t.entry.Name, "repository", r.Repository, "ref", r.Ref, "commit", r.Commit, "release", r.ID)
		}
	}
	e.family("ghapp_sync_passes_total", "counter", "Passes, by how they ended.")
	for _, t := range list {
		for _, outcome := range watch.Outcomes() {
			e.sample("ghapp_sync_passes_total", float64(m.directory(t.entry.Name).passes[outcome]), "name", t.entry.Name, "outcome", string(outcome))
		}
	}
	e.family("ghapp_sync_failures_total", "counter", "Passes that failed, by cause, as --json names it.")
	for _, t := range list {
		failures := m.directory(t.entry.Name).failures
		for _, kind := range slices.Sorted(maps.Keys(failures)) {
			e.sample("ghapp_sync_failures_total", float64(failures[kind]), "name", t.entry.Name, "kind", kind)
		}
	}
	e.family("ghapp_sync_pass_duration_seconds", "histogram", "How long passes took.")
	for _, t := range list {
		m.directory(t.entry.Name).set.WritePrometheus(e)
	}
	m.writeProcess(e)
}

// writeProcess writes what is about the process and not about one directory. The lock is held.
func (m *syncMetrics) writeProcess(e *exposition) {
	if m.watching.options.Webhook != "" {
		e.family("ghapp_sync_webhook_requests_total", "counter", "Requests to the webhook and to POST /sync, by what became of them.")
		for _, path := range []string{hook.DefaultPath, hook.SyncPath, hook.OtherPath} {
			for _, outcome := range hook.Outcomes() {
				e.sample("ghapp_sync_webhook_requests_total", float64(m.requests[requestKind{path, outcome}]), "path", path, "outcome", outcome)
			}
		}
	}
	limits := m.limits.all()
	budgets := slices.SortedFunc(maps.Keys(limits), func(a, b budget) int {
		return strings.Compare(a.host+" "+a.resource, b.host+" "+b.resource)
	})
	for _, f := range []struct {
		name, help string
		value      func(rateLimit) int64
	}{
		{"ghapp_github_rate_limit", "Requests an hour that the API allows, as it said last.", func(l rateLimit) int64 { return l.limit }},
		{"ghapp_github_rate_limit_remaining", "How many of them were left.", func(l rateLimit) int64 { return l.remaining }},
		{"ghapp_github_rate_limit_reset_timestamp_seconds", "When there are as many again.", func(l rateLimit) int64 { return l.reset }},
	} {
		e.family(f.name, "gauge", f.help)
		for _, b := range budgets {
			e.sample(f.name, float64(f.value(limits[b])), "host", b.host, "resource", b.resource)
		}
	}
	e.family("ghapp_config_last_reload_successful", "gauge", "0 where the configuration could not be used when it was last read anew.")
	e.sample("ghapp_config_last_reload_successful", truth(!m.refused))
	e.family("ghapp_config_last_reload_success_timestamp_seconds", "gauge", "When the configuration that is used was read.")
	e.sample("ghapp_config_last_reload_success_timestamp_seconds", seconds(m.loaded))
	var all bytes.Buffer
	metrics.WriteProcMetrics(&all)
	metrics.WriteFDMetrics(&all)
	metrics.WriteGoMetrics(&all)
	values := map[string]string{}
	for line := range strings.Lines(all.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			values[name] = value
		}
	}
	for _, f := range []struct{ name, kind, help string }{
		{"process_cpu_seconds_total", "counter", "Processor time, in seconds."},
		{"process_start_time_seconds", "gauge", "When the process was started."},
		{"process_resident_memory_bytes", "gauge", "Memory of the process."},
		{"process_virtual_memory_bytes", "gauge", "Address space of the process."},
		{"process_open_fds", "gauge", "Open file descriptors."},
		{"process_max_fds", "gauge", "How many file descriptors may be open."},
		{"go_goroutines", "gauge", "Goroutines."},
		{"go_memstats_heap_inuse_bytes", "gauge", "Memory of Go's heap that is in use."},
		{"go_threads", "gauge", "Threads of the operating system."},
	} {
		if value, ok := values[f.name]; ok { // not every system has all of them
			e.family(f.name, f.kind, f.help)
			e.WriteString(f.name + " " + value + "\n")
		}
	}
}
