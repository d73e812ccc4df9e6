package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// commanding is a text that would clear a terminal, change its title and paint it.
const commanding = "\x1b[2J\x1b]0;title\x07\x1b[31mred\u009b0m\b"

// sayingOf makes the server say something while it sends a pack, on the second band
// of the packfile section (gitprotocol-v2(5), fetch).
func sayingOf(text string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isUploadPack("acme/site")(r) {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		const section = "000dpackfile\n"
		said := fmt.Sprintf("%s%04x\x02%s\n", section, 4+1+len(text)+1, text)
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		w.WriteHeader(answer.Code)
		_, _ = w.Write(bytes.Replace(answer.Body.Bytes(), []byte(section), []byte(said), 1))
	})
}

// git before 2.55 hands to the terminal what the server says, as it is
// (CVE-2024-52005).
func TestWhatAServerSaysReachesTheTerminalEscaped(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	tests := map[string]func(m *machine){
		"while it sends": func(m *machine) { m.traffic.lead(sayingOf("SAID "+commanding, m.github)) },
		"refusing git": func(m *machine) {
			m.traffic.lead(refusing(isDiscovery("acme/site"), "SAID "+commanding, m.github))
		},
		"refusing a new token": func(m *machine) {
			m.traffic.lead(refusing(orSettle(isDiscovery("acme/site")), "SAID IP allow list "+commanding, m.github))
		},
		"refusing a mint": func(m *machine) {
			m.traffic.lead(refusing(isCall("POST", "/access_tokens"), "SAID "+commanding, m.github))
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			prepare(m)
			r := m.ghapp("-v", "clone", "acme/site")
			if !strings.Contains(r.stderr, "SAID") {
				t.Fatalf("it is not shown:\n%s", r.stderr)
			}
			if strings.ContainsAny(r.stdout+r.stderr, "\x1b\x07\x08\u009b") {
				t.Errorf("it is shown as it came:\n%q", r.stderr)
			}
		})
	}
}

// refusing answers 403 with a text, in JSON where it is the API that is asked.
func refusing(match func(*http.Request) bool, text string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !match(r) {
			next.ServeHTTP(w, r)
			return
		}
		body, kind := []byte(text), "text/plain"
		if strings.HasPrefix(r.URL.Path, "/api/") {
			body, _ = json.Marshal(map[string]string{"message": text}) // of strings: it cannot fail
			kind = "application/json"
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(body)
	})
}
