//go:build unix

package syncer

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	victoria "github.com/VictoriaMetrics/metrics"

	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/lastday"
	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// allMetrics are what a monitoring system is told: here is where one is added, and docs/sync.md,
// which a test holds to this table. Names are as Prometheus wants them
// (https://prometheus.io/docs/practices/naming/).
func allMetrics() []metric {
	const ofOne = "name,repository" // the labels of what is about one directory
	return []metric{
		{"ghapp_build_info", gauge, "version", "Always 1; the label is the version of ghapp.", version},
		{"ghapp_sync_published", gauge, ofOne, "1 where the directory shows a release.", each(published)},
		{"ghapp_sync_exec_failed", gauge, ofOne,
			"1 where the command after the release has failed and is to be tried again.", each(execFailed)},
		{"ghapp_sync_release_age_seconds", gauge, ofOne,
			"Time since the release that is shown was published.", each(releaseAge)},
		{"ghapp_sync_last_success_timestamp_seconds", gauge, ofOne,
			"When a pass last ended well; 0 where none has since the start.", each(lastSuccess)},
		{"ghapp_sync_failing", gauge, ofOne,
			"1 where the last pass has failed, or waits for its next try.", each(failing)},
		{"ghapp_sync_retry_timestamp_seconds", gauge, ofOne,
			"When what has failed is tried again by itself; 0 where nothing waits.", each(retry)},
		{"ghapp_sync_fetched_bytes_total", counter, ofOne, "Bytes fetched, as git packs them.", each(fetchedBytes)},
		{"ghapp_sync_release_info", gauge, "name,repository,ref,commit,release",
			"Always 1; the labels tell what the directory shows.", releaseInfo},
		{"ghapp_sync_passes_total", counter, "name,outcome",
			"Passes, by how they ended: unchanged, published, held, failed or waiting.", passes},
		{"ghapp_sync_failures_total", counter, "name,kind",
			"Passes that failed, by cause, as --json names it.", failures},
		{"ghapp_sync_pass_duration_seconds", histogram, "name", "How long passes took.", passDurations},
		{"ghapp_sync_webhook_requests_total", counter, "path,outcome",
			"Requests to --webhook (path: /webhook, /sync or other), by what became of them: taken, " +
				"ignored, refused, busy or failed.",
			webhookRequests},
		{"ghapp_github_rate_limit", gauge, "host,resource",
			"Requests an hour that the API allows, as it said last.",
			limits(func(l rateLimit) int64 { return l.limit })},
		{"ghapp_github_rate_limit_remaining", gauge, "host,resource",
			"How many of them were left.", limits(func(l rateLimit) int64 { return l.remaining })},
		{"ghapp_github_rate_limit_reset_timestamp_seconds", gauge, "host,resource",
			"When there are as many again.", limits(func(l rateLimit) int64 { return l.reset })},
		{"ghapp_config_last_reload_successful", gauge, "",
			"0 where the configuration could not be used when it was last read anew.", one(reloadSuccessful)},
		{"ghapp_config_last_reload_success_timestamp_seconds", gauge, "",
			"When the configuration that is used was read.", one(reloadedAt)},
		{"process_cpu_seconds_total", counter, "", "Processor time, in seconds.", ofRuntime},
		{"process_start_time_seconds", gauge, "", "When the process was started.", ofRuntime},
		{"process_resident_memory_bytes", gauge, "", "Memory of the process.", ofRuntime},
		{"process_virtual_memory_bytes", gauge, "", "Address space of the process.", ofRuntime},
		{"process_open_fds", gauge, "", "Open file descriptors.", ofRuntime},
		{"process_max_fds", gauge, "", "How many file descriptors may be open.", ofRuntime},
		{"go_goroutines", gauge, "", "Goroutines.", ofRuntime},
		{"go_memstats_heap_inuse_bytes", gauge, "", "Memory of Go's heap that is in use.", ofRuntime},
		{"go_threads", gauge, "", "Threads of the operating system.", ofRuntime},
	}
}

// What each directory has.

func published(_ *directoryMetrics, r *deploy.Release) float64 { return truth(r != nil) }
func execFailed(_ *directoryMetrics, r *deploy.Release) float64 {
	return truth(r != nil && r.ExecFailed())
}
func lastSuccess(d *directoryMetrics, _ *deploy.Release) float64  { return seconds(d.succeeded) }
func failing(d *directoryMetrics, _ *deploy.Release) float64      { return truth(!d.retry.IsZero()) }
func retry(d *directoryMetrics, _ *deploy.Release) float64        { return seconds(d.retry) }
func fetchedBytes(d *directoryMetrics, _ *deploy.Release) float64 { return float64(d.bytes) }

func releaseAge(_ *directoryMetrics, r *deploy.Release) float64 {
	if r == nil {
		return 0
	}
	return time.Since(r.PublishedAt).Seconds()
}

// each is a sample for each directory.
func each(value func(*directoryMetrics, *deploy.Release) float64) sampler {
	return func(m *metrics, s *scrape) bool {
		for _, d := range s.directories {
			s.add(value(m.directory(d.entry.Name), s.releases[d]), d.entry.Name, d.entry.Repository)
		}
		return true
	}
}

func releaseInfo(_ *metrics, s *scrape) bool {
	for _, d := range s.directories {
		if r := s.releases[d]; r != nil {
			s.add(1, d.entry.Name, r.Repository, r.Ref, r.Commit, r.ID)
		}
	}
	return true
}

func passes(m *metrics, s *scrape) bool {
	for _, d := range s.directories {
		for _, outcome := range watch.Outcomes() {
			s.add(float64(m.directory(d.entry.Name).passes[outcome]), d.entry.Name, string(outcome))
		}
	}
	return true
}

func failures(m *metrics, s *scrape) bool {
	for _, d := range s.directories {
		of := m.directory(d.entry.Name).failures
		for _, kind := range slices.Sorted(maps.Keys(of)) {
			s.add(float64(of[kind]), d.entry.Name, kind)
		}
	}
	return true
}

func passDurations(m *metrics, s *scrape) bool {
	for _, d := range s.directories {
		m.directory(d.entry.Name).set.WritePrometheus(s)
	}
	return true
}

// What the process has.

func version(m *metrics, s *scrape) bool {
	s.add(1, m.version)
	return true
}

func webhookRequests(m *metrics, s *scrape) bool {
	for _, path := range []string{hook.DefaultPath, hook.SyncPath, hook.OtherPath} {
		for _, outcome := range hook.Outcomes() {
			s.add(float64(m.requests[requestKind{path, outcome}]), path, outcome)
		}
	}
	return m.webhook
}

func limits(value func(rateLimit) int64) sampler {
	return func(m *metrics, s *scrape) bool {
		all := m.limits.all()
		for _, b := range slices.SortedFunc(maps.Keys(all), budget.compare) {
			s.add(float64(value(all[b])), b.host, b.resource)
		}
		return true
	}
}

func reloadSuccessful(m *metrics) float64 { return truth(!m.refused) }
func reloadedAt(m *metrics) float64       { return seconds(m.loaded) }

// one is a sample of the process, without labels.
func one(value func(*metrics) float64) sampler {
	return func(m *metrics, s *scrape) bool {
		s.add(value(m))
		return true
	}
}

// ofRuntime is what the operating system and Go say under that name; not every system has all.
func ofRuntime(_ *metrics, s *scrape) bool {
	value, known := s.runtime[s.metric.name]
	s.WriteString(s.metric.name + " " + value + "\n")
	return known
}

// runtimeValues are the values of the metrics that the operating system and Go have.
func runtimeValues() map[string]string {
	var all bytes.Buffer
	victoria.WriteProcMetrics(&all)
	victoria.WriteFDMetrics(&all)
	victoria.WriteGoMetrics(&all)
	values := map[string]string{}
	for line := range strings.Lines(all.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			values[name] = value
		}
	}
	return values
}

// metrics are what is counted while the process lives.
type metrics struct {
	version string
	webhook bool // requests to its server are counted
	all     func() []*directory

	mu       sync.Mutex
	of       map[string]*directoryMetrics // by the names of directories
	requests map[requestKind]int          // to the webhook's server
	limits   *rateLimits
	fetched  lastday.Counter // bytes
	loaded   time.Time       // when the configuration was last read
	refused  bool            // the last one could not be used
}

// directoryMetrics are what is counted of a directory.
type directoryMetrics struct {
	passes    map[watch.Outcome]int
	failures  map[string]int // by kind
	bytes     int64
	succeeded time.Time
	retry     time.Time     // when what has failed is tried again; zero where all is well
	failure   *page.Failure // what that is, for the page
	took      *victoria.PrometheusHistogram
	set       *victoria.Set // of took
}

// requestKind is a path, and what became of a request for it.
type requestKind struct{ path, outcome string }

func newMetrics(version string, webhook bool, all func() []*directory, limits *rateLimits) *metrics {
	return &metrics{
		version: version, webhook: webhook, all: all, loaded: time.Now(), limits: limits,
		of: map[string]*directoryMetrics{}, requests: map[requestKind]int{},
	}
}

// directory is what is counted of a directory. The lock is held.
func (m *metrics) directory(name string) *directoryMetrics {
	d := m.of[name]
	if d == nil {
		d = &directoryMetrics{passes: map[watch.Outcome]int{}, failures: map[string]int{}, set: victoria.NewSet()}
		d.took = d.set.NewPrometheusHistogram("ghapp_sync_pass_duration_seconds{name=" + label(name) + "}")
		m.of[name] = d
	}
	return d
}

// onPass counts a pass.
func (m *metrics) onPass(of *directory, p watch.Pass) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.directory(of.entry.Name)
	d.passes[p.Outcome]++
	d.bytes += p.Bytes
	m.fetched.Add(p.Bytes)
	d.retry = p.Retry
	d.took.Update(p.Took.Seconds())
	switch p.Outcome {
	case watch.Failed:
		d.failure = forStrangers(p.Err, time.Now())
		d.failures[d.failure.Kind]++
	case watch.Waiting:
	default:
		d.succeeded, d.failure = time.Now(), nil
	}
}

// onAnswer counts what a request to the webhook's server was answered.
func (m *metrics) onAnswer(path, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[requestKind{path, outcome}]++
}

// onReload notes that the configuration was read anew, or could not be used.
func (m *metrics) onReload(well bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = !well
	if well {
		m.loaded = time.Now()
	}
}

// serveHTTP answers GET /metrics.
func (m *metrics) serveHTTP(w http.ResponseWriter, _ *http.Request) {
	s := &scrape{
		directories: m.all(), releases: map[*directory]*deploy.Release{}, runtime: runtimeValues(),
	}
	for _, d := range s.directories {
		s.releases[d] = d.release()
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(m.exposition(s))
}

// exposition are all metrics, as Prometheus reads them.
func (m *metrics) exposition(s *scrape) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all bytes.Buffer
	for _, s.metric = range allMetrics() {
		s.Reset()
		if s.metric.sample(m, s) {
			all.WriteString(s.metric.header())
			all.Write(s.Bytes())
		}
	}
	return all.Bytes()
}
