package api

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestOffsetIsMeasuredFromDate(t *testing.T) {
	base := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return base.Add(d) }
	for _, test := range []struct {
		name           string
		sent, received time.Time
		date           time.Time
		want, within   time.Duration
	}{
		{"the same second", at(200 * time.Millisecond), at(300 * time.Millisecond), at(0), 0, 0},
		{"the last moment of a second", at(999 * time.Millisecond), at(1001 * time.Millisecond), at(0), 0, 0},
		{"a slow answer", at(0), at(8 * time.Second), at(5 * time.Second), 0, 0},
		{"server ahead", at(0), at(time.Second), at(3 * time.Hour), 3 * time.Hour, time.Second},
		{"server behind", at(0), at(time.Second), at(-3 * time.Hour), -3 * time.Hour, time.Second},
		{"server two seconds ahead", at(0), at(100 * time.Millisecond), at(2 * time.Second), 2 * time.Second, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c Clock
			c.observe(http.Header{"Date": {test.date.Format(http.TimeFormat)}}, test.sent, test.received)
			if got := c.Offset(); (got-test.want).Abs() > test.within || !c.Measured() {
				t.Errorf("offset %s, want %s give or take %s", got, test.want, test.within)
			}
		})
	}
}

func TestOffsetIsNotMeasuredFromWhatSaysNothing(t *testing.T) {
	now := time.Now()
	far := now.Add(3 * time.Hour).UTC().Format(http.TimeFormat)
	for name, header := range map[string]http.Header{
		"no date": {}, "garbage": {"Date": {"yesterday"}}, "out of a cache": {"Date": {far}, "Age": {"3600"}},
	} {
		var c Clock
		c.observe(header, now, now)
		if c.Offset() != 0 || c.Measured() {
			t.Errorf("%s: offset %s", name, c.Offset())
		}
	}
}

func TestClockThatIsFarOffIsNotBelieved(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for date, believed := range map[string]bool{
		"Mon, 23 Nov 2026 00:59:00 GMT": true, "Sat, 21 Nov 2026 19:01:00 GMT": true,
		"Mon, 23 Nov 2026 01:01:00 GMT": false, "Sat, 21 Nov 2026 18:59:00 GMT": false,
		"Fri, 31 Dec 9999 23:59:59 GMT": false, "Sat, 01 Jan 0001 00:00:00 GMT": false,
	} {
		var c Clock
		offset := c.observe(http.Header{"Date": {date}}, now, now.Add(time.Second))
		if Believable(offset) != believed || c.Measured() != believed || c.Offset() != 0 != believed {
			t.Errorf("%s: offset %s, measured %t, kept %s", date, offset, c.Measured(), c.Offset())
		}
	}
	var c Clock
	c.Assume(16 * time.Hour)
	testkit.Equal(t, c.Offset(), 0, "an assumed offset")
}

func TestAnswerFromBeforeItsRequestMeasuresNothing(t *testing.T) {
	now := time.Now()
	header := http.Header{"Date": {now.Add(2 * time.Hour).UTC().Format(http.TimeFormat)}}
	for name, sent := range map[string]time.Time{"no time of sending": {}, "sent later": now.Add(time.Second)} {
		if offset, uncertain, ok := Measure(header, sent, now); ok {
			t.Errorf("%s: %s, give or take %s", name, offset, uncertain)
		}
	}
}

func TestAssumedOffsetGivesWayToAMeasuredOne(t *testing.T) {
	var c Clock
	c.Assume(time.Hour)
	if c.Offset() != time.Hour || c.Measured() {
		t.Errorf("offset %s, measured %t", c.Offset(), c.Measured())
	}
	if ahead := time.Until(c.Now()); ahead < 59*time.Minute || ahead > 61*time.Minute {
		t.Errorf("now is %s ahead, want an hour", ahead)
	}
	now := time.Now()
	c.observe(http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}, now, now)
	c.Assume(time.Hour)
	testkit.Equal(t, c.Offset(), 0, "offset")
}

func TestClockIsSafeForConcurrentUse(t *testing.T) {
	var c Clock
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			now := time.Now()
			c.Assume(time.Second)
			c.observe(http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}, now, now)
			c.Now()
		})
	}
	group.Wait()
}
