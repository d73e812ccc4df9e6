package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// poisonLine is poison without its line break, for what is one line.
var poisonLine = strings.ReplaceAll(poison, "\n", " ")

// tells fails unless a part of poison is to be read in an output: one in which nothing of
// it came says nothing of what would become of it.
func tells(t *testing.T, where, output string) {
	t.Helper()
	if !strings.Contains(output, "forged") && !strings.Contains(output, "0;own") {
		t.Errorf("%s has nothing of the poison, so this test sees nothing:\n%s", where, output)
	}
}

// harmlessRuns runs commands as for people and as for programs, and returns all that they said.
func (m *machine) harmlessRuns(commands ...[]string) string {
	m.t.Helper()
	var said strings.Builder
	for _, args := range commands {
		for _, flag := range []string{"-v", "--json"} {
			r := m.ghapp(append([]string{flag}, args...)...)
			harmless(m.t, fmt.Sprint(flag, args, " on stdout"), r.stdout)
			harmless(m.t, fmt.Sprint(flag, args, " on stderr"), r.stderr)
			said.WriteString(r.stdout + r.stderr)
		}
	}
	return said.String()
}

// What a store of large files answers, git-lfs says.
func TestNothingThatAStoreOfLargeFilesSaysIsObeyed(t *testing.T) {
	t.Parallel()
	w := newOpenWorld(t)
	w.commit(t, "acme/site",
		githubtest.Entry{Path: ".gitattributes", Content: films},
		githubtest.Entry{Path: "1.film", Content: w.github.Repository("acme/site").AddObject("film 1")})
	isBatch := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/info/lfs/objects/batch") }
	// says answers for each object that is asked for with what is added to it.
	says := func(status int, kind string, body func(object map[string]any) any) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			var asked struct{ Objects []map[string]any }
			_ = json.NewDecoder(r.Body).Decode(&asked)
			if len(asked.Objects) == 0 {
				asked.Objects = []map[string]any{{}}
			}
			rw.Header().Set("Content-Type", kind)
			rw.WriteHeader(status)
			_ = json.NewEncoder(rw).Encode(body(asked.Objects[0]))
		}
	}
	const media = "application/vnd.git-lfs+json"
	with := func(object map[string]any, more map[string]any) any {
		maps.Copy(object, more)
		return map[string]any{"transfer": "basic", "objects": []any{object}}
	}
	refusal := func(map[string]any) any {
		return map[string]any{"message": "no" + poison,
			"documentation_url": "https://docs" + poison, "request_id": "1" + poison}
	}
	for where, answer := range map[string]http.HandlerFunc{
		"refusal": says(http.StatusUnprocessableEntity, media, refusal),
		"hidden":  says(http.StatusNotFound, media, refusal),
		"object's error": says(http.StatusOK, media, func(object map[string]any) any {
			return with(object, map[string]any{"error": map[string]any{"code": 404, "message": "no" + poison}})
		}),
		"another object": says(http.StatusOK, media, func(object map[string]any) any {
			return with(object, map[string]any{"oid": "x" + poison})
		}),
		"address": says(http.StatusOK, media, func(object map[string]any) any {
			return with(object, map[string]any{"actions": map[string]any{"download": map[string]any{"href": "no" + poison}}})
		}),
		"transfer": says(http.StatusOK, media, func(object map[string]any) any {
			return map[string]any{"transfer": "t" + poison, "objects": []any{object}}
		}),
		"type": says(http.StatusOK, "text/x-"+poisonLine, refusal),
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			m.installLFS()
			m.gitConfig("lfs.transfer.maxretries", "1")
			m.traffic.divert(isBatch, answer)
			said := m.harmlessRuns([]string{"clone", "acme/site"}, []string{"sync", "acme/site", "--to", "www", "--lfs"})
			if !strings.Contains(said, "1.film") && !strings.Contains(said, "LFS") {
				t.Errorf("git-lfs says nothing, so this test sees nothing:\n%s", said)
			}
			if where == "refusal" || where == "object's error" {
				tells(t, where, said)
			}
		})
	}
}

// A program that holds a key says what it likes, on both of its outputs, and a key URI
// is written by whoever has written the configuration.
func TestNothingThatAHolderOfAKeySaysIsObeyed(t *testing.T) {
	t.Parallel()
	w := newOpenWorld(t)
	answer := func(r map[string]any) string {
		text := testkit.Must(json.Marshal(r))(t)
		return string(text)
	}
	for where, program := range map[string]struct{ notice, answer, end string }{
		"failure": {
			answer: answer(map[string]any{"version": 1, "error": map[string]any{"kind": "denied", "message": "no" + poison}})},
		"kind": {answer: answer(map[string]any{"version": 1,
			"error": map[string]any{"kind": "k" + poison, "message": "no" + poison}})},
		"version": {answer: answer(map[string]any{"version": "1" + poison})},
		"garbled": {answer: "{" + poison},
		"key":     {answer: answer(map[string]any{"version": 1, "public_key": []byte("-----" + poison)})},
		"notice": {notice: "touch it" + poison,
			answer: answer(map[string]any{"version": 1, "error": map[string]any{"kind": "timeout"}})},
		"ended": {notice: "broken" + poison, end: "exit 3"},
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			holder := filepath.Join(m.root, "holder")
			m.write(holder+".answer", program.answer+"\n")
			m.write(holder+".notice", program.notice+"\n")
			m.sayingProgram(holder, "cat >/dev/null\ncat '"+holder+".notice' >&2\ncat '"+holder+".answer'\n"+program.end+"\n")
			pem := m.environ["GHAPP_KEY"]
			m.environ["GHAPP_KEY"] = "exec:" + holder
			said := m.harmlessRuns([]string{"token", "acme/site"}, []string{"keys", "check"}, []string{"keys", "fingerprint"},
				[]string{"keys", "import", pem, "--to", "exec:" + holder}, []string{"doctor", "acme/site"})
			if where == "failure" || where == "notice" || where == "ended" {
				tells(t, where, said)
			}
		})
	}
	t.Run("URI", func(t *testing.T) {
		t.Parallel()
		m := w.machine(t)
		for _, uri := range []string{"exec:/x" + poison, "keyring:x" + poison, "ssh-agent:x" + poison, "env:X" + poison,
			"/x" + poison, poison + ":x"} {
			m.harmlessRuns([]string{"token", "acme/site", "--key", uri}, []string{"keys", "check", uri},
				[]string{"keys", "import", m.environ["GHAPP_KEY"], "--to", uri})
		}
	})
}

// sayingProgram writes a program of the shell.
func (m *machine) sayingProgram(path, text string) {
	m.t.Helper()
	m.write(path, "#!/bin/sh\n"+text)
	testkit.OK(m.t, os.Chmod(path, 0o700))
}

// A configuration may have come with a repository, or from whoever sells servers.
func TestNothingThatAConfigurationSaysIsObeyed(t *testing.T) {
	t.Parallel()
	w := newOpenWorld(t)
	// Of many values is only said where they stand; of these, what they are.
	told := []string{"key", "authorities", "permission", "repository", "setting", "part",
		"target's", "branch", "directory",
		"check", "command", "setting of sync", "sparse directory"}
	const head, site = "apps:\n  deploy: {app: 1234, key: app.pem", "sync:\n  site: {repository: acme/site, to: www"
	for where, text := range map[string]string{
		"App":              "apps:\n  WORD: {app: 1234, key: app.pem}\n",
		"Apps":             "apps:\n  WORD: {app: 1234, key: app.pem}\n  other: {app: 1234, key: app.pem}\n",
		"default":          "default: WORD\n" + head + "}\n",
		"ID":               "apps:\n  deploy: {app: WORD, key: app.pem}\n",
		"key":              "apps:\n  deploy: {app: 1234, key: WORD}\n",
		"owner":            head + ", owners: [WORD]}\n",
		"installation":     head + ", installation: WORD}\n",
		"host":             head + ", host: WORD}\n",
		"API":              head + ", api_url: WORD}\n",
		"API's version":    head + ", api_version: WORD}\n",
		"authorities":      head + ", ca_file: WORD}\n",
		"permission":       head + ", permissions: {WORD: read}}\n",
		"level":            head + ", permissions: {contents: WORD}}\n",
		"repository":       head + ", repositories: {WORD: {contents: read}}}\n",
		"setting":          head + ", WORD: 1}\n",
		"part":             "WORD: 1\n",
		"no YAML":          head + ": [WORD\n",
		"target":           "sync:\n  WORD: {repository: acme/site, to: www}\n",
		"target's":         "sync:\n  site: {repository: WORD, to: www}\n",
		"branch":           site + ", branch: WORD}\n",
		"directory":        "sync:\n  site: {repository: acme/site, to: WORD}\n",
		"mode":             site + ", mode: WORD}\n",
		"check":            site + ", check: WORD}\n",
		"command":          site + ", exec: WORD}\n",
		"setting of sync":  site + ", WORD: 1}\n",
		"sparse directory": site + ", sparse: [WORD]}\n",
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			m.environ["GHAPP_CONFIG"] = filepath.Join(m.root, "ghapp.yaml")
			commands := [][]string{{"config", "show"}, {"sync", "--all"}, {"sync", "status"}}
			if strings.HasPrefix(text, "apps:") || !strings.HasPrefix(text, "sync:") {
				// Of the environment is only what leads to the stand-in.
				delete(m.environ, "GHAPP_APP")
				delete(m.environ, "GHAPP_KEY")
				commands = [][]string{{"config", "show"}, {"token", "acme/site"}, {"doctor", "acme/site"},
					{"keys", "check"}, {"agent", "status"}}
				if where == "host" {
					delete(m.environ, "GHAPP_HOST")
				}
			}
			// Control characters are refused in most values, and others reach further.
			for _, word := range []string{"x" + poison, "echo x\u202egnp.\u2066forged"} {
				// YAML has the same escapes
				m.write(m.environ["GHAPP_CONFIG"], strings.ReplaceAll(text, "WORD", strconv.QuoteToASCII(word)))
				said := m.harmlessRuns(commands...)
				if !strings.Contains(word, "\x1b") && slices.Contains(told, where) {
					tells(t, where, said)
				}
			}
		})
	}
	t.Run("path of the file", func(t *testing.T) {
		t.Parallel()
		m := w.machine(t)
		m.environ["XDG_CONFIG_HOME"] = filepath.Join(m.root, "d"+poison)
		for _, text := range []string{"", "x: 1\n", head + "}\n", site + "}\n"} {
			if text != "" {
				m.write(filepath.Join(m.environ["XDG_CONFIG_HOME"], "ghapp", "config.yaml"), text)
			}
			tells(t, text, m.harmlessRuns([]string{"config", "show"}, []string{"token", "acme/site", "--app", "none"},
				[]string{"config", "set", "deploy.owners", "acme"}, []string{"doctor", "acme/site"}, []string{"sync", "status"}))
		}
		// Programs are given the path as it is, and people what they can read.
		testkit.Contains(t, m.ghapp("config", "path").stdout, poison)
		harmless(t, "config path --json", m.ghapp("config", "path", "--json").stdout)
		shown, _ := m.terminal("config", "path").wait()
		harmless(t, "the terminal", strings.ReplaceAll(shown, "\r\n", "\n"))
		tells(t, "the terminal", shown)
	})
	t.Run("variables", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"APP", "HOST", "KEY", "CA_FILE", "API_URL", "INSTALLATION", "PERMISSIONS",
			"PRIVATE_KEY", "API_VERSION"} {
			m := w.machine(t)
			m.environ["GHAPP_"+name] = "x" + poison
			m.harmlessRuns([]string{"config", "show"}, []string{"token", "acme/site"}, []string{"doctor", "acme/site"})
		}
	})
}

// A receiver of notices is another server, whose answers are told where it does not take one.
func TestNothingThatAReceiverOfNoticesSaysIsObeyed(t *testing.T) {
	t.Parallel()
	answers := []string{
		"HTTP/1.1 400 no" + poisonLine + "\r\nContent-Length: 2\r\n\r\nno",
		"HTTP/1.1 4x0 no" + poisonLine + "\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://x" + poisonLine + "/\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 307 Found\r\nLocation: /%zz" + poisonLine + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 400 Bad\r\nno header" + poisonLine + "\r\n\r\n",
		"HTTP/1.1 400 Bad\r\nContent-Length: x" + poisonLine + "\r\n\r\n",
		"HTTP/1.1 400 Bad\r\nTransfer-Encoding: x" + poisonLine + "\r\n\r\n",
		poison + "\r\n\r\n",
	}
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			listener := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
			defer listener.Close()
			var asked atomic.Int64
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
						_, _ = io.Copy(io.Discard, r.Body)
						at := int(asked.Add(1) - 1)
						_, _ = io.WriteString(conn, answers[at%len(answers)])
					}
					_ = conn.Close()
				}
			}()
			m.environ["GHAPP_SYNC_NOTIFY_URL"] = "http://" + listener.Addr().String() + "/x"
			s := m.syncs("-v", "acme/site", "--branch", "deployment", "--to", "site", "--period",
				"100ms", "--log-format", format)
			for i := 0; int(asked.Load()) < len(answers); i++ {
				before := asked.Load()
				m.pushes(fmt.Sprint(i))
				eventually(t, patience, func() string {
					if asked.Load() == before {
						return "the receiver is told nothing\n" + s.log()
					}
					return ""
				})
				if t.Failed() {
					return
				}
			}
			s.ends()
			harmless(t, "the log", s.log())
			tells(t, "the log", s.log())
		})
	}
}

// To a process that waits for webhooks anybody may send anything, and what is signed may
// be of whoever may push.
func TestNothingThatIsSentToAWatcherIsObeyed(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.write(filepath.Join(m.root, "webhook"), webhookSecret+"\n")
			m.write(filepath.Join(m.root, "wish"), wishSecret+"\n")
			s := m.syncs("-v", "acme/site", "--branch", "deployment", "--to", "site", "--period", "1h",
				"--webhook", "127.0.0.1:0", "--webhook-secret-file", filepath.Join(m.root, "webhook"), "--sync-secret-file",
				filepath.Join(m.root, "wish"),
				"--status", "127.0.0.1:0", "--log-format", format)
			m.shows("site/deployment.txt", "deployment")
			address := func(name string) string {
				for line := range strings.Lines(s.log()) {
					for _, before := range []string{name + "=", `"` + name + `":"`} {
						if _, rest, ok := strings.Cut(line, before+"127.0.0.1:"); ok {
							return "127.0.0.1:" + rest[:strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })]
						}
					}
				}
				t.Fatalf("it does not say where it listens:\n%s", s.log())
				return ""
			}
			webhook, status := address("webhook"), address("status")

			// Anybody's, byte by byte, since no client sends them.
			for _, request := range []string{
				"GET /x" + escaped(poison) + " HTTP/1.1\r\nHost: x\r\n\r\n",
				"GET /metrics?x" + escaped(poison) + " HTTP/1.1\r\nHost: x" + poisonLine + "\r\n\r\n",
				"GET /healthz HTTP/1.1\r\nHost: evil\u202e\u009b31m\u2066.example\r\n\r\n",
				"GET /x HTTP/1.1\r\nHost: x\r\nX" + poisonLine + ": 1\r\n\r\n",
				"G" + poisonLine + " /x HTTP/1.1\r\nHost: x\r\n\r\n",
				"\u202e\u009b31m /x HTTP/1.1\r\nHost: x\r\n\r\n",
				"POST /webhook HTTP/1.1\r\nHost: x\r\nX-GitHub-Event: \u202e\u009b31m\u2066forged\r\nX-GitHub-Delivery: " +
					"\u202e\u009b31m\u2066forged\r\n" +
					"X-Hub-Signature-256: \u202e\u009b31m\u2066forged\r\nContent-Type: \u202e\u009b31m\u2066\r\n" +
					"Content-Length: 2\r\n\r\n{}",
				"POST /sync HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \u202e\u009b31m\u2066\r\nContent-Length: 2\r\n\r\n{}",
			} {
				for _, address := range []string{webhook, status} {
					harmless(t, fmt.Sprintf("the answer of %q", request), saidTo(t, address, request))
				}
			}
			// Signed.
			poisonous := map[string]any{"zen": "z", "ref": "refs/heads/x", "before": "1", "after": "2", "deleted": false,
				"created": false, "hook_id": 1,
				"action": "created", "hook": map[string]any{"url": "u", "events": []any{"push"}},
				"repository": map[string]any{"id": 1, "full_name": "acme/site", "html_url": m.server.URL + "/acme/site",
					"clone_url": m.server.URL + "/acme/site.git"},
				"sender":       map[string]any{"login": "o"},
				"installation": map[string]any{"id": 1, "account": map[string]any{"login": "acme"}}}
			text := testkit.Must(json.Marshal(poisoned(poisonous, "")))(t)
			for _, event := range []string{"ping", "push", "installation", "create", "\u202e\u009b31m\u2066"} {
				for _, body := range [][]byte{text, []byte(`"` + poison), []byte("payload=" + escaped(string(text)))} {
					request := "POST /webhook HTTP/1.1\r\nHost: x\r\nX-GitHub-Event: " + event +
						"\r\nX-GitHub-Delivery: \u202e\u009b31m\u2066" + event +
						"\r\nX-Hub-Signature-256: " + signed(webhookSecret, body) +
						"\r\nContent-Type: application/json\r\nContent-Length: " +
						strconv.Itoa(len(body)) + "\r\n\r\n" + string(body)
					harmless(t, event+": the answer", saidTo(t, webhook, request))
				}
			}
			wish, _ := json.Marshal(map[string]any{"targets": []string{"site" + poison}, "x" + poison: 1})
			for _, body := range [][]byte{wish, []byte(`{"targets":["site` + poison),
				bytes.Replace(wish, []byte(`"x`), []byte(`"wait":true,"x`), 1)} {
				harmless(t, "POST /sync: the answer",
					saidTo(t, webhook, "POST /sync HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+wishSecret+
						"\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+string(body)))
			}
			// It goes on, and has said by now what it had to say.
			if status, text := m.hooked(webhook, webhookSecret, "0b989ba4-242f-11e5-81e1-c7b6966d2516", "refs/heads/deployment",
				m.pushes("after")); status != http.StatusAccepted {
				t.Errorf("%d %s", status, text)
			}
			m.shows("site/deployment.txt", "after")
			s.ends()
			harmless(t, "the log", s.log())
			tells(t, "the log", s.log())
		})
	}
}

// escaped is a text as it stands in a path.
func escaped(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}

// saidTo sends bytes to a server and returns the body of what it answers: a status line
// and headers are for no terminal.
func saidTo(t *testing.T, address, request string) string {
	t.Helper()
	conn := testkit.Must(net.Dial("tcp", address))(t)
	defer conn.Close()
	testkit.Must(io.WriteString(conn, request))(t)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return strings.Join(slices.Concat(slices.Collect(maps.Keys(answer.Header)), []string{string(text)}), "\n")
}
