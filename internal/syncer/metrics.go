//go:build unix

package syncer

import (
	"maps"
	"slices"
	"sync"
	"time"

	victoria "github.com/VictoriaMetrics/metrics"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/lastday"
	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// allMetrics are what a monitoring system is told of the directories: here is where one is added,
// and docs/sync.md, which a test holds to this table.
func allMetrics() []daemon.Metric[*scrape] {
	const ofOne = "name,repository" // the labels of what is about one directory
	return []daemon.Metric[*scrape]{
		daemon.Gauge("ghapp_sync_published", ofOne, "1 where the directory shows a release.", each(published)),
		daemon.Gauge("ghapp_sync_exec_failed", ofOne,
			"1 where the command after the release has failed and is to be tried again.", each(execFailed)),
		daemon.Gauge("ghapp_sync_release_age_seconds", ofOne,
			"Time since the release that is shown was published.", each(releaseAge)),
		daemon.Gauge("ghapp_sync_last_success_timestamp_seconds", ofOne,
			"When a pass last ended well; 0 where none has since the start.", each(lastSuccess)),
		daemon.Gauge("ghapp_sync_failing", ofOne,
			"1 where the last pass has failed, or waits for its next try.", each(failing)),
		daemon.Gauge("ghapp_sync_retry_timestamp_seconds", ofOne,
			"When what has failed is tried again by itself; 0 where nothing waits.", each(retry)),
		daemon.Counter("ghapp_sync_fetched_bytes_total", ofOne, "Bytes fetched, as git packs them.", each(fetchedBytes)),
		daemon.Gauge("ghapp_sync_release_info", "name,repository,ref,commit,release",
			"Always 1; the labels tell what the directory shows.", releaseInfo),
		daemon.Counter("ghapp_sync_passes_total", "name,outcome",
			"Passes, by how they ended: unchanged, published, held, failed or waiting.", passes),
		daemon.Counter("ghapp_sync_failures_total", "name,kind",
			"Passes that failed, by cause, as --json names it.", failures),
		daemon.Histogram("ghapp_sync_pass_duration_seconds", "name", "How long passes took.", passDurations),
		daemon.Counter("ghapp_sync_webhook_requests_total", "path,outcome",
			"Requests to --webhook (path: /webhook, /sync or other), by what became of them: taken, "+
				"ignored, refused, busy or failed.",
			webhookRequests),
	}
}

// What each directory has.

func published(_ *directoryMetrics, r *deploy.Release) float64 { return daemon.Truth(r != nil) }
func execFailed(_ *directoryMetrics, r *deploy.Release) float64 {
	return daemon.Truth(r != nil && r.ExecFailed())
}
func lastSuccess(d *directoryMetrics, _ *deploy.Release) float64  { return daemon.Seconds(d.succeeded) }
func failing(d *directoryMetrics, _ *deploy.Release) float64      { return daemon.Truth(!d.retry.IsZero()) }
func retry(d *directoryMetrics, _ *deploy.Release) float64        { return daemon.Seconds(d.retry) }
func fetchedBytes(d *directoryMetrics, _ *deploy.Release) float64 { return float64(d.bytes) }

func releaseAge(_ *directoryMetrics, r *deploy.Release) float64 {
	if r == nil {
		return 0
	}
	return time.Since(r.PublishedAt).Seconds()
}

// each is a sample for each directory.
func each(value func(*directoryMetrics, *deploy.Release) float64) func(*scrape, *daemon.Samples) bool {
	return func(s *scrape, to *daemon.Samples) bool {
		for _, d := range s.directories {
			to.Add(value(s.directory(d.entry.Name), s.releases[d]), d.entry.Name, d.entry.Repository)
		}
		return true
	}
}

func releaseInfo(s *scrape, to *daemon.Samples) bool {
	for _, d := range s.directories {
		if r := s.releases[d]; r != nil {
			to.Add(1, d.entry.Name, r.Repository, r.Ref, r.Commit, r.ID)
		}
	}
	return true
}

func passes(s *scrape, to *daemon.Samples) bool {
	for _, d := range s.directories {
		for _, outcome := range watch.Outcomes() {
			to.Add(float64(s.directory(d.entry.Name).passes[outcome]), d.entry.Name, string(outcome))
		}
	}
	return true
}

func failures(s *scrape, to *daemon.Samples) bool {
	for _, d := range s.directories {
		of := s.directory(d.entry.Name).failures
		for _, kind := range slices.Sorted(maps.Keys(of)) {
			to.Add(float64(of[kind]), d.entry.Name, kind)
		}
	}
	return true
}

func passDurations(s *scrape, to *daemon.Samples) bool {
	for _, d := range s.directories {
		s.directory(d.entry.Name).set.WritePrometheus(to)
	}
	return true
}

func webhookRequests(s *scrape, to *daemon.Samples) bool {
	return s.counters.Requests(to, hook.DefaultPath, hook.SyncPath)
}

// metrics are what is counted of the directories while the process lives.
type metrics struct {
	counters *daemon.Counters // of the process
	all      func() []*directory

	mu      sync.Mutex
	of      map[string]*directoryMetrics // by the names of directories
	fetched lastday.Counter              // bytes
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

func newMetrics(counters *daemon.Counters, all func() []*directory) *metrics {
	return &metrics{counters: counters, all: all, of: map[string]*directoryMetrics{}}
}

// directory is what is counted of a directory. The lock is held.
func (m *metrics) directory(name string) *directoryMetrics {
	d := m.of[name]
	if d == nil {
		d = &directoryMetrics{passes: map[watch.Outcome]int{}, failures: map[string]int{}, set: victoria.NewSet()}
		d.took = d.set.NewPrometheusHistogram("ghapp_sync_pass_duration_seconds{name=" + daemon.Label(name) + "}")
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

// scrape is one answer to Prometheus, and what is looked at for it.
type scrape struct {
	*metrics
	directories []*directory
	releases    map[*directory]*deploy.Release // that they show; nil: none
}

// exposition are all metrics, as Prometheus reads them.
func (m *metrics) exposition() []byte {
	s := &scrape{metrics: m, directories: m.all(), releases: map[*directory]*deploy.Release{}}
	for _, d := range s.directories {
		s.releases[d] = d.release()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return daemon.Exposition(allMetrics(), s)
}
