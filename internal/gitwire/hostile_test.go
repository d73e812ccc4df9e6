package gitwire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

var wanted = gitwire.Request{Wants: []string{oid1}, MaxBytes: 100}

// What only git may understand is left to git, and nothing of it is taken for a pack.
func TestAFetchThatIsNotUnderstoodIsLeftToGit(t *testing.T) {
	pack := packAnswer(band(1, "PACK"))
	for name, text := range map[string]string{
		"nothing":                      "",
		"an end":                       "0000",
		"no packet":                    "PACK",
		"a pack alone":                 line1("PACK\x00\x00\x00\x02"),
		"acknowledgments":              line1("acknowledgments\n") + line1("ready\n") + "0001" + pack,
		"a shallow server":             line1("shallow-info\n") + line1("shallow "+oid1) + "0001" + pack,
		"refs":                         line1("wanted-refs\n") + line1(oid1+" refs/heads/main\n") + "0001" + pack,
		"another place":                line1("packfile-uris\n") + line1(oid1+" https://evil.example/\n") + "0001" + pack,
		"a section to come":            line1("colours\n") + pack,
		"protocol 0":                   line1("NAK\n") + band(1, "PACK") + "0000",
		"an error":                     line1("ERR upload-pack: protocol error\n"),
		"cut in the section":           "000dpack",
		"a section no one knows, long": line1(strings.Repeat("\x1b[31m", 10000)),
	} {
		var got bytes.Buffer
		n, err := answering(text).Fetch(t.Context(), site, wanted, &got)
		if !errors.Is(err, gitwire.ErrUnsupported) || n != 0 || got.Len() != 0 || len(err.Error()) > 700 ||
			strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %d, %v; got %q", name, n, err, &got)
		}
	}
}

// Where its history ends is not for the server to say.
func TestATipWhoseHistoryEndsElsewhereIsLeftToGit(t *testing.T) {
	tip := wanted
	tip.Tip = true
	pack := packAnswer(band(1, "PACK"))
	info := func(lines ...string) string {
		return line1("shallow-info\n") + strings.Join(lines, "") + "0001" + pack
	}
	ends := line1("shallow " + oid1 + "\n")
	for _, text := range []string{pack, info(), info(ends)} {
		testkit.Must(answering(text).Fetch(t.Context(), site, tip, io.Discard))(t)
	}
	for _, text := range []string{
		info(line1("shallow " + oid2 + "\n")), info(line1("unshallow " + oid1 + "\n")), info(ends, ends, ends),
		info(line1("x")), info("0000"), line1("shallow-info\n") + "0001" + line1("shallow-info\n") + "0001" + pack,
		line1("shallow-info\n") + ends, line1("shallow-info\n") + ends + pack,
	} {
		n, err := answering(text).Fetch(t.Context(), site, tip, io.Discard)
		if !errors.Is(err, gitwire.ErrUnsupported) || n != 0 {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}

// Whoever knows where the repository is follows nobody to another, and tells nobody there its token.
func TestAFetchThatStaysIsNotLedAway(t *testing.T) {
	var asked []string
	leads := testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Path)
		if strings.HasPrefix(r.URL.Path, "/acme/site.git/") {
			return answer(http.StatusMovedPermanently, "", "Location", "/acme/other.git/git-upload-pack"), nil
		}
		return answer(200, packAnswer(band(1, "PACK"))), nil
	})
	s := &gitwire.Service{Origin: "https://github.com", Transport: leads}
	stays := wanted
	testkit.Must(s.Fetch(t.Context(), site, stays, io.Discard))(t)
	testkit.Equal(t, len(asked), 2, "requests")
	asked, stays.Stays = nil, true
	_, err := s.Fetch(t.Context(), site, stays, io.Discard)
	testkit.ErrorIs(t, err, gitwire.ErrUnsupported)
	testkit.Equal(t, len(asked), 1, "requests")
}

func TestAFetchThatBreaksSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		text, says string
		bytes      int64
	}{
		"no end":               {line1("packfile\n") + band(1, "PACK"), "it ends before its end", 4},
		"cut in a line":        {line1("packfile\n") + band(1, "PACK") + "0040\x01PA", "it ends within a line", 4},
		"cut in a length":      {line1("packfile\n") + "00", "within the length", 0},
		"more after the end":   {packAnswer(band(1, "PACK")) + "0000", "goes on after its end", 4},
		"a delimiter":          {line1("packfile\n") + "0001", "of no sideband", 0},
		"a line without band":  {packAnswer("0004"), "of no sideband", 0},
		"sideband 4":           {packAnswer(band(4, "x")), "of sideband 4", 0},
		"too long a line":      {line1("packfile\n") + "fff1\x01", "65521 bytes long", 0},
		"no length":            {line1("packfile\n") + band(1, "PACK") + "PACK", `"PACK" is not the length`, 4},
		"an error":             {packAnswer(band(1, "PACK"), band(3, "out of\x1b[31m memory\nsecond")), `the server says: out of\x1b[31m memory`, 4},
		"an error of protocol": {packAnswer(band(1, "PACK"), line1("ERR no")), "of sideband 69", 4},
		"gone":                 {line1("ERR upload-pack: not our ref " + oid1 + "\n"), "not our ref", 0},
		"gone later":           {packAnswer(band(3, "upload-pack: not our ref "+oid1)), "not our ref", 0},
	} {
		var got bytes.Buffer
		n, err := answering(test.text).Fetch(t.Context(), site, wanted, &got)
		if ghapp.KindOf(err) != ghapp.ErrUnreachable || errors.Is(err, gitwire.ErrUnsupported) || n != test.bytes ||
			int64(got.Len()) != n || !strings.Contains(err.Error(), test.says) ||
			strings.HasPrefix(name, "gone") != errors.Is(err, gitwire.ErrNotOurRef) {
			t.Errorf("%s: %d, %v; got %q", name, n, err, &got)
		}
	}
}

// endless is a body that begins and then repeats itself for so many bytes.
func endless(begin, again string, size int64) io.ReadCloser {
	return io.NopCloser(io.MultiReader(strings.NewReader(begin), io.LimitReader(repeating(again), size),
		strings.NewReader("0000")))
}

func repeating(text string) io.Reader {
	text = strings.Repeat(text, 1+(64<<10)/len(text))
	return &loop{text: text}
}

type loop struct {
	text string
	at   int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.text[l.at:])
	l.at = (l.at + n) % len(l.text)
	return n, nil
}

// fetchOf is a Service whose answer has that body.
func fetchOf(body func() io.ReadCloser) *gitwire.Service {
	return &gitwire.Service{Origin: "https://github.com",
		Transport: testkit.RoundTrip(func(*http.Request) (*http.Response, error) {
			a := answer(200, "")
			a.Body = body()
			return a, nil
		})}
}

// allocated is how many bytes f takes of memory, all in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestTheMemoryOfAFetchDoesNotGrowWithThePack(t *testing.T) {
	line := band(1, strings.Repeat("x", 65515))
	size := int64(len(line)) * 5000
	used := allocated(func() {
		n := testkit.Must(fetchOf(func() io.ReadCloser { return endless(line1("packfile\n"), line, size) }).Fetch(
			t.Context(), site, gitwire.Request{Wants: []string{oid1}}, io.Discard))(t)
		testkit.Equal(t, n, 65515*5000)
	})
	if used > 1<<20 {
		t.Errorf("%d bytes for a pack of %d", used, size)
	}
}

func TestWhatDoesNotEndIsEnded(t *testing.T) {
	for name, test := range map[string]struct {
		again, says string
	}{
		"pack":            {band(1, strings.Repeat("x", 1000)), "more than 100000 bytes of a pack"},
		"progress":        {band(2, strings.Repeat("x", 60000)), "more of its progress"},
		"lines":           {band(2, strings.Repeat("x\r", 30000)), "more of its progress"},
		"signs of life":   {band(1, ""), "nothing of the pack has come for 60ms"},
		"short progress":  {band(2, "\r"), "nothing of the pack has come for 60ms"},
		"empty sidebands": {band(3, ""), "the server says"},
	} {
		t.Run(name, func(t *testing.T) {
			told, stall := 0, time.Millisecond
			if name == "lines" || name == "progress" {
				stall = time.Minute
			}
			used := allocated(func() {
				s := fetchOf(func() io.ReadCloser { return endless(line1("packfile\n"), test.again, 1<<60) })
				n, err := s.Fetch(t.Context(), site, gitwire.Request{Wants: []string{oid1}, MaxBytes: 100_000,
					Stall: stall, Progress: func(string) { told++ }}, io.Discard)
				testkit.ErrorContains(t, err, test.says)
				if n > 100_000 {
					t.Errorf("%d bytes", n)
				}
				_, tooLarge := errors.AsType[*gitwire.TooLargeError](err)
				testkit.Equal(t, tooLarge, name == "pack", "%v", err)
			})
			if used > 1<<20 && name != "lines" || used > 64<<20 {
				t.Errorf("%d bytes of memory", used)
			}
		})
	}
}

func TestAPackUpToItsBoundIsTaken(t *testing.T) {
	s := answering(packAnswer(band(1, strings.Repeat("x", 60)), band(1, strings.Repeat("x", 40))))
	testkit.Equal(t, testkit.Must(s.Fetch(t.Context(), site, wanted, io.Discard))(t), 100)
	s = answering(packAnswer(band(1, strings.Repeat("x", 60)), band(1, strings.Repeat("x", 41))))
	n, err := s.Fetch(t.Context(), site, wanted, io.Discard)
	testkit.ErrorAs[*gitwire.TooLargeError](t, err)
	testkit.Equal(t, n, 60)
}

func TestAServerThatFallsSilentIsLeft(t *testing.T) {
	for name, sent := range map[string]string{
		"before the answer": "", "in the section": "0010pack", "in the pack": line1("packfile\n") + band(1, "PACK"),
		"in a line": line1("packfile\n") + "0100\x01PACK", "after the end": packAnswer(band(1, "PACK")),
	} {
		t.Run(name, func(t *testing.T) {
			released := make(chan struct{})
			s, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if sent != "" {
					w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
					_, _ = io.WriteString(w, sent)
					_ = http.NewResponseController(w).Flush()
				}
				<-released
			}))
			t.Cleanup(func() { close(released) })
			request := wanted
			request.Stall = 50 * time.Millisecond
			_, err := s.Fetch(t.Context(), site, request, io.Discard)
			testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrUnreachable, "%v", err)
			testkit.ErrorContains(t, err, "nothing has come for 50ms")
		})
	}
}

// A disk that is slow is not the server's silence.
func TestASlowWriterIsNoSilence(t *testing.T) {
	o := newOrigin(t)
	o.commit(t, "refs/heads/main", random(300<<10))
	s, _ := o.service(t)
	refs := testkit.Must(s.Refs(t.Context(), site))(t)
	var slow sync.Once
	n := testkit.Must(s.Fetch(t.Context(), site, gitwire.Request{Wants: ids(refs), Stall: time.Second},
		writerFunc(func(p []byte) (int, error) {
			slow.Do(func() { time.Sleep(1200 * time.Millisecond) })
			return len(p), nil
		})))(t)
	if n < 200<<10 {
		t.Error(n)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestAnErrorOfTheWriterIsReturnedAsItIs(t *testing.T) {
	full := errors.New("the disk is full")
	s := answering(packAnswer(band(1, "PACK")))
	_, err := s.Fetch(t.Context(), site, wanted, writerFunc(func([]byte) (int, error) { return 0, full }))
	if err != full {
		t.Error(err)
	}
}

func TestAFetchThatIsToldToEndEnds(t *testing.T) {
	s, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		_, _ = io.WriteString(w, line1("packfile\n")+band(1, "PACK"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := s.Fetch(ctx, site, wanted, writerFunc(func(p []byte) (int, error) {
		cancel(errors.New("the service stops"))
		return len(p), nil
	}))
	testkit.ErrorIs(t, err, context.Canceled)
	testkit.ErrorContains(t, err, "the service stops")
}

func TestAServiceOfProtocol0IsListedAndNotFetchedFrom(t *testing.T) {
	o := newOrigin(t)
	commit := o.commit(t, "refs/heads/main", "a")
	o.git(t, "", "tag", "-a", "-m", "x", "v1", commit)
	service := testkit.GitBackend(t, o.root)
	s, requests := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Git-Protocol")
		service.ServeHTTP(w, r)
	}))
	_, err := s.Fetch(t.Context(), site, gitwire.Request{Wants: []string{commit}}, io.Discard)
	testkit.ErrorIs(t, err, gitwire.ErrUnsupported) // it was not known yet
	refs := testkit.Must(s.Refs(t.Context(), site))(t)
	if len(refs.List) != 2 || refs.Head != "refs/heads/main" || refs.HeadID != commit || refs.List[1].Peeled != commit {
		t.Errorf("%+v", refs)
	}
	requests.requests.Store(0)
	_, err = s.Fetch(t.Context(), site, gitwire.Request{Wants: ids(refs)}, io.Discard)
	testkit.ErrorIs(t, err, gitwire.ErrUnsupported)
	testkit.Equal(t, requests.requests.Load(), 0, "requests")
}

func TestAShallowRepositoryIsLeftToGit(t *testing.T) {
	o := newOrigin(t)
	o.commit(t, "refs/heads/main", "b", o.commit(t, "refs/heads/main", "a"))
	shallow := &origin{root: t.TempDir()}
	shallow.dir = filepath.Join(shallow.root, "acme", "site.git")
	testkit.OK(t, os.MkdirAll(filepath.Dir(shallow.dir), 0o700))
	git(t, ".", nil, "clone", "--quiet", "--bare", "--depth", "1", "file://"+o.dir, shallow.dir)
	s, _ := shallow.service(t)
	refs := testkit.Must(s.Refs(t.Context(), site))(t)
	_, err := s.Fetch(t.Context(), site, gitwire.Request{Wants: ids(refs)}, io.Discard)
	testkit.ErrorIs(t, err, gitwire.ErrUnsupported)
	testkit.ErrorContains(t, err, "shallow-info")
}

// An address of ssh does not tell the port of https.
func TestTheRepositoryThatAnsweredCanBeAskedNext(t *testing.T) {
	s := answering(lines(oid1 + " refs/heads/main"))
	s.Origin = "https://ghe.test:8443"
	asked := testkit.Must(ghapp.ParseRepository("git@ghe.test:acme/site.git"))(t)
	refs := testkit.Must(s.Refs(t.Context(), asked))(t)
	testkit.Must(s.Refs(t.Context(), refs.Repository))(t)
}

func TestAnObjectThatIsGoneIsToldApart(t *testing.T) {
	o := newOrigin(t)
	o.commit(t, "refs/heads/main", "a")
	s, _ := o.service(t)
	_, err := s.Fetch(t.Context(), site, gitwire.Request{Wants: []string{oid1}}, io.Discard)
	testkit.ErrorIs(t, err, gitwire.ErrNotOurRef)
	testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrUnreachable)
}

func TestARevokedTokenIsReplacedBeforeAFetch(t *testing.T) {
	var asked []string
	s := answering("")
	s.Transport = testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
		_, password, _ := r.BasicAuth()
		if asked = append(asked, password); password != "ghs_two" {
			return answer(401, "Invalid username or token."), nil
		}
		return answer(200, packAnswer(band(1, "PACK"))), nil
	})
	s.Token, s.Drop = tokens(tokenOf("ghs_one", time.Minute), tokenOf("ghs_two", time.Minute))
	var got bytes.Buffer
	testkit.Must(s.Fetch(t.Context(), site, wanted, &got))(t)
	testkit.Equal(t, got.String(), "PACK")
	testkit.Equal(t, strings.Join(asked, " "), "ghs_one ghs_two")

	// And not a third time.
	asked = nil
	s.Token, s.Drop = tokens(tokenOf("ghs_one", time.Minute), tokenOf("ghs_three", time.Minute))
	_, err := s.Fetch(t.Context(), site, wanted, &got)
	testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrTokenRefused)
	testkit.Equal(t, strings.Join(asked, " "), "ghs_one ghs_three")
}

// What ends after the first byte of a pack is not begun again into the same writer.
func TestAPackIsWrittenOnce(t *testing.T) {
	var asked atomic.Int64
	s, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		w.Header().Set("Content-Length", "5000")
		_, _ = io.WriteString(w, line1("packfile\n")+band(1, "PACK"))
	}))
	s.Token, s.Drop = tokens(tokenOf("ghs_one", 0), tokenOf("ghs_two", time.Minute))
	var got bytes.Buffer
	_, err := s.Fetch(t.Context(), site, wanted, &got)
	testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrUnreachable, "%v", err)
	testkit.Equal(t, got.String(), "PACK")
	testkit.Equal(t, asked.Load(), 1, "requests")
}

func TestNoTokenOfAFetchGoesToAnotherHost(t *testing.T) {
	const canary = "ghs_canary0123456789abcdefghijklmnop"
	hostile := githubtest.NewRecorder()
	elsewhere := httptest.NewServer(hostile)
	t.Cleanup(elsewhere.Close)
	lure := githubtest.NewRecorder()
	lure.RedirectTo(elsewhere.URL)
	s, requests := serve(t, lure)
	s.Token, s.Drop = tokens(tokenOf(canary, time.Minute))
	_, err := s.Fetch(t.Context(), site, wanted, io.Discard)
	testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrWrongHost, "%v", err)
	testkit.Equal(t, requests.requests.Load(), 1, "requests")
	testkit.Equal(t, len(hostile.Requests()), 0, "the other host was asked")
	if len(lure.Leaks(canary)) == 0 {
		t.Error("its own host did not get the token: this test proves nothing")
	}
}

// A server that shows the request it was sent shows the token, wherever it may say something.
func TestTheTokenIsTakenOutOfWhatAServerSays(t *testing.T) {
	const canary = "ghs_canary0123456789abcdefghijklmnop"
	long := strings.Repeat("x", 480)
	for name, text := range map[string]string{
		"an error packet":    line1("ERR " + canary),
		"cut by its length":  line1("ERR " + long + canary),
		"a section":          line1(canary),
		"progress":           packAnswer(band(2, canary+"\n")),
		"long progress":      packAnswer(band(2, long+canary+"\n")),
		"an error of a band": packAnswer(band(3, long+canary)),
	} {
		s := answering(text)
		s.Token, s.Drop = tokens(tokenOf(canary, time.Minute))
		var told strings.Builder
		request := wanted
		request.Progress = func(line string) { told.WriteString(line) }
		_, err := s.Fetch(t.Context(), site, request, io.Discard)
		if said := fmt.Sprint(told.String(), err); strings.Contains(said, "ghs_can") {
			t.Errorf("%s: %q", name, said)
		}
	}
}

func TestALargeRequestIsCompressed(t *testing.T) {
	request := gitwire.Request{}
	for i := range 10_000 {
		request.Wants = append(request.Wants, fmt.Sprintf("%040x", i+1))
	}
	var sent int64
	s := answering("")
	s.Transport = testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
		testkit.Equal(t, r.Header.Get("Content-Encoding"), "gzip")
		sent = r.ContentLength
		return answer(200, packAnswer(band(1, "PACK"))), nil
	})
	testkit.Must(s.Fetch(t.Context(), site, request, io.Discard))(t)
	if sent <= 0 || sent > 250_000 {
		t.Errorf("%d bytes", sent)
	}
}

// What a token is for is compared where it is sent, whoever has brought it: that of an App of
// another host goes nowhere, and neither does the question.
func TestATokenOfAnotherHostIsNotSent(t *testing.T) {
	for name, test := range map[string]struct {
		origin, api, token string
		sent               bool
	}{
		"its own":             {origin: "https://github.com", token: "https://api.github.com", sent: true},
		"data residency":      {origin: "https://corp.ghe.com", token: "https://api.corp.ghe.com", sent: true},
		"a server of its own": {origin: "https://ghe.test", token: "https://ghe.test/api/v3", sent: true},
		"an API elsewhere": {origin: "https://ghe.test", api: "https://api.test/v3/",
			token: "https://api.test/v3", sent: true},
		"GitHub.com's for a server": {origin: "https://ghe.test", token: "https://api.github.com"},
		"a server's for GitHub.com": {origin: "https://github.com", token: "https://ghe.test/api/v3"},
		"another port":              {origin: "https://ghe.test:8443", token: "https://ghe.test/api/v3"},
		"the one before the API moved": {origin: "https://ghe.test", api: "https://api.test",
			token: "https://ghe.test/api/v3"},
		"nobody's": {origin: "https://github.com"},
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			s := &gitwire.Service{Origin: test.origin, API: test.api,
				Transport: testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
					requests++
					if _, password, _ := r.BasicAuth(); password != "ghs_canary" {
						t.Error("it is asked without the token")
					}
					return answer(200, lines(oid1+" HEAD")), nil
				})}
			token := tokenOf("ghs_canary", time.Minute)
			token.API = test.token
			s.Token, s.Drop = tokens(token)
			_, err := s.Refs(t.Context(), site)
			if test.sent {
				testkit.OK(t, err)
				return
			}
			testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrWrongHost, "%v", err)
			testkit.Lacks(t, err.Error(), "canary")
			testkit.Equal(t, requests, 0)
		})
	}
}
