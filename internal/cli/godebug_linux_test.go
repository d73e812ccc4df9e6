package cli_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// net/http logs every header of HTTP/2 where GODEBUG says so, and cannot be told not to.
func TestNoSecretInWhatGoLogsOfHTTP2(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	for _, debug := range []string{"", "http2debug=1", "x=1,http2debug=2", "xhttp2debug=2,y=1"} {
		t.Run(debug, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			var two atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor == 2 && strings.HasPrefix(r.URL.Path, "/api/") {
					two.Add(1)
				}
				m.traffic.ServeHTTP(rw, r)
			}))
			server.EnableHTTP2 = true
			server.StartTLS()
			t.Cleanup(server.Close)
			m.environ["GHAPP_HOST"] = server.URL
			m.environ["GHAPP_CA_FILE"] = filepath.Join(m.root, "ca.pem")
			m.write(m.environ["GHAPP_CA_FILE"],
				string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
			m.environ["GODEBUG"] = debug
			for _, args := range [][]string{
				{"installations"}, {"clone", "acme/site", "clone"}, {"doctor", "acme/site"},
				{"sync", "acme/site", "--to", "site", "--check", "case $GODEBUG in *http2debug*) exit 1;; esac"},
			} {
				r := m.ghapp(args...)
				m.noSecretIn("the output of "+strings.Join(args, " "), r.stdout+r.stderr)
				if r.code != 0 && (args[0] != "doctor" || strings.Contains(r.stderr, "panic")) && debug != "" {
					t.Errorf("%v: exit code %d\n%s", args, r.code, r.stderr)
				}
				if strings.Contains(r.stderr, "http2: ") {
					t.Errorf("%v shows what net/http logs:\n%s", args, r.stderr)
				}
			}
			testkit.Equal(t, two.Load() > 0, (debug == ""), "HTTP/2 is used")
		})
	}
}

// A panic under GOTRACEBACK=crash would leave the key in a file.
func TestNoCoreIsLeft(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.environ["GOTRACEBACK"] = "crash"
	testkit.Must(exec.LookPath("sh"))(t)
	r := m.must("exec", "acme/site", "--", "sh", "-c", "ulimit -S -c")
	testkit.Equal(t, strings.TrimSpace(r.stdout), "0", "the limit of a core is %s", r.stdout)
}
