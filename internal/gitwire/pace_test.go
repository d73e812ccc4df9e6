package gitwire_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// drip is a body of which a part comes at a time, as long as the request goes on.
type drip struct {
	ctx    context.Context
	begin  string // comes at once
	part   func(n int) string
	every  time.Duration
	before time.Duration // the first part

	parts int
	rest  string
}

// Read implements [io.Reader].
func (d *drip) Read(p []byte) (int, error) {
	if d.begin != "" {
		n := copy(p, d.begin)
		d.begin = d.begin[n:]
		return n, nil
	}
	if d.rest == "" {
		if d.rest = d.part(d.parts); d.rest == "" {
			return 0, io.EOF
		}
		pause := d.every
		if d.parts == 0 {
			pause += d.before
		}
		d.parts++
		select {
		case <-d.ctx.Done():
			return 0, context.Cause(d.ctx)
		case <-time.After(pause):
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// Close implements [io.Closer].
func (*drip) Close() error { return nil }

// again is the same part, for ever.
func again(text string) func(int) string { return func(int) string { return text } }

// dripping is a Service whose answers drip.
func dripping(status int, d drip, headers ...string) *gitwire.Service {
	return &gitwire.Service{Origin: "https://github.com",
		Transport: testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
			a := answer(status, "", headers...)
			body := d
			body.ctx = r.Context()
			a.Body = &body
			return a, nil
		})}
}

// Whoever sends a byte a second, or signs of life and nothing else, ends in time.
func TestAnAnswerThatGetsNowhereIsEnded(t *testing.T) {
	began, long := line1("packfile\n"), line1(strings.Repeat("x", 65000))
	plain := []string{"Content-Type", "text/plain"}
	for name, test := range map[string]struct {
		d       drip
		status  int
		headers []string
		within  time.Duration
		says    string
	}{
		"a line of the section": {drip{begin: long[:4], part: again("x")}, 200, nil, 61 * time.Minute,
			"0 bytes of the pack"},
		"a line of the pack": {drip{begin: began + "fff0\x01", part: again("x")}, 200, nil, 61 * time.Minute,
			"of the pack"},
		"bytes of the pack": {drip{begin: began, part: again(band(1, "x"))}, 200, nil, 11 * time.Minute, "of the pack"},
		"parts of the pack": {drip{begin: began, part: again(band(1, strings.Repeat("x", 40000))), every: 55 * time.Second},
			200, nil, 12 * time.Minute, "of the pack"},
		"signs of life": {drip{begin: began, part: again(band(1, ""))}, 200, nil, 61 * time.Minute, "of the pack"},
		"progress":      {drip{begin: began, part: again(band(2, "x\r"))}, 200, nil, 61 * time.Minute, "of the pack"},
		"a refusal":     {drip{part: again("x")}, 403, plain, 61 * time.Second, "403"},
		"a redirection": {drip{part: again("x")}, 307, []string{"Location", "/acme/new.git/git-upload-pack"},
			5 * time.Minute, ""},
		"another medium":   {drip{part: again("x")}, 200, plain, 61 * time.Second, "text/plain"},
		"silent a refusal": {drip{part: again("x"), before: time.Hour}, 403, plain, 61 * time.Second, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if test.d.every == 0 {
					test.d.every = time.Second
				}
				from := time.Now()
				_, err := dripping(test.status, test.d, test.headers...).Fetch(t.Context(), site,
					gitwire.Request{Wants: []string{oid1}}, io.Discard)
				testkit.Fails(t, err)
				testkit.ErrorContains(t, err, test.says)
				if test.status == 200 && test.headers == nil {
					testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrUnreachable, "%v", err)
				}
				if took := time.Since(from); took > test.within {
					t.Errorf("%s: %v", took, err)
				}
			})
		})
	}
}

func TestAListingThatGetsNowhereIsEnded(t *testing.T) {
	for name, d := range map[string]drip{
		"a line": {begin: "fff0", part: again("x"), every: time.Second},
		"refs":   {part: again(line1(oid1 + " refs/heads/main\n")), every: 29 * time.Second},
		"within": {begin: line1(oid1 + " refs/heads/main\n"), part: again("0"), every: 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from := time.Now()
				_, err := dripping(200, d).Refs(t.Context(), site)
				testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrUnreachable, "%v", err)
				if took := time.Since(from); took > 11*time.Minute {
					t.Errorf("%s: %v", took, err)
				}
			})
		})
	}
}

// A server that counts objects for most of an hour, a line that is slow, and a disk that is: all go on.
func TestAnHonestServerThatIsSlowIsWaitedFor(t *testing.T) {
	const counting, parts = 11 * 55, 1500
	part := func(n int) string {
		switch {
		case n < counting:
			return band(1, "") + band(2, "Counting objects\r")
		case n < counting+parts:
			return band(1, strings.Repeat("x", 6000))
		case n == counting+parts:
			return "0000"
		}
		return ""
	}
	synctest.Test(t, func(t *testing.T) {
		from, written := time.Now(), 0
		s := dripping(200, drip{begin: line1("packfile\n"), part: part, every: 5 * time.Second})
		n := testkit.Must(s.Fetch(t.Context(), site, gitwire.Request{Wants: []string{oid1}},
			writerFunc(func(p []byte) (int, error) {
				if written++; written%100 == 0 {
					time.Sleep(20 * time.Minute)
				}
				return len(p), nil
			})))(t)
		testkit.Equal(t, n, 6000*parts)
		if took := time.Since(from); took < 4*time.Hour {
			t.Errorf("it took %s: this proves nothing", took)
		}
	})
}
