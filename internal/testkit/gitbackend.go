package testkit

import (
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"testing"
)

// GitBackend is git's own server (git-http-backend(1)) for the repositories in a directory,
// acme/site.git and so on, without any credential.
func GitBackend(t testing.TB, dir string) http.Handler {
	t.Helper()
	program := Must(exec.LookPath("git"))(t)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := &cgi.Handler{Path: program, Args: []string{"http-backend"}, Dir: dir, Stderr: io.Discard,
			Logger: log.New(io.Discard, "", 0),
			Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1",
				"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
				"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol")}}
		handler.ServeHTTP(w, r)
	})
}
