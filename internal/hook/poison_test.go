package hook

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Nobody has to be known to send a request whose path is told in the log.
func TestNothingOfARefusedRequestIsObeyedInALog(t *testing.T) {
	for _, format := range []func(*strings.Builder) slog.Handler{
		func(b *strings.Builder) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *strings.Builder) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var log strings.Builder
		h := &Handler{Log: slog.New(format(&log))}
		r := httptest.NewRequest(http.MethodPost, "/x%1b%5b2J%E2%80%AE%C2%9b31m%0aforged%ff", nil)
		r.Header.Set("X-GitHub-Event", "\x1b[2J")
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		for _, part := range []string{"\x1b", "\u202e", "\u009b", "\nforged", "\xff"} {
			testkit.Lacks(t, log.String(), part)
			testkit.Lacks(t, answer.Body.String(), part)
		}
		if !strings.Contains(log.String(), "forged") {
			t.Errorf("the path is not told, so this test sees nothing: %s", &log)
		}
	}
}
