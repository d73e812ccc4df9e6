package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// asMedia gives all answers of a server to what a request matches another media type.
func asMedia(server http.Handler, media string, matches func(*http.Request, string) bool) http.Handler {
	return answered(server, matches, func(w http.ResponseWriter, came *httptest.ResponseRecorder) {
		w.Header().Set("Content-Type", media)
		_, _ = w.Write(came.Body.Bytes())
	})
}

// answered answers what a request matches, by its body, in another way than a server does.
func answered(server http.Handler, matches func(r *http.Request, body string) bool,
	otherwise func(http.ResponseWriter, *httptest.ResponseRecorder)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !matches(r, string(body)) {
			server.ServeHTTP(w, r)
			return
		}
		came := httptest.NewRecorder()
		server.ServeHTTP(came, r)
		otherwise(w, came)
	})
}

func ofFetch(_ *http.Request, body string) bool { return strings.Contains(body, "command=fetch") }

func ofDiscovery(r *http.Request, _ string) bool { return strings.HasSuffix(r.URL.Path, "/info/refs") }

func ofPost(r *http.Request, _ string) bool { return r.Method == http.MethodPost }

// replying is an answer of these bytes alone.
func replying(text string) func(http.ResponseWriter, *httptest.ResponseRecorder) {
	return func(w http.ResponseWriter, came *httptest.ResponseRecorder) {
		w.Header().Set("Content-Type", came.Header().Get("Content-Type"))
		_, _ = io.WriteString(w, text)
	}
}

// files serves a repository as files, which nobody has checked: among them is a tree that git refuses.
func files(t *testing.T, packed bool) (server http.Handler, tip string) {
	t.Helper()
	dir := t.TempDir()
	git := func(input string, args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A",
			"GIT_COMMITTER_EMAIL=a@example.com", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		testkit.OK(t, err, "git %v: %s", args, out)
		return strings.TrimSpace(string(out))
	}
	git("", "init", "-q", "--bare", "--initial-branch=main", ".")
	blob := git("x", "hash-object", "-w", "--stdin")
	tip = git("", "commit-tree", "-m", "x", git("100644 blob "+blob+"\t.GIT\n", "mktree"))
	git("", "update-ref", "refs/heads/main", tip)
	if packed {
		git("", "repack", "-adq")
	}
	git("", "update-server-info")
	return http.StripPrefix("/acme/bad.git/", http.FileServer(http.Dir(dir))), tip
}

// Where a server does not speak as it is spoken to, git gets on with it, or there is a cause.
func TestServerThatSpeaksOtherwiseIsMirroredOrToldOf(t *testing.T) {
	t.Parallel()
	honest := &githubtest.GitServer{}
	// Files behind a listing that has no pack: git begins with the discovery, and finds them.
	asFiles := func(packed bool) http.Handler {
		handed, tip := files(t, packed)
		listed := answered(&githubtest.GitServer{
			Refs: slices.Values([]githubtest.GitRef{{Name: "refs/heads/main", ID: tip}}),
		}, ofFetch, replying("0000"))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				handed.ServeHTTP(w, r)
				return
			}
			listed.ServeHTTP(w, r)
		})
	}
	oldDiscovery := func(w http.ResponseWriter, _ *httptest.ResponseRecorder) {
		r := httptest.NewRequest(http.MethodGet, "/acme/bad.git/info/refs?service=git-upload-pack", nil)
		(&githubtest.GitServer{Version: githubtest.Oldest}).ServeHTTP(w, r)
	}
	listing := replying("003d" + strings.Repeat("1", 40) + " refs/heads/main\n0000")
	const result, broken = "application/x-git-upload-pack-result", "pack-broken"
	tests := map[string]struct {
		server http.Handler
		kind   string // of the failure; "": there is a mirror
	}{
		"version 1":                        {&githubtest.GitServer{Version: 1}, ""},
		"version 0":                        {&githubtest.GitServer{Version: githubtest.Oldest}, ""},
		"version 0 to the discovery alone": {answered(honest, ofDiscovery, oldDiscovery), ""},
		"version 0 to a fetch":             {answered(honest, ofFetch, replying("0008NAK\n0000")), broken},
		"a pack alone to a fetch":          {answered(honest, ofFetch, replying("PACK\x00\x00\x00\x02")), broken},
		"a listing to a fetch":             {answered(honest, ofFetch, listing), broken},
		"plain text for a pack":            {asMedia(honest, "text/plain", ofFetch), ""}, // git does not mind
		"no type for a pack":               {asMedia(honest, "", ofFetch), ""},
		"a result for a discovery":         {asMedia(asMedia(honest, result, ofDiscovery), "text/plain", ofPost), broken},
		"files":                            {asFiles(false), broken},
		"packs that nobody has checked":    {asFiles(true), "object-refused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.github.AddRepository("acme/bad", githubtest.RepositoryOptions{})
			m.app.Install("acme", githubtest.InstallOptions{All: true})
			testkit.OK(t, m.github.Fault(githubtest.Fault{Match: "* /acme/bad.git/**", Handler: test.server}))
			r := m.ghapp("mirror", "--to", "m", "--json")
			var list []struct {
				Failed []struct {
					Repository string
					Error      struct{ Message, Hint, Kind string } `json:"error"`
				}
			}
			testkit.OK(t, json.Unmarshal([]byte(r.stdout), &list), "%s%s", r.stdout, r.stderr)
			got := ""
			for _, one := range list[0].Failed {
				got = one.Error.Kind
				t.Logf("%+v", one)
			}
			testkit.Equal(t, got, test.kind)
			_, err := os.Stat(filepath.Join(m.work, "m/acme/bad.git"))
			testkit.Equal(t, err == nil, test.kind == "", "there is a mirror")
			m.noSecretOnDisk()
		})
	}
}
