//go:build unix

package syncer

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/deploy"
)

// The types of metrics.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// metric is one of [allMetrics]: a family of samples.
type metric struct {
	name   string
	kind   string // counter, gauge or histogram
	labels string // their names, separated by commas
	help   string // a sentence
	sample sampler
}

// sampler adds the samples of a metric to a scrape, and reports whether this process has it. The
// lock is held.
type sampler func(m *metrics, s *scrape) bool

// scrape is one answer to Prometheus, and what is looked at for it. Into it the samples of one
// metric at a time are written, in the text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
type scrape struct {
	directories []*directory
	releases    map[*directory]*deploy.Release // that they show; nil: none
	runtime     map[string]string              // see runtimeValues

	metric metric
	bytes.Buffer
}

// header is what stands before the samples.
func (m metric) header() string {
	return "# HELP " + m.name + " " + m.help + "\n# TYPE " + m.name + " " + m.kind + "\n"
}

// add writes one sample, with the values of its labels in their order.
func (s *scrape) add(value float64, labels ...string) {
	s.WriteString(s.metric.name)
	names := strings.Split(s.metric.labels, ",")
	for i, text := range labels {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		s.WriteString(separator + names[i] + "=" + label(text))
	}
	if len(labels) > 0 {
		s.WriteString("}")
	}
	s.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
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
