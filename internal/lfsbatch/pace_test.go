package lfsbatch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// trickle is a body of which some bytes come every second, as long as the request goes on.
type trickle struct {
	ctx  context.Context
	each int
	rest []byte
}

// Read implements [io.Reader].
func (s *trickle) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	if s.each == 0 {
		<-s.ctx.Done()
		return 0, context.Cause(s.ctx)
	}
	select {
	case <-s.ctx.Done():
		return 0, context.Cause(s.ctx)
	case <-time.After(time.Second):
	}
	n := copy(p, s.rest[:min(s.each, len(s.rest))])
	s.rest = s.rest[n:]
	return n, nil
}

// Close implements [io.Closer].
func (*trickle) Close() error { return nil }

// However many files there are: a server that sends nothing, or a byte a second, is left in time. One
// that is slow is waited for.
func TestAServerOfWhichHardlyAnythingComesIsLeft(t *testing.T) {
	for _, test := range []struct {
		each, size, files int
		most              time.Duration
		whole             bool
	}{
		{0, 2000, 300, 10 * time.Minute, false},
		{1, 2000, 300, time.Hour, false},
		{1100, 5 << 20, 2, 2 * time.Hour, true},
	} {
		t.Run(fmt.Sprint(test.each), func(t *testing.T) {
			contents := map[string]string{}
			var want []lfsstore.Pointer
			for n := range test.files {
				text := strings.Repeat("x", test.size) + fmt.Sprint(n)
				contents["/"+pointer(text).ID] = text
				want = append(want, pointer(text))
			}
			f, _ := newFetcher(t, func(http.ResponseWriter, *http.Request) {})
			f.Transport = testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
				text := bytes.NewBufferString(contents[r.URL.Path]).Bytes()
				return &http.Response{StatusCode: 200, Body: &trickle{r.Context(), test.each, text}}, nil
			})
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				result := testkit.Must(f.Fetch(t.Context(), ghapp.RepositoryName{}, want))(t)
				if took := time.Since(began); took > test.most {
					t.Errorf("it took %s", took)
				}
				files, failed := 0, test.files
				if test.whole {
					files, failed = failed, files
				}
				testkit.Equal(t, result.Files, files)
				testkit.Equal(t, len(result.Failed), failed)
				for _, one := range result.Failed {
					testkit.Contains(t, one.Err.Error(), " come")
				}
			})
		})
	}
}
