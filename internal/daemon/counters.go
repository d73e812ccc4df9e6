package daemon

import (
	"bytes"
	"strings"
	"sync"
	"time"

	victoria "github.com/VictoriaMetrics/metrics"

	"github.com/ghapp-dev/ghapp/internal/hook"
)

// Counters are what is counted of a process, whatever it keeps.
type Counters struct {
	version string
	webhook bool // requests to its server are counted
	limits  *RateLimits

	mu       sync.Mutex
	requests map[request]int // to the webhook's server
	loaded   time.Time       // when the configuration was last read
	refused  bool            // the last one could not be used
}

// request is a path, and what became of a request for it.
type request struct{ path, outcome string }

func newCounters(o Options, limits *RateLimits) *Counters {
	return &Counters{
		version: o.Version, webhook: o.Webhook != "", limits: limits, requests: map[request]int{}, loaded: time.Now(),
	}
}

// OnAnswer counts what a request to the webhook's server was answered; see [hook.Handler].
func (c *Counters) OnAnswer(path, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[request{path, outcome}]++
}

// onReload notes that the configuration was read anew, or could not be used.
func (c *Counters) onReload(well bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = !well
	if well {
		c.loaded = time.Now()
	}
}

// Webhook reports whether requests to the webhook's server are counted: there is one.
func (c *Counters) Webhook() bool { return c.webhook }

// Requests are the samples of what requests for some paths of the webhook's server, and
// [hook.OtherPath], were answered, with the labels path and outcome.
func (c *Counters) Requests(to *Samples, paths ...string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, path := range append(paths, hook.OtherPath) {
		for _, outcome := range hook.Outcomes() {
			to.Add(float64(c.requests[request{path, outcome}]), path, outcome)
		}
	}
	return c.webhook
}

// runtime are values that the operating system and Go have, by the names of their metrics.
type runtime map[string]string

// scrape is one look at the counters.
type scrape struct {
	*Counters
	runtime
}

func (c *Counters) exposition() []byte {
	return Exposition(ProcessMetrics(), scrape{c, runtimeValues()})
}

// ProcessMetrics are those of every process that goes on: here is where one is added, and in the
// pages of the commands, whose tests ask for it.
func ProcessMetrics() []Metric[scrape] {
	const ofLimit = "host,resource"
	return []Metric[scrape]{
		Gauge("ghapp_build_info", "version", "Always 1; the label is the version of ghapp.", version),
		Gauge("ghapp_github_rate_limit", ofLimit,
			"Requests an hour that the API allows, as it said last.",
			limits(func(l RateLimit) int64 { return l.Limit })),
		Gauge("ghapp_github_rate_limit_remaining", ofLimit,
			"How many of them were left.", limits(func(l RateLimit) int64 { return l.Remaining })),
		Gauge("ghapp_github_rate_limit_reset_timestamp_seconds", ofLimit,
			"When there are as many again.", limits(func(l RateLimit) int64 { return l.Reset.Unix() })),
		Gauge("ghapp_config_last_reload_successful", "",
			"0 where the configuration could not be used when it was last read anew.",
			one(func(c *Counters) float64 { return Truth(!c.refused) })),
		Gauge("ghapp_config_last_reload_success_timestamp_seconds", "",
			"When the configuration that is used was read.", one(func(c *Counters) float64 { return Seconds(c.loaded) })),
		ofRuntime(Counter, "process_cpu_seconds_total", "Processor time, in seconds."),
		ofRuntime(Gauge, "process_start_time_seconds", "When the process was started."),
		ofRuntime(Gauge, "process_resident_memory_bytes", "Memory of the process."),
		ofRuntime(Gauge, "process_virtual_memory_bytes", "Address space of the process."),
		ofRuntime(Gauge, "process_open_fds", "Open file descriptors."),
		ofRuntime(Gauge, "process_max_fds", "How many file descriptors may be open."),
		ofRuntime(Gauge, "go_goroutines", "Goroutines."),
		ofRuntime(Gauge, "go_memstats_heap_inuse_bytes", "Memory of Go's heap that is in use."),
		ofRuntime(Gauge, "go_threads", "Threads of the operating system."),
	}
}

func version(s scrape, to *Samples) bool {
	to.Add(1, s.version)
	return true
}

func limits(value func(RateLimit) int64) func(scrape, *Samples) bool {
	return func(s scrape, to *Samples) bool {
		for _, l := range s.limits.All() {
			to.Add(float64(value(l)), l.Host, l.Resource)
		}
		return true
	}
}

// one is a sample of the process, without labels.
func one(value func(*Counters) float64) func(scrape, *Samples) bool {
	return func(s scrape, to *Samples) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		to.Add(value(s.Counters))
		return true
	}
}

// ofRuntime is what the operating system or Go says under that name; not every system has all.
func ofRuntime(
	of func(name, labels, help string, sample func(scrape, *Samples) bool) Metric[scrape], name, help string,
) Metric[scrape] {
	return of(name, "", help, func(s scrape, to *Samples) bool {
		value, known := s.runtime[name]
		to.WriteString(name + " " + value + "\n")
		return known
	})
}

// runtimeValues are the values of the metrics that the operating system and Go have.
func runtimeValues() runtime {
	var all bytes.Buffer
	victoria.WriteProcMetrics(&all)
	victoria.WriteFDMetrics(&all)
	victoria.WriteGoMetrics(&all)
	values := runtime{}
	for line := range strings.Lines(all.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			values[name] = value
		}
	}
	return values
}
