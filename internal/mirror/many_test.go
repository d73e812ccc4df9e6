package mirror_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/mirror"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// crowd is a GitHub with nothing but very many empty repositories of one owner.
type crowd struct {
	many    int
	rest    atomic.Int64 // pages that were listed
	graphQL atomic.Int64
}

func (c *crowd) body(id int) map[string]any {
	return map[string]any{
		"id": id, "databaseId": id, "node_id": fmt.Sprintf("R_kgDO%08d", id),
		"full_name": fmt.Sprintf("acme/r%06d", id), "nameWithOwner": fmt.Sprintf("acme/r%06d", id),
		"private": true, "visibility": "private", "default_branch": "main", "hasWikiEnabled": false,
		"pushed_at": "2026-01-02T03:04:05Z", "pushedAt": "2026-01-02T03:04:05Z", "size": 1, "diskUsage": 1,
	}
}

// ServeHTTP implements [http.Handler].
func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-GitHub-Request-Id", "C0DE:1")
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch r.URL.Path {
	case "/api/v3/app/installations":
		answer([]any{map[string]any{"id": 7, "account": map[string]any{"login": "acme"}, "target_type": "Organization",
			"repository_selection": "all"}})
	case "/api/v3/app/installations/7/access_tokens":
		w.WriteHeader(http.StatusCreated)
		answer(map[string]any{"token": "ghs_0123456789abcdefghijklmnopqrstuvwxyz", "repository_selection": "all",
			"expires_at": time.Now().Add(time.Hour), "permissions": map[string]string{"metadata": "read"}})
	case "/api/v3/installation/repositories":
		c.rest.Add(1)
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		list := []any{}
		for id := (page-1)*100 + 1; id <= min(page*100, c.many); id++ {
			list = append(list, c.body(id))
		}
		answer(map[string]any{"total_count": c.many, "repositories": list})
	case "/api/graphql":
		c.graphQL.Add(1)
		var asked struct{ Variables map[string][]string }
		_ = json.NewDecoder(r.Body).Decode(&asked)
		data := map[string][]any{}
		for name, ids := range asked.Variables {
			for _, node := range ids {
				var id int
				_, _ = fmt.Sscanf(node, "R_kgDO%d", &id)
				body := c.body(id)
				body["id"] = node
				data[name] = append(data[name], body)
			}
		}
		answer(map[string]any{"data": data})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestVeryManyMirrors makes a pass over so many mirrors that have nothing new. GHAPP_MANY is how
// many.
func TestVeryManyMirrors(t *testing.T) {
	testkit.Long(t)
	many := 2_000
	if text := os.Getenv("GHAPP_MANY"); text != "" {
		many = testkit.Must(strconv.Atoi(text))(t)
	}
	host := &crowd{many: many}
	server := httptest.NewServer(host)
	t.Cleanup(server.Close)
	home, dir := t.TempDir(), t.TempDir()
	key := filepath.Join(home, "app.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testkit.Key(t))})
	testkit.OK(t, os.WriteFile(key, text, 0o600))
	pushed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	records := map[int64]*mirror.Record{}
	testkit.OK(t, os.MkdirAll(filepath.Join(dir, "acme"), 0o700))
	for id := 1; id <= many; id++ {
		name := fmt.Sprintf("acme/r%06d", id)
		place := filepath.Join(dir, name+".git")
		testkit.OK(t, os.Mkdir(place, 0o700))
		testkit.OK(t, os.WriteFile(filepath.Join(place, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600))
		stat := (&barerepo.Repository{Dir: place}).Stat()
		records[int64(id)] = &mirror.Record{
			ID: int64(id), NodeID: fmt.Sprintf("R_kgDO%08d", id), Name: name, Installation: 7, Path: name + ".git",
			PushedAt: pushed, PushedThen: pushed, DefaultBranch: "main", BranchThen: "main", Visibility: "private", SizeKB: 1,
			Code: mirror.Copy{ComparedAt: time.Now().UTC(), ChangedAt: pushed, Bytes: 4000, Stat: stat},
		}
	}
	installation := &mirror.Installation{ID: 7, Account: "acme", ListedAt: time.Now().UTC(), WholeAt: time.Now().UTC()}
	hostname := server.Listener.Addr().String()
	testkit.OK(t, mirror.StoreOf(dir).WriteAll(hostname, installation, records))
	clear(records) // and what is measured begins

	entry := config.DefaultMirror()
	entry.To, entry.FullEvery = dir, 365*24*time.Hour
	began := time.Now()
	run := testkit.Must(mirror.Open(t.Context(), mirror.Options{
		Opener: apps.New(apps.Options{NoCache: true, Environ: []string{
			"HOME=" + home, "GHAPP_HOST=" + server.URL, "GHAPP_APP=Iv23liCrowd00000000", "GHAPP_KEY=" + key,
		}}),
		Entry: entry, Log: slog.New(slog.DiscardHandler),
	}))(t)
	defer run.Close()
	report := testkit.Must(run.Pass(t.Context(), mirror.Request{}))(t)
	took := time.Since(began)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if report.Mirrors != many || report.Fresh != many || report.Compared != 0 || len(report.Failed) > 0 {
		t.Errorf("%+v", report)
	}
	if most := int64(many/200 + 1); host.graphQL.Load() > most || host.rest.Load() > 1 {
		t.Errorf("%d questions of GraphQL and %d pages, want %d and 1", host.graphQL.Load(), host.rest.Load(), most)
	}
	t.Logf("%d mirrors: %s, %d questions, %d MiB of the system", many, took, host.graphQL.Load(), memory.Sys>>20)
}
