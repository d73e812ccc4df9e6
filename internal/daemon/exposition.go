package daemon

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// Metric is a family of samples of a monitoring system. S is what they are taken of. Names are as
// Prometheus wants them (https://prometheus.io/docs/practices/naming/).
type Metric[S any] struct {
	Name   string
	Type   string // counter, gauge or histogram
	Labels string // their names, separated by commas
	Help   string // a sentence
	// Sample adds the samples, and reports whether this process has the metric.
	Sample func(of S, to *Samples) bool
}

// Gauge is a metric that goes up and down; see [Metric].
func Gauge[S any](name, labels, help string, sample func(S, *Samples) bool) Metric[S] {
	return Metric[S]{name, "gauge", labels, help, sample}
}

// Counter is a metric that goes up only, whose name ends in _total.
func Counter[S any](name, labels, help string, sample func(S, *Samples) bool) Metric[S] {
	return Metric[S]{name, "counter", labels, help, sample}
}

// Histogram is a metric that says how many of its values are how large.
func Histogram[S any](name, labels, help string, sample func(S, *Samples) bool) Metric[S] {
	return Metric[S]{name, "histogram", labels, help, sample}
}

// Row is the metric as our pages tell of it: a row of a table in Markdown.
func (m Metric[S]) Row() string {
	name := m.Name
	if m.Labels != "" {
		name += "{" + m.Labels + "}"
	}
	return "| `" + name + "` | " + m.Type + " | " + m.Help + " |\n"
}

// Samples are written for one metric at a time, in the text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
type Samples struct {
	bytes.Buffer
	name   string
	labels []string
}

// Exposition are the metrics of a table, as Prometheus reads them.
func Exposition[S any](table []Metric[S], of S) []byte {
	var all bytes.Buffer
	for _, m := range table {
		samples := Samples{name: m.Name, labels: strings.Split(m.Labels, ",")}
		if m.Sample(of, &samples) {
			all.WriteString("# HELP " + m.Name + " " + m.Help + "\n# TYPE " + m.Name + " " + m.Type + "\n")
			all.Write(samples.Bytes())
		}
	}
	return all.Bytes()
}

// Add writes one sample, with the values of its labels in their order.
func (s *Samples) Add(value float64, labels ...string) {
	s.WriteString(s.name)
	for i, text := range labels {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		s.WriteString(separator + s.labels[i] + "=" + Label(text))
	}
	if len(labels) > 0 {
		s.WriteString("}")
	}
	s.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// Label is the value of a label, in which three characters are escaped and no more
// (https://prometheus.io/docs/instrumenting/exposition_formats/#comments-help-text-and-type-information):
// what is kept may have any name.
func Label(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(text, "\uFFFD")) + `"`
}

// Truth is 1 for true.
func Truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Seconds is a time as Prometheus has it; 0 for none.
func Seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}
