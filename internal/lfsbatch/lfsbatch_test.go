package lfsbatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// api answers a batch request by what answer says of each file.
type api struct {
	asked  []int // how many, of each question
	answer func(id string, size int64) map[string]any
	raw    string // in the place of that
}

// LFSBatch implements [API].
func (a *api) LFSBatch(_ context.Context, _ ghapp.RepositoryName, asked []byte) ([]byte, error) {
	var question struct{ Objects []object }
	if err := json.Unmarshal(asked, &question); err != nil {
		return nil, err
	}
	a.asked = append(a.asked, len(question.Objects))
	if a.raw != "" {
		return []byte(a.raw), nil
	}
	var list []any
	for _, o := range question.Objects {
		list = append(list, a.answer(o.ID, o.Size))
	}
	return json.Marshal(map[string]any{"objects": list})
}

func pointer(content string) lfsstore.Pointer {
	sum := sha256.Sum256([]byte(content))
	return lfsstore.Pointer{ID: hex.EncodeToString(sum[:]), Size: int64(len(content))}
}

// newFetcher fetches from a server that gives contents by their IDs.
func newFetcher(t testing.TB, serve http.HandlerFunc) (*Fetcher, *api) {
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	a := &api{}
	a.answer = func(id string, size int64) map[string]any {
		return map[string]any{"oid": id, "size": size,
			"actions": map[string]any{"download": map[string]any{"href": server.URL + "/" + id}}}
	}
	dir := t.TempDir()
	return &Fetcher{
		API: a, Origin: "http://localhost", Transport: http.DefaultTransport, Store: lfsstore.Of(dir),
		Incoming: filepath.Join(dir, "incoming"), Pause: time.Millisecond,
	}, a
}

func TestFilesComeAHundredAtATime(t *testing.T) {
	contents := map[string]string{}
	var want []lfsstore.Pointer
	for n := range 250 {
		text := fmt.Sprintf("file %d", n)
		contents["/"+pointer(text).ID] = text
		want = append(want, pointer(text))
	}
	want = append(want, lfsstore.Pointer{ID: want[0].ID, Size: 3}) // whose size is another
	f, a := newFetcher(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, contents[r.URL.Path]) })
	result := testkit.Must(f.Fetch(t.Context(), ghapp.RepositoryName{}, want))(t)
	testkit.Equal(t, result.Files, 250)
	testkit.Equal(t, len(result.Failed), 1)
	testkit.Equal(t, len(a.asked) <= 5, true, "%v", a.asked)
	for _, p := range want[:250] {
		testkit.OK(t, f.Store.Check(p.ID))
	}
	if _, err := os.Lstat(f.Incoming); err == nil {
		t.Error("the directory of what is not whole is left")
	}
}

// What may pass is tried again, and what will not is not.
func TestOnlyWhatMayPassIsTriedAgain(t *testing.T) {
	for status, tries := range map[int]int{500: 3, 503: 3, 403: 3, 404: 1, 410: 3, 204: 1, 206: 1} {
		var n atomic.Int64
		f, _ := newFetcher(t, func(w http.ResponseWriter, _ *http.Request) { n.Add(1); w.WriteHeader(status) })
		result := testkit.Must(f.Fetch(t.Context(), ghapp.RepositoryName{}, []lfsstore.Pointer{pointer("x")}))(t)
		testkit.Equal(t, int(n.Load()), tries, "%d", status)
		testkit.Equal(t, len(result.Failed), 1)
	}
}

func TestASilentServerIsNotWaitedFor(t *testing.T) {
	f, _ := newFetcher(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "fi")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	f.Stall = 20 * time.Millisecond
	result := testkit.Must(f.Fetch(t.Context(), ghapp.RepositoryName{}, []lfsstore.Pointer{pointer("file")}))(t)
	testkit.Contains(t, result.Failed[0].Err.Error(), "nothing has come for 20ms")
}

func TestNothingIsFetchedThatThereIsNoRoomFor(t *testing.T) {
	f, _ := newFetcher(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked for") })
	f.Room = func() int64 { return 3 }
	_, err := f.Fetch(t.Context(), ghapp.RepositoryName{}, []lfsstore.Pointer{pointer("file")})
	if e, ok := errors.AsType[*RoomError](err); !ok || e.Room != 3 {
		t.Errorf("%v", err)
	}
}

// An answer of the API leads to no place that it must not lead to, and nobody sees what stands in it.
func TestAnswersThatAreNotBelieved(t *testing.T) {
	p := pointer("file")
	ask := func(object string) string {
		return `{"objects":[` + strings.NewReplacer("ID", p.ID).Replace(object) + `]}`
	}
	for raw, why := range map[string]string{
		ask(``):                                     "says nothing of it",
		ask(`{"oid":"ID","size":5}`):                "has it with 5 bytes",
		ask(`{"oid":"ID","size":4}`):                "says not where it is",
		ask(`{"oid":"ID","size":4,"actions":null}`): "says not where it is",
		ask(`{"oid":"ID","size":4,"error":{"code":410,"message":"gone\u001b[2Jaway"}}`):            "says 410: gone",
		ask(`{"oid":"ID","size":4,"actions":{"download":{"href":"http://x.invalid/?s3cret"}}}`):    "leads to x.invalid without TLS",
		ask(`{"oid":"ID","size":4,"actions":{"download":{"href":"https://u:s3cret@x.invalid/"}}}`): "has a user in it",
		ask(`{"oid":"ID","size":4,"actions":{"download":{"href":"file:///s3cret"}}}`):              "cannot be read",
		ask(`{"oid":"ID","size":4,"actions":{"download":{"href":"/s3cret"}}}`):                     "cannot be read",
		ask(`{"oid":"ID","size":4,"actions":{"download":{"href":""}}}`):                            "cannot be read",
	} {
		f, a := newFetcher(t, nil)
		f.Origin, a.raw = "https://github.com", raw
		result := testkit.Must(f.Fetch(t.Context(), ghapp.RepositoryName{}, []lfsstore.Pointer{p}))(t)
		testkit.Equal(t, len(result.Failed), 1, "%s", raw)
		got := result.Failed[0].Err.Error()
		testkit.Contains(t, got, why)
		if strings.Contains(got, "s3cret") || strings.Contains(got, "\x1b") {
			t.Errorf("%q", got)
		}
	}
	for _, raw := range []string{"x", `{"transfer":"tus"}`, `{"hash_algo":"md5"}`} {
		f, a := newFetcher(t, nil)
		a.raw = raw
		err := testkit.ErrorOf(f.Fetch(t.Context(), ghapp.RepositoryName{}, []lfsstore.Pointer{p}))
		testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrUnreachable, "%s", raw)
	}
}
