//go:build unix

package identity_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// program writes a script, and returns its path.
func program(t *testing.T, dir, name, script string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	testkit.OK(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700)) //nolint:gosec // it is run
	return path
}

func TestProgramPrintsATokenForTheBroker(t *testing.T) {
	t.Parallel()
	dir, want := t.TempDir(), token(t, "s", whom)
	for _, script := range []string{
		"test \"$GHAPP_AUDIENCE\" = " + whom + " && test -z \"$GHAPP_PRIVATE_KEY\" && echo " + want,
		`echo '{"token":"` + want + `"}'`,
		`echo '{"id_token":"` + want + `","expires_in":3}'`,
	} {
		path := program(t, dir, "p", script)
		wantToken(t, "exec:"+path, identity.Options{Environ: []string{"GHAPP_PRIVATE_KEY=x", "PATH=" + os.Getenv("PATH")}})
	}
	for script, why := range map[string]string{
		"echo it is broken >&2; exit 3": "it is broken",
		"echo eyJcanary >&2; exit 3":    "exit status 3",
		"yes":                           "prints more than a token",
		"echo canary":                   "no JSON Web Token",
	} {
		path := program(t, dir, "broken", script)
		_, _, err := get(t, "exec:"+path, identity.Options{Environ: []string{"PATH=" + os.Getenv("PATH")}})
		testkit.ErrorContains(t, err, why)
		testkit.Lacks(t, err.Error(), "canary")
	}
	began := time.Now()
	path := program(t, dir, "slow", "sleep 30")
	_, _, err := get(t, "exec:"+path, identity.Options{Timeout: 100 * time.Millisecond})
	testkit.ErrorContains(t, err, "no token within 100ms")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s to give up", took)
	}
	_, _, err = get(t, "exec:/nonexistent/program", identity.Options{})
	testkit.ErrorContains(t, err, "no such file")
}

// The programs of Buildkite and of CircleCI are those that are on PATH.
func TestProgramsOfCIAreAskedAsDocumented(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	want := token(t, "s", whom)
	program(t, dir, "buildkite-agent", `test "$*" = "oidc request-token --audience `+whom+`" && echo `+want)
	program(t, dir, "circleci", `test "$*" = 'run oidc get --claims {"aud":"`+whom+`"}' && echo `+want)
	environ := []string{"PATH=" + os.Getenv("PATH")}
	wantToken(t, "buildkite", identity.Options{Environ: environ})
	wantToken(t, "circleci", identity.Options{Environ: environ})

	testkit.OK(t, os.Remove(filepath.Join(dir, "circleci")))
	text, _, err := get(t, "circleci", identity.Options{Environ: []string{"CIRCLE_OIDC_TOKEN_V2=" + want}})
	testkit.OK(t, err)
	testkit.Equal(t, text, want)
}

// workloadAPI is a server of gRPC, on HTTP/2 without TLS, with what a SPIFFE agent answers.
func workloadAPI(t *testing.T, answer func(w http.ResponseWriter, audience string)) string {
	t.Helper()
	dir := testkit.Must(os.MkdirTemp("", "spiffe"))(t) // t.TempDir may be too long for a socket
	t.Cleanup(func() { testkit.OK(t, os.RemoveAll(dir)) })
	path := filepath.Join(dir, "s")
	listener := testkit.Must(new(net.ListenConfig).Listen(context.Background(), "unix", path))(t)
	server := &http.Server{Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
			if r.Method != http.MethodPost || r.URL.Path != "/SpiffeWorkloadAPI/FetchJWTSVID" || r.ProtoMajor != 2 ||
				r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" ||
				r.Header.Get("workload.spiffe.io") != "true" || len(body) < 7 || body[5] != 0x0a {
				w.Header().Set("Grpc-Status", "3")
				w.Header().Set("Grpc-Message", "not as documented")
				return
			}
			answer(w, string(body[7:7+body[6]]))
		})}
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return path
}

// delimited is a field of protobuf with bytes in it.
func delimited(number byte, value string) string {
	return string(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(value)))) + value
}

func framed(message string) string {
	return "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(message)))) + message
}

func TestWorkloadAPIGivesASVIDForTheBroker(t *testing.T) {
	t.Parallel()
	socket := workloadAPI(t, func(w http.ResponseWriter, audience string) {
		svid := delimited(1, "spiffe://example.org/ci") + delimited(2, token(t, "spiffe://example.org/ci", audience))
		_, _ = io.WriteString(w, framed("\x28\x01"+delimited(1, svid)+delimited(1, delimited(2, "another"))))
		w.Header().Set("Grpc-Status", "0")
	})
	wantToken(t, "spiffe:unix://"+socket, identity.Options{})
	wantToken(t, "spiffe:"+socket, identity.Options{})
	wantToken(t, "", identity.Options{Environ: []string{"SPIFFE_ENDPOINT_SOCKET=unix://" + socket}})

	refusing := workloadAPI(t, func(w http.ResponseWriter, _ string) {
		w.Header().Set("Grpc-Status", "7")
		w.Header().Set("Grpc-Message", "no identity issued")
	})
	_, _, err := get(t, "spiffe:"+refusing, identity.Options{})
	testkit.ErrorContains(t, err, `"7" no identity issued`)
	for _, message := range []string{
		"", "\x00", framed("")[:4], framed(delimited(1, ""))[:6], framed("\x0a" + strings.Repeat("\xff", 9) + "\x01"),
		framed("\x0a\x05a"), "\x01" + framed(delimited(1, delimited(2, "x")))[1:],
		framed(strings.Repeat("\x80", 20)), framed("\x0b"),
	} {
		broken := workloadAPI(t, func(w http.ResponseWriter, _ string) {
			_, _ = io.WriteString(w, message)
			w.Header().Set("Grpc-Status", "0")
		})
		_, _, err := get(t, "spiffe:"+broken, identity.Options{})
		testkit.ErrorContains(t, err, "cannot be read")
	}
	_, _, err = get(t, "spiffe:/nonexistent/socket", identity.Options{})
	testkit.ErrorContains(t, err, "does not answer")
}
