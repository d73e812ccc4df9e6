//go:build unix

package deploy

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Whatever goes wrong on the way, what is published stays, the cause is named, and the
// next one works once it is gone.
func TestTroubleOnTheWayLeavesTheOldRelease(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	const pack = "POST /acme/site/git-upload-pack"
	for name, test := range map[string]struct {
		fault   githubtest.Fault
		reasons []gitcmd.Reason
	}{
		"cut in the pack": {githubtest.Fault{Match: pack, CutAfter: 5000}, []gitcmd.Reason{gitcmd.ConnectionLost}},
		"cut in the refs": {githubtest.Fault{Match: "/acme/site/info/refs", CutAfter: 20},
			[]gitcmd.Reason{gitcmd.ConnectionLost}},
		"reset":         {githubtest.Fault{Match: pack, Reset: true}, []gitcmd.Reason{gitcmd.ConnectionLost}},
		"reset at once": {githubtest.Fault{Match: "/**", Reset: true}, []gitcmd.Reason{gitcmd.ConnectionLost}},
		"server error":  {githubtest.HTML502("/**"), []gitcmd.Reason{gitcmd.ServerError}},
		"token refused": {githubtest.Fault{Match: "/**", Status: 401},
			[]gitcmd.Reason{gitcmd.PromptDisabled, gitcmd.Unauthorized}},
		"suspended": {githubtest.Fault{Match: "/**", Status: 403}, []gitcmd.Reason{gitcmd.Forbidden}},
		"not found": {githubtest.Fault{Match: "/**", Status: 404}, []gitcmd.Reason{gitcmd.RepositoryNotFound}},
		"limited":   {githubtest.Fault{Match: "/**", Status: 429}, []gitcmd.Reason{gitcmd.RateLimited}},
		"a page of a firewall": {githubtest.Fault{Match: "/**", Status: 200, Body: "<html>log in</html>"},
			[]gitcmd.Reason{gitcmd.Unknown, gitcmd.ConnectionLost}},
		"elsewhere": {githubtest.Fault{Match: "/**",
			RedirectTo: "http://127.0.0.1:9/acme/site.git/info/refs?service=git-upload-pack"},
			[]gitcmd.Reason{gitcmd.Redirected}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.publish(w.commit(map[string]string{"a": "1"}))
			commit := w.commit(map[string]string{"a": "2", "big": noise(200 << 10)})
			testkit.OK(t, w.github.Fault(test.fault))
			err := w.refused(commit)
			e, ok := errors.AsType[*gitcmd.Error](err)
			if !ok || !slices.Contains(test.reasons, e.Reason) {
				t.Errorf("%v", err)
			}
			w.github.ClearFaults()
			w.publish(commit)
			if !strings.HasPrefix(w.shows(), "a: 2; big: ") {
				t.Error(w.shows()[:20])
			}
		})
	}
}

// noise is a text that no packing makes shorter.
func noise(length int) string {
	var b strings.Builder
	state := uint64(1)
	for b.Len() < length {
		state = state*6364136223846793005 + 1442695040888963407
		b.WriteByte(byte(33 + (state>>33)%90))
	}
	return b.String()
}

func TestRepositoryThatIsRenamedOrDeletedLeavesTheOldRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1"}))
	commit := w.commit(map[string]string{"a": "2"})
	testkit.OK(t, w.github.Rename("acme/site", "page"))
	if e, ok := errors.AsType[*gitcmd.Error](w.refused(commit)); !ok || e.Reason != gitcmd.Redirected {
		t.Errorf("%v", e) // the caller asks where it is
	}
	want := w.want(commit)
	want.URL = w.server.URL + "/acme/page.git"
	testkit.Must(w.target.Publish(t.Context(), want))(t)
	testkit.OK(t, w.github.DeleteRepository("acme/page"))
	want.Commit = strings.Repeat("12", 20)
	_, err := w.target.Publish(t.Context(), want)
	if e, ok := errors.AsType[*gitcmd.Error](err); !ok || e.Reason != gitcmd.RepositoryNotFound &&
		e.Reason != gitcmd.Unauthorized {
		t.Errorf("%v", err)
	}
	testkit.Equal(t, w.shows(), "a: 2")
	w.clean()
}

// between stands between git and the server.
func (w *world) between(handler func(rw http.ResponseWriter, r *http.Request, answer *httptest.ResponseRecorder)) {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		w.serve(answer, r)
		handler(rw, r, answer)
	}))
	w.t.Cleanup(server.Close)
	w.server, w.target.Scope.Origin = server, server.URL
}

func TestPackWithAWrongByteIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(w.commit(map[string]string{"a": "1"}))
	broken := true
	w.between(func(rw http.ResponseWriter, r *http.Request, answer *httptest.ResponseRecorder) {
		body := answer.Body.Bytes()
		if at := bytes.Index(body, []byte("PACK")); at >= 0 && broken {
			body[at+40] ^= 1
		}
		for name, values := range answer.Header() {
			rw.Header()[name] = values
		}
		rw.WriteHeader(answer.Code)
		_, _ = rw.Write(body)
	})
	commit := w.commit(map[string]string{"a": "2"})
	testkit.ErrorAs[*gitcmd.Error](t, w.refused(commit))
	broken = false
	w.publish(commit)
	testkit.Equal(t, w.shows(), "a: 2")
}

// A server that says nothing is given up: a pass is never the last one because of it.
func TestServerThatSaysNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Stall = time.Second })
	w.publish(w.commit(map[string]string{"a": "1"}))
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	for _, match := range []string{"info/refs", "git-upload-pack"} {
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, match) {
				select {
				case <-done:
				case <-r.Context().Done():
				}
				return
			}
			w.serve(rw, r)
		}))
		t.Cleanup(server.CloseClientConnections)
		w.server, w.target.Scope.Origin = server, server.URL
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := w.target.Publish(ctx, w.want(w.commit(map[string]string{"a": match})))
		cancel()
		if e, ok := errors.AsType[*gitcmd.Error](err); !ok || e.Reason != gitcmd.TimedOut {
			t.Errorf("%s: %v", match, err)
		}
		testkit.Equal(t, w.shows(), "a: 1")
		w.clean()
	}
}

// The order of releases is that of their numbers: a clock that jumps changes nothing.
func TestClockThatJumpsChangesNoOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Keep = 2 })
	for i, text := range []string{"1", "2", "3"} {
		w.publish(w.commit(map[string]string{"a": text}))
		r := w.published()
		r.BuiltAt = r.BuiltAt.AddDate(-20*(i+1), 0, 0)
		r.PublishedAt = r.PublishedAt.AddDate(50-20*i, 0, 0)
		testkit.OK(t, w.target.save(r))
	}
	testkit.Equal(t, len(testkit.Must(w.target.list())(t)), 2, "releases")
	w.rollback("")
	testkit.Equal(t, w.shows(), "a: 2")
}
