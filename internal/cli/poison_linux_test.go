package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// poison is what a terminal obeys, what turns letters around, and a line that looks like
// one of ours.
const poison = "\x1b]0;own\x07\x1b[2J\u202egnp.\u009b31m\u2066\x7f\nghapp: error: forged"

// poisonHeader is what of poison a header may have: for the rest of it, net/http refuses
// the whole answer.
const poisonHeader = "\u202egnp.\u009b31m\u2066 ghapp: error: forged"

// harmless fails if anything of poison has its effect in an output.
func harmless(t *testing.T, where, output string) {
	t.Helper()
	for _, part := range []string{"\x1b]", "\x1b[2J", "\x07", "\u202e", "\u009b", "\u2066",
		"\x7f", "\nghapp: error: forged"} {
		if at := strings.Index(output, part); at >= 0 {
			t.Errorf("%s has %q:\n%q", where, part, output[max(0, at-200):min(len(output), at+200)])
		}
	}
}

// poisoned puts poison at the end of every text of a JSON value, but of those that a
// command could not go on with.
func poisoned(value any, key string) any {
	switch v := value.(type) {
	case map[string]any:
		for k := range v {
			v[k] = poisoned(v[k], k)
		}
	case []any:
		for i := range v {
			v[i] = poisoned(v[i], key)
		}
	case string:
		if !slices.Contains([]string{"token", "expires_at", "created_at", "updated_at", "suspended_at", "contents",
			"metadata", "repository_selection"}, key) {
			return v + poison
		}
	}
	return value
}

// packet is a pkt-line (gitprotocol-common(5)).
func packet(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// poisoners are the places in which a server can put text, each with the requests that it
// answers so.
func poisoners(next http.Handler) map[string]func(m *machine) {
	isAPI := func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/v3/") }
	isPost := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/git-upload-pack") }
	failing := func(status int, kind string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Accepted-GitHub-Permissions", "contents="+poisonHeader)
			w.Header().Set("X-GitHub-Request-Id", "9A1C"+poisonHeader)
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			if kind == "text/plain" {
				_, _ = io.WriteString(w, "no"+poison+"\n")
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{
				"message": "no" + poison, "documentation_url": "https://docs" + poison, "errors": []string{"e" + poison},
			})
		}
	}
	answers := func(body string, kind string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, body)
		}
	}
	list := map[string]func(m *machine){
		"API, every text": func(m *machine) {
			m.traffic.divert(isAPI, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				for name, values := range answer.Header() {
					w.Header()[name] = values
				}
				w.Header().Del("Content-Length")
				w.WriteHeader(answer.Code)
				var value any
				if json.Unmarshal(answer.Body.Bytes(), &value) != nil {
					_, _ = w.Write(answer.Body.Bytes())
					return
				}
				_ = json.NewEncoder(w).Encode(poisoned(value, ""))
			}))
		},
		"git, an error": func(m *machine) {
			m.traffic.divert(isPost, answers(packet("ERR no"+poison), "application/x-git-upload-pack-result"))
		},
		"git, refs": func(m *machine) {
			refs := packet(strings.Repeat("1", 40)+" HEAD"+poison+"\n") +
				packet(strings.Repeat("1", 40)+" refs/heads/x"+poison+"\n") + "0000"
			m.traffic.divert(isPost, answers(refs, "application/x-git-upload-pack-result"))
		},
		"git, another type": func(m *machine) {
			m.traffic.divert(isPost, answers("x", "text/x-"+poisonHeader))
		},
		"git, sideband": func(m *machine) {
			said := packet("packfile\n") + packet("\x02hello"+poison+"\n") + packet("\x03no"+poison+"\n") + "0000"
			m.traffic.divert(isPost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				if r.Header.Get("Content-Encoding") != "gzip" && !bytes.Contains(body, []byte("command=fetch")) {
					next.ServeHTTP(w, r)
					return
				}
				answers(said, "application/x-git-upload-pack-result")(w, r)
			}))
		},
	}
	list["API, a broken header"] = func(m *machine) {
		m.traffic.divert(isAPI, answers("{}", "text/x-"+strings.ReplaceAll(poison, "\n", " ")))
	}
	for _, status := range []int{401, 403, 404, 422, 500} {
		list[fmt.Sprint("API ", status)] = func(m *machine) { m.traffic.divert(isAPI, failing(status, "application/json")) }
		list[fmt.Sprint("git ", status)] = func(m *machine) {
			m.traffic.divert(func(r *http.Request) bool { return !isAPI(r) }, failing(status, "text/plain"))
		}
	}
	return list
}

// Whatever field a server or a repository fills, nothing of it is obeyed: on standard
// output and error, as text and as JSON, with a terminal and without.
func TestNothingThatAStrangerWritesIsObeyed(t *testing.T) {
	t.Parallel()
	w := newOpenWorld(t)
	for where, arrange := range poisoners(w.github) {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			arrange(m)
			// These are tried again, for seconds each, and are the same in all commands.
			var said strings.Builder
			again := where == "API 500" || where == "API, a broken header"
			for _, args := range [][]string{
				{"clone", "acme/site"}, {"token", "acme/site"}, {"installations"}, {"repos", "acme"}, {"app"}, {"keys", "check"},
				{"doctor", "acme/site"}, {"sync", "acme/site", "--to", "www"}, {"exec", "acme/site", "--", "true"},
			} {
				if strings.HasPrefix(where, "git") && !slices.Contains([]string{"clone", "doctor", "sync"}, args[0]) {
					continue
				}
				if again && args[0] != "token" {
					continue
				}
				for _, flags := range [][]string{{"-v"}, {"--json"}} {
					r := m.ghapp(slices.Concat(flags, args)...)
					harmless(t, fmt.Sprint(flags, args, " on stdout"), r.stdout)
					harmless(t, fmt.Sprint(flags, args, " on stderr"), r.stderr)
					said.WriteString(r.stdout + r.stderr)
				}
			}
			tells(t, where, said.String())
			if again || where == "git 401" { // a young token is waited for, ten seconds in each command
				return
			}
			shown := m.terminal("-v", "clone", "acme/site", "onterminal")
			<-shown.closed
			_ = shown.cmd.Wait()
			harmless(t, "the terminal", strings.ReplaceAll(shown.shown.String(), "\r\n", "\n"))
		})
	}
}

// The names of files, branches and submodules, and what a check prints, are the owner's
// of a repository; nobody has to be known to send a webhook.
func TestNothingThatARepositoryNamesIsObeyed(t *testing.T) {
	t.Parallel()
	w := newOpenWorld(t)
	name := strings.ReplaceAll(poison, "\n", " ")
	w.commit(t, "acme/named", append(submodule("sub"+strings.ReplaceAll(name, "]", ""),
		"https://elsewhere.invalid/"+"x", strings.Repeat("1", 40)),
		githubtest.Entry{Path: "file" + name, Content: poison})...)
	m := w.machine(t)
	for _, args := range [][]string{
		{"clone", "acme/named", "--", "--recurse-submodules"},
		{"clone", "acme/named", "two", "--branch", "b" + name},
		{"sync", "acme/named", "--to", "www", "--check", "cat file*; ls; exit 1"},
		{"sync", "acme/named", "--to", "www2", "--submodules"},
		{"token", "acme/" + poison}, {"clone", "acme/site", "dir" + name},
		{"doctor", "acme/named" + poison}, {"sync", "status", "www" + name},
	} {
		for _, flags := range [][]string{{"-v"}, {"--json"}} {
			r := m.ghapp(slices.Concat(flags, args)...)
			harmless(t, fmt.Sprint(args[0], flags, " on stdout"), r.stdout)
			harmless(t, fmt.Sprint(args[0], flags, " on stderr"), r.stderr)
		}
	}
}
