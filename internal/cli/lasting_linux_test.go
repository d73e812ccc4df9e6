package cli_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/githubtest"
)

// A pack that takes longer than a token lives is followed by more questions: of
// git-lfs, of submodules. Each is answered with a token that is good then.
func TestCloneOutlivesItsToken(t *testing.T) {
	t.Parallel()
	const life = 4 * time.Second
	w := newLargeWorld(t)
	w.github.SetTokenLife(life)
	m := w.large(t)
	stop := m.traffic.hold(largeSize/2, isUploadPack("acme/large"))
	cmd, out := m.command(cloneLarge()...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop.wait(t)
	first := w.github.Tokens()[0]
	time.Sleep(time.Until(first.Expires) + 100*time.Millisecond)
	m.traffic.release()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.stderr.String())
	}
	m.complete("deep/large")
	renewed := 0
	for _, token := range w.github.Tokens() {
		if strings.Join(token.Repositories, " ") == "acme/large" {
			renewed++
		}
	}
	if renewed != 2 {
		t.Errorf("%d tokens were minted for acme/large, want 2", renewed)
	}
	for _, r := range m.requests() {
		if r.Credential.Kind == githubtest.BasicCredential && r.Status == http.StatusUnauthorized {
			t.Errorf("%s %s came with a token that is dead", r.Method, r.Path)
		}
	}
}

// agedCache makes what is in the cache a minute older, so that a token there is no
// longer one that GitHub may not know yet.
func (m *machine) agedCache() {
	m.t.Helper()
	files, err := filepath.Glob(filepath.Join(m.cache, "ghapp", "[0-9a-f]*"))
	if err != nil {
		m.t.Fatal(err)
	}
	aged := 0
	for _, file := range files {
		var entry map[string]any
		if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &entry) != nil || entry["minted_at"] == nil {
			continue
		}
		minted, err := time.Parse(time.RFC3339Nano, entry["minted_at"].(string))
		if err != nil {
			m.t.Fatal(err)
		}
		entry["minted_at"] = minted.Add(-time.Minute)
		text, err := json.Marshal(entry)
		if err != nil {
			m.t.Fatal(err)
		}
		m.write(file, string(text))
		aged++
	}
	if aged == 0 {
		m.t.Fatalf("there is no token in %q", files)
	}
}

func TestRevokedTokenOfTheCacheIsReplaced(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("token", "acme/site")
	m.agedCache()
	m.github.RevokeTokens()
	r := m.must("clone", "acme/site")
	if mints := m.github.Mints(); mints != 2 {
		t.Errorf("%d mints", mints)
	}
	if got := m.read("site/main.txt"); got != "main\n" {
		t.Errorf("cloned %q", got)
	}
	if !strings.Contains(r.stderr, "with a new one") {
		t.Errorf("it is not told:\n%s", r.stderr)
	}
}

// A GitHub that refuses every token is not asked for ever.
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.must("token", "acme/site")
	m.agedCache()
	var refused atomic.Int32
	m.traffic.lead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGit(r) && r.Header.Get("Authorization") != "" {
			refused.Add(1)
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
			http.Error(w, "Invalid username or token.", http.StatusUnauthorized)
			return
		}
		m.github.ServeHTTP(w, r)
	}))
	r := m.ghapp("clone", "acme/site")
	if r.code != 4 || !strings.Contains(r.stderr, "hint: run the command again for a new token; if that is refused as well") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if mints := m.github.Mints(); mints != 2 || refused.Load() != 2 {
		t.Errorf("%d mints, %d refusals", mints, refused.Load())
	}
	m.nothingLeft()
}
