//go:build unix

package audit_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
)

func open(t testing.TB, path string) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), audit.Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func add(t testing.TB, l *audit.Log, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := l.Append(t.Context(), audit.Record{Event: audit.Allowed, ID: id}); err != nil {
			t.Fatal(err)
		}
	}
}

// written is a file with these records, whose writer has ended.
func written(t testing.TB, ids ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	add(t, l, ids...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func linesOf(t testing.TB, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(content), "\n"), "\n")
}

func verify(t testing.TB, files ...string) *audit.Report {
	t.Helper()
	r, err := audit.Verify("", files...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// whole fails where the files have faults, or another number of records.
func whole(t testing.TB, records int, files ...string) *audit.Report {
	t.Helper()
	r := verify(t, files...)
	if len(r.Faults) > 0 || r.Records != records {
		t.Fatalf("%d records and faults %v, want %d and none", r.Records, r.Faults, records)
	}
	return r
}

// TestRecordIsInTheFileBeforeAppendReturns is for the promise that no token leaves before.
func TestRecordIsInTheFileBeforeAppendReturns(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	for i := range 3 {
		id := fmt.Sprintf("request-%d", i)
		add(t, l, id)
		content, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(content), `"id":"`+id+`"`) {
			t.Fatalf("%v; the file has no record of %s: %s", err, id, content)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, mode %v; want 0600", err, info.Mode())
	}
	whole(t, 3, path)
}

func TestManyAppendAtOnceAndEachHasOneRecord(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() { add(t, l, fmt.Sprintf("<%d>", i)) })
	}
	group.Wait()
	whole(t, 200, path)
	content := strings.Join(linesOf(t, path), "")
	for i := range 200 {
		if n := strings.Count(content, fmt.Sprintf("<%d>", i)); n != 1 {
			t.Errorf("request %d has %d records", i, n)
		}
	}
}

// TestHashedTokenIsAsGitHubShowsIt compares with a value made by
// printf %s ghs_example | openssl dgst -sha256 -binary | base64.
func TestHashedTokenIsAsGitHubShowsIt(t *testing.T) {
	t.Parallel()
	const want = "UMaRjVoedd29MJgtcZ6b6jIFPLlG7OzD84ZhFi+79Cc="
	if got := audit.HashToken(secret.New("ghs_example")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOnlyListedClaimsAreKeptAndCutShort(t *testing.T) {
	t.Parallel()
	got := audit.Claims(map[string]any{
		"repository": "acme/site", "run": 7.0, "email": "person@example.com", "long": strings.Repeat("é", 4000),
		"odd": "a\u202eb\x1b[2J",
	}, []string{"repository", "run", "long", "odd", "absent"})
	if len(got) != 4 || got["repository"] != "acme/site" || got["run"] != "7" || len(got["long"]) > 512 {
		t.Errorf("%v", got)
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := open(t, path).Append(t.Context(), audit.Record{Claims: got}); err != nil {
		t.Fatal(err)
	}
	if line := linesOf(t, path)[0]; strings.ContainsAny(line, "\x1b\u202e") {
		t.Errorf("a terminal obeys %q", line)
	}
}

func TestWhatWasDoneToTheAuditIsFound(t *testing.T) {
	t.Parallel()
	forge := func(line string) string { // with a hash of its own that is right
		body := strings.Replace(line, `"id":"c"`, `"id":"C"`, 1)
		body = body[:strings.Index(body, `","hash":"`)]
		sum := sha256.Sum256([]byte(body))
		return body + `","hash":"` + hex.EncodeToString(sum[:]) + "\"}\n"
	}
	for _, test := range []struct {
		name string
		do   func(l []string) []string
		want string // in the first fault
		line int
	}{
		{"Changed", func(l []string) []string { l[2] = strings.Replace(l[2], `"c"`, `"x"`, 1); return l }, "no record", 3},
		{"ChangedWithAHashOfItsOwn", func(l []string) []string { l[2] = forge(l[2]); return l }, "does not follow", 4},
		{"Removed", func(l []string) []string { return append(l[:2], l[3:]...) }, "missing: record 3", 3},
		{"TwoRemoved", func(l []string) []string { return append(l[:1], l[3:]...) }, "missing: records 2 to 3", 2},
		{"Reordered", func(l []string) []string { l[1], l[2] = l[2], l[1]; return l }, "missing: record 2", 2},
		{"CutInALine", func(l []string) []string { l[2] = l[2][:40] + "\n"; return l }, "no record", 3},
		{"LastRemoved", func(l []string) []string { return l[:4] }, "missing at the end: record 5", 4},
		{"LastCut", func(l []string) []string { l[4] = l[4][:50]; return l }, "missing at the end: record 5", 5},
		{"Added", func(l []string) []string { return append(l, "{}\n") }, "no record", 6},
		{"EndAnother", func(l []string) []string {
			l[4] = forge(strings.Replace(l[4], `"e"`, `"c"`, 1))
			return l
		}, "another than", 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := written(t, "a", "b", "c", "d", "e")
			whole(t, 5, path)
			lines := linesOf(t, path)
			lines[4] += "\n"
			if err := os.WriteFile(path, []byte(strings.Join(test.do(lines), "")), 0o600); err != nil {
				t.Fatal(err)
			}
			r := verify(t, path)
			if len(r.Faults) == 0 || !strings.Contains(r.Faults[0].What, test.want) || r.Faults[0].Line != test.line {
				t.Errorf("faults %v, want %q at line %d", r.Faults, test.want, test.line)
			}
		})
	}
}

// TestAnyByteThatIsAnotherIsFound changes each byte of a file by one bit.
func TestAnyByteThatIsAnotherIsFound(t *testing.T) {
	t.Parallel()
	path := written(t, "a", "b", "c")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range content {
		changed := bytes.Clone(content)
		changed[i] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, path); len(r.Faults) == 0 {
			t.Fatalf("byte %d, %q for %q, is not found", i, changed[i], content[i])
		}
	}
}

func TestRemovedBeginningIsFoundByAHashThatWasNoted(t *testing.T) {
	t.Parallel()
	path := written(t, "a", "b", "c")
	lines := linesOf(t, path)
	noted := lines[0][len(lines[0])-len("\"}\n")-64 : len(lines[0])-len("\"}\n")]
	if r, err := audit.Verify(noted, path); err != nil || len(r.Faults) > 0 {
		t.Fatalf("%v, faults %v", err, r.Faults)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines[1:], "")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, path); len(r.Notes) == 0 || !strings.Contains(r.Notes[0].What, "begins with record 2") {
		t.Errorf("notes %v", r.Notes)
	}
	if r, err := audit.Verify(noted, path); err != nil || len(r.Faults) != 1 {
		t.Errorf("%v, faults %v; want one", err, r.Faults)
	}
}

// TestHalfARecordAfterALossOfPowerIsContinued cuts the file where the machine may have, with
// what the head file then says.
func TestHalfARecordAfterALossOfPowerIsContinued(t *testing.T) {
	t.Parallel()
	path := written(t, "a", "b")
	head, err := os.ReadFile(path + ".head")
	if err != nil {
		t.Fatal(err)
	}
	add(t, open(t, path), "c")
	full, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	third := bytes.LastIndexByte(bytes.TrimSuffix(full, []byte("\n")), '\n') + 1
	for _, test := range []struct {
		name    string
		tail    []byte
		records int // after one more
		torn    bool
	}{
		{"Nothing", nil, 3, false},
		{"Half", full[third : third+50], 4, true},
		{"AllButTheEndOfTheLine", full[third : len(full)-1], 4, false},
		{"Zeros", make([]byte, 4096), 4, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			if err := errors.Join(os.WriteFile(path, append(bytes.Clone(full[:third]), test.tail...), 0o600),
				os.WriteFile(path+".head", head, 0o600)); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, path); len(r.Faults) > 0 || test.torn && len(r.Notes) != 1 {
				t.Errorf("before the next start: faults %v, notes %v", r.Faults, r.Notes)
			}
			l := open(t, path)
			add(t, l, "d")
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			r := whole(t, test.records, path)
			if test.torn != (len(r.Notes) == 1) || test.torn && !strings.Contains(r.Notes[0].What, "cut short") {
				t.Errorf("notes %v", r.Notes)
			}
		})
	}
}

func TestFirstRecordCutShortIsContinued(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(`{"time":"2026`), 0o600); err != nil {
		t.Fatal(err)
	}
	add(t, open(t, path), "a")
	whole(t, 2, path)
}

func TestChainGoesOnOverRotationAndRestart(t *testing.T) {
	t.Parallel()
	path := written(t, "a", "b")
	l := open(t, path)
	add(t, l, "c")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	add(t, l, "d") // logrotate has not told yet
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	add(t, l, "e")
	if err := errors.Join(l.Close(), os.Rename(path, path+".2")); err != nil {
		t.Fatal(err)
	}
	add(t, open(t, path), "f") // with nothing in the file but what the head file says
	whole(t, 6, path+".1", path+".2", path)
	if r := verify(t, path+".1", path); len(r.Faults) != 1 {
		t.Errorf("without the file between: faults %v", r.Faults)
	}
}

func TestFileThatIsNotOursAloneIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.WriteFile(path("target"), nil, 0o600), os.Symlink(path("target"), path("link")),
		os.WriteFile(path("wide"), nil, 0o600), os.Chmod(path("wide"), 0o640),
		os.WriteFile(path("foreign"), []byte("Nov 30 sshd: hello\nand more\n"), 0o600),
		os.Mkdir(path("open"), 0o777), os.Chmod(path("open"), 0o777),
		syscall.Mkfifo(path("fifo"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "wide", "foreign", "open/audit.jsonl", "fifo", "absent/audit.jsonl"} {
		if l, err := audit.Open(t.Context(), audit.Options{File: path(name)}); err == nil {
			t.Errorf("%s is taken", name)
			_ = l.Close()
		}
	}
	if content, err := os.ReadFile(path("foreign")); err != nil || !strings.HasSuffix(string(content), "more\n") {
		t.Errorf("%v; another's file is %q", err, content)
	}
}

func TestFileHasOneWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	_, err := audit.Open(t.Context(), audit.Options{File: path})
	if _, ok := errors.AsType[*fault.SettingError](err); !ok {
		t.Errorf("a second writer: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), audit.Record{}); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	add(t, open(t, path), "a")
}

func TestPlaceOfTheAuditIsNamedOnce(t *testing.T) {
	t.Parallel()
	for _, o := range []audit.Options{
		{}, {File: "/x", Syslog: "local"}, {Syslog: "udp://host:1"}, {Syslog: "tcp://host"},
		{Receiver: &audit.Receiver{URL: "http://example.com/"}}, {Receiver: &audit.Receiver{URL: "https://u:p@example.com/"}},
	} {
		_, err := audit.Open(t.Context(), o)
		if _, ok := errors.AsType[*fault.SettingError](err); !ok {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestDiskThatIsFullRefusesAndLosesNothing writes to a file system of 64 KiB.
func TestDiskThatIsFullRefusesAndLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := mountSmall(dir); err != nil {
		t.Skip("no file system can be mounted here:", err)
	}
	t.Cleanup(func() { unmount(dir) })
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, path)
	record := audit.Record{Event: audit.Allowed, Claims: map[string]string{"c": strings.Repeat("x", 3000)}}
	kept := 0
	for l.Append(t.Context(), record) == nil {
		if kept++; kept > 1000 {
			t.Fatal("the disk is never full")
		}
	}
	if l.Status().Err == nil {
		t.Error("the status tells nothing of it")
	}
	whole(t, kept, path)
	if content, err := os.ReadFile(path); err != nil || !bytes.HasSuffix(content, []byte("\n")) {
		t.Errorf("%v; a part of a record stays behind", err)
	}
	if err := os.Truncate(path, 0); err != nil { // as logrotate's copytruncate does
		t.Fatal(err)
	}
	add(t, l, "a")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// What was refused had its place, and has it now; then comes what was taken.
	if r := whole(t, 2, path); len(r.Notes) == 0 {
		t.Error("nothing says that the chain begins elsewhere")
	}
}

func TestAuditThatGrowsMeanwhileIsWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	add(t, l, "first")
	var group sync.WaitGroup
	group.Go(func() {
		for range 300 {
			add(t, l, "next")
		}
	})
	for range 30 {
		if r := verify(t, path); len(r.Faults) > 0 {
			t.Errorf("faults %v", r.Faults)
		}
	}
	group.Wait()
}

// receiver counts what it is sent, and loses what it is told to.
type receiver struct {
	*httptest.Server
	lose atomic.Int32 // answers that are lost, after the records were taken

	mu   sync.Mutex
	got  bytes.Buffer
	auth string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.auth = req.Header.Get("Authorization")
		io.Copy(&r.got, req.Body)
		if r.lose.Add(-1) >= 0 {
			http.Error(w, "down\x1b[2J", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func TestReceiverWhoseAnswerIsLostIsSentTheSameAgain(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	to := &audit.Receiver{URL: r.URL, Bearer: secret.New("canary-bearer")}
	l, err := audit.Open(t.Context(), audit.Options{Receiver: to})
	if err != nil {
		t.Fatal(err)
	}
	add(t, l, "a")
	r.lose.Store(2)
	for _, id := range []string{"b", "c"} {
		err := l.Append(t.Context(), audit.Record{ID: id})
		if err == nil || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("without an acknowledgement: %v", err)
		}
	}
	add(t, l, "d")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "received.jsonl")
	if err := os.WriteFile(path, r.got.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	// a, b three times, d. What c was to tell was refused before it had a place.
	if got := whole(t, 5, path); len(got.Notes) != 3 || strings.Contains(r.got.String(), `"c"`) {
		t.Errorf("notes %v of %s", got.Notes, &r.got)
	}
	if r.auth != "Bearer canary-bearer" || strings.Contains(r.got.String(), "canary") {
		t.Errorf("the receiver is shown %q", r.auth)
	}
}

func TestReceiverThatRedirectsIsNotFollowed(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	from := httptest.NewServer(http.RedirectHandler(r.URL, http.StatusTemporaryRedirect))
	defer from.Close()
	l, err := audit.Open(t.Context(), audit.Options{Receiver: &audit.Receiver{URL: from.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), audit.Record{ID: "a"}); err == nil || r.got.Len() > 0 {
		t.Errorf("%v, and elsewhere is %s", err, &r.got)
	}
	_ = l.Close()
}

func TestSyslogTakesMessagesOfRFC5424(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	socket, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for to, receive := range map[string]func() string{
		"unix:" + path: func() string {
			buffer := make([]byte, 64<<10)
			n, _, _ := socket.ReadFrom(buffer)
			return string(buffer[:n])
		},
		"tcp://" + server.Addr().String(): func() string {
			conn, err := server.Accept()
			if err != nil {
				return err.Error()
			}
			defer conn.Close()
			reader := bufio.NewReader(conn)
			word, _ := reader.ReadString(' ')
			length, err := strconv.Atoi(strings.TrimSuffix(word, " "))
			if err != nil {
				return err.Error()
			}
			buffer := make([]byte, length)
			n, _ := io.ReadFull(reader, buffer)
			return string(buffer[:n])
		},
	} {
		l, err := audit.Open(t.Context(), audit.Options{Syslog: to})
		if err != nil {
			t.Fatal(err)
		}
		add(t, l, "a")
		message := receive()
		heading, body, _ := strings.Cut(message, " - {")
		if !strings.HasPrefix(heading, "<110>1 ") || !strings.Contains(heading, " ghapp-server ") ||
			!json.Valid([]byte("{"+body)) {
			t.Errorf("%s: %q", to, message)
		}
		if strings.HasPrefix(to, "tcp") {
			// The other end has closed: what comes next is not written into the void.
			next := make(chan string, 1)
			go func() { next <- receive() }()
			add(t, l, "b")
			if message := <-next; !strings.Contains(message, `"id":"b"`) {
				t.Errorf("after a new connection: %q", message)
			}
			server.Close()
			if err := l.Append(t.Context(), audit.Record{}); err == nil {
				t.Error("no syslog is there, and a record is kept")
			}
		}
		_ = l.Close()
	}
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, filepath.Join(b.TempDir(), "audit.jsonl"))
	r := audit.Record{
		Event: audit.HandedOut, ID: "0123456789abcdef", Issuer: "https://token.actions.githubusercontent.com",
		Subject: "repo:acme/site:ref:refs/heads/main", Rule: "site", HashedToken: audit.HashToken(secret.New("ghs_x")),
		Granted: &audit.Scope{Repositories: []string{"acme/site"}, Permissions: map[string]string{"contents": "read"}},
	}
	b.SetParallelism(128)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Append(b.Context(), r); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func FuzzVerify(f *testing.F) {
	path := written(f, "a", "b")
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte("{}\n\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		r := verify(t, path)
		if bytes.HasPrefix(content, text) || bytes.Equal(text, content) {
			return
		}
		first := content[:bytes.IndexByte(content, '\n')+1]
		if r.Records > 0 && !bytes.HasPrefix(text, first) && len(r.Faults)+len(r.Notes) == 0 {
			t.Errorf("%q is taken for an audit", text)
		}
	})
}
