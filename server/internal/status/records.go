package status

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/lastday"
	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
)

const (
	maxRefusals = 50  // that are remembered
	maxText     = 512 // bytes of a text that a caller may have chosen
	// maxRules is how many are counted by their names. More than a policy has room for come only
	// with many policies, one after the other; all that follow are counted as one.
	maxRules   = 1000
	otherRules = "(others)"
)

// Auditor keeps records.
type Auditor interface {
	Append(ctx context.Context, r audit.Record) error
}

// Records hands records on to the audit, and counts them. It is safe for concurrent use.
type Records struct {
	// Audit keeps them. Required.
	Audit Auditor

	shared, minted, refused, failed lastday.Counter
	lastMinute                      minute
	mints                           atomic.Int64 // requests for a token that GitHub has answered with one

	mu       sync.Mutex
	counts   map[exchanges]int64
	rules    map[string]bool
	lost     int64         // records that could not be kept
	lag      time.Duration // for which the last record waited until it was kept
	refusals []page.Refusal
}

// exchanges are told apart by this: by nothing that a caller chooses.
type exchanges struct{ rule, outcome, source string }

// Append implements [Auditor]. What the audit did not keep is counted as lost alone, since nothing
// became of it.
func (r *Records) Append(ctx context.Context, record audit.Record) error {
	began := time.Now()
	err := r.Audit.Append(ctx, record)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag = time.Since(began)
	if err != nil {
		r.lost++
		if record.Event == audit.Refused || record.Event == audit.Failed {
			r.count(record, "failed")
		}
		return err
	}
	switch record.Event {
	case audit.HandedOut:
		r.count(record, "handed out")
	case audit.Refused:
		r.count(record, "refused")
	case audit.Failed:
		r.count(record, "failed")
	}
	return nil
}

// count counts what has become of an exchange.
func (r *Records) count(record audit.Record, outcome string) {
	if r.counts == nil {
		r.counts, r.rules = map[exchanges]int64{}, map[string]bool{"": true}
	}
	rule := record.Rule
	if !r.rules[rule] && len(r.rules) >= maxRules {
		rule = otherRules
	}
	r.rules[rule] = true
	r.lastMinute.add(1)
	counted := exchanges{rule: rule, outcome: outcome}
	switch {
	case outcome == "refused":
		r.refused.Add(1)
	case outcome == "failed":
		r.failed.Add(1)
	case record.Source == "minted":
		counted.source = record.Source
		r.minted.Add(1)
	default: // cached or merged: nothing was minted for it
		counted.source = record.Source
		r.shared.Add(1)
	}
	r.counts[counted]++
	if outcome == "handed out" {
		return
	}
	r.refusals = slices.Insert(r.refusals[:min(len(r.refusals), maxRefusals-1)], 0, page.Refusal{
		At: time.Now(), Failed: outcome == "failed", Rule: rule,
		Who:    text.Shorten(strings.TrimSpace(record.Issuer+" "+record.Subject), maxText),
		Reason: text.Shorten(record.Reason, maxText), ID: text.Shorten(record.ID, maxText),
	})
}

// Observe counts the tokens that GitHub gives in answers that come by a transport.
func (r *Records) Observe(base http.RoundTripper) http.RoundTripper { return observing{base, r} }

type observing struct {
	http.RoundTripper
	records *Records
}

// RoundTrip implements [http.RoundTripper].
func (o observing) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := o.RoundTripper.RoundTrip(req)
	if err == nil && req.Method == http.MethodPost && answer.StatusCode == http.StatusCreated &&
		strings.HasSuffix(req.URL.Path, "/access_tokens") {
		o.records.mints.Add(1)
	}
	return answer, err
}

// ofSource is how many exchanges were handed a token from there.
func (r *Records) ofSource(source string) (n int64) {
	for of, count := range r.counted() {
		if of.source == source {
			n += count
		}
	}
	return n
}

// counted are the counts so far.
func (r *Records) counted() map[exchanges]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// last are the last refusals, the newest first; never nil.
func (r *Records) last() []page.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]page.Refusal{}, r.refusals...)
}

// behind is how many records were lost, and for how long the last one has waited.
func (r *Records) behind() (lost int64, lag time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost, r.lag
}

// minute counts what happened within the last 60 seconds. The zero value has counted nothing.
type minute struct {
	mu     sync.Mutex
	counts [60]int64 // of second n at n % 60
	at     [60]int64 // which second that is, counted from 1970
}

func (m *minute) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().Unix()
	i := now % int64(len(m.at))
	if m.at[i] != now {
		m.at[i], m.counts[i] = now, 0
	}
	m.counts[i] += n
}

func (m *minute) sum() (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().Unix()
	for i, at := range m.at {
		if at > now-int64(len(m.at)) && at <= now {
			n += m.counts[i]
		}
	}
	return n
}
