package mirror

import (
	"maps"
	"slices"
	"sync"
	"time"

	victoria "github.com/VictoriaMetrics/metrics"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/lastday"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// allMetrics are what a monitoring system is told of the mirrors: here is where one is added, and
// docs/mirror.md, which a test holds to this table.
func allMetrics() []daemon.Metric[*scrape] {
	return []daemon.Metric[*scrape]{
		daemon.Gauge("ghapp_mirror_repositories", "name",
			"Repositories that are wanted, as of the last pass.", last(func(r *Report) int { return r.Mirrors })),
		daemon.Gauge("ghapp_mirror_fresh", "name",
			"How many of them were known to be as GitHub says, as of the last pass.",
			last(func(r *Report) int { return r.Fresh })),
		daemon.Gauge("ghapp_mirror_failing", "name",
			"Repositories and installations whose last try has failed.", failing),
		daemon.Gauge("ghapp_mirror_last_success_timestamp_seconds", "name",
			"When a pass last came to its end; 0 where none has since the start.",
			each(func(d *counted) float64 { return daemon.Seconds(d.succeeded) })),
		daemon.Gauge("ghapp_mirror_retry_timestamp_seconds", "name",
			"When a pass that has failed is tried again by itself; 0 where none has.",
			each(func(d *counted) float64 { return daemon.Seconds(d.retry) })),
		daemon.Counter("ghapp_mirror_passes_total", "name,outcome",
			"Passes, by how they ended: unchanged, changed or failed.", passes),
		daemon.Histogram("ghapp_mirror_pass_duration_seconds", "name", "How long passes took.", durations),
		daemon.Counter("ghapp_mirror_updates_total", "name,outcome",
			"Single repositories that a webhook had looked at, by how that ended: unchanged, changed or failed.", updates),
		daemon.Counter("ghapp_mirror_failures_total", "name,kind",
			"Repositories and passes that failed, by cause, as --json names it.", failures),
		daemon.Counter("ghapp_mirror_fetched_bytes_total", "name", "Bytes fetched, as git packs them.",
			each(func(d *counted) float64 { return float64(d.bytes) })),
		daemon.Counter("ghapp_mirror_git_requests_total", "name", "Requests to the git service.",
			each(func(d *counted) float64 { return float64(d.requests) })),
		daemon.Counter("ghapp_mirror_git_processes_total", "name", "Processes of git that were started.",
			each(func(d *counted) float64 { return float64(d.processes) })),
		daemon.Counter("ghapp_mirror_webhook_requests_total", "path,outcome",
			"Requests to --webhook (path: /webhook or other), by what became of them: taken, ignored, refused, "+
				"busy or failed.",
			func(s *scrape, to *daemon.Samples) bool { return s.counters.Requests(to, hook.DefaultPath) }),
		daemon.Histogram("ghapp_mirror_webhook_duration_seconds", "",
			"How long it took from a webhook until what it told of was mirrored.",
			func(s *scrape, to *daemon.Samples) bool {
				s.set.WritePrometheus(to)
				return s.counters.Webhook()
			}),
	}
}

// The outcomes of passes and updates.
const (
	unchangedOutcome = "unchanged"
	changedOutcome   = "changed"
	failedOutcome    = "failed"
)

func outcomes() []string { return []string{unchangedOutcome, changedOutcome, failedOutcome} }

// each is a sample for each directory.
func each(value func(*counted) float64) func(*scrape, *daemon.Samples) bool {
	return func(s *scrape, to *daemon.Samples) bool {
		for _, k := range s.keepers {
			to.Add(value(s.directory(k.name())), k.name())
		}
		return true
	}
}

// last is a sample of the last pass of each directory that came to its end.
func last(value func(*Report) int) func(*scrape, *daemon.Samples) bool {
	return func(s *scrape, to *daemon.Samples) bool {
		for _, k := range s.keepers {
			k.mu.Lock()
			n := 0
			if k.report != nil {
				n = value(k.report)
			}
			k.mu.Unlock()
			to.Add(float64(n), k.name())
		}
		return true
	}
}

func failing(s *scrape, to *daemon.Samples) bool {
	for _, k := range s.keepers {
		_, fail := k.counts()
		to.Add(float64(fail), k.name())
	}
	return true
}

func passes(s *scrape, to *daemon.Samples) bool {
	for _, k := range s.keepers {
		for _, outcome := range outcomes() {
			to.Add(float64(s.directory(k.name()).passes[outcome]), k.name(), outcome)
		}
	}
	return true
}

func updates(s *scrape, to *daemon.Samples) bool {
	for _, k := range s.keepers {
		for _, outcome := range outcomes() {
			to.Add(float64(s.directory(k.name()).updates[outcome]), k.name(), outcome)
		}
	}
	return true
}

func durations(s *scrape, to *daemon.Samples) bool {
	for _, k := range s.keepers {
		s.directory(k.name()).set.WritePrometheus(to)
	}
	return true
}

func failures(s *scrape, to *daemon.Samples) bool {
	for _, k := range s.keepers {
		of := s.directory(k.name()).failures
		for _, kind := range slices.Sorted(maps.Keys(of)) {
			to.Add(float64(of[kind]), k.name(), kind)
		}
	}
	return true
}

// metrics are what is counted of the mirrors while the process lives.
type metrics struct {
	counters *daemon.Counters // of the process
	fetched  lastday.Counter  // bytes
	set      *victoria.Set    // of answered
	answered *victoria.PrometheusHistogram

	mu sync.Mutex
	of map[string]*counted // by the names of directories
}

// counted is what is counted of a directory.
type counted struct {
	passes, updates            map[string]int // by outcome
	failures                   map[string]int // by kind
	bytes, requests, processes int64
	succeeded, retry           time.Time
	took                       *victoria.PrometheusHistogram
	set                        *victoria.Set // of took
}

func newMetrics(counters *daemon.Counters) *metrics {
	m := &metrics{counters: counters, of: map[string]*counted{}, set: victoria.NewSet()}
	m.answered = m.set.NewPrometheusHistogram("ghapp_mirror_webhook_duration_seconds")
	return m
}

// directory is what is counted of a directory. The lock is held.
func (m *metrics) directory(name string) *counted {
	d := m.of[name]
	if d == nil {
		d = &counted{passes: map[string]int{}, updates: map[string]int{}, failures: map[string]int{}, set: victoria.NewSet()}
		d.took = d.set.NewPrometheusHistogram("ghapp_mirror_pass_duration_seconds{name=" + daemon.Label(name) + "}")
		m.of[name] = d
	}
	return d
}

// onReport counts what a pass or an update has done.
func (m *metrics) onReport(name string, r *Report) {
	m.fetched.Add(r.Bytes)
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.directory(name)
	d.bytes, d.requests, d.processes = d.bytes+r.Bytes, d.requests+r.Requests, d.processes+r.Processes
	for _, f := range r.Failed {
		d.failures[diag.Explain(f.Err).Kind]++
	}
}

// onPass counts a pass.
func (m *metrics) onPass(name string, p watch.Pass) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.directory(name)
	d.retry = p.Retry
	d.took.Update(p.Took.Seconds())
	outcome := unchangedOutcome
	switch p.Outcome {
	case watch.Failed:
		outcome = failedOutcome
		d.failures[diag.Explain(p.Err).Kind]++
	case watch.Published:
		outcome = changedOutcome
	}
	d.passes[outcome]++
	if p.Outcome != watch.Failed {
		d.succeeded = time.Now()
	}
}

// onUpdate counts an update.
func (m *metrics) onUpdate(name string, r *Report, err error) {
	outcome := unchangedOutcome
	switch {
	case err != nil:
		outcome = failedOutcome
	case r.Changed+r.Made > 0:
		outcome = changedOutcome
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.directory(name).updates[outcome]++
}

// onEvent counts how long it took until what a webhook told of was done.
func (m *metrics) onEvent(took time.Duration) { m.answered.Update(took.Seconds()) }

// scrape is one answer to Prometheus, and what is looked at for it.
type scrape struct {
	*metrics
	keepers []*keeper
}

// exposition are all metrics, as Prometheus reads them.
func (m *metrics) exposition(keepers []*keeper) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return daemon.Exposition(allMetrics(), &scrape{m, keepers})
}
