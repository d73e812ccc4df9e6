package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDirectoriesToKeepAreReadWithWhereTheyStand(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text := `apps:
  deploy: {app: 12, owners: [acme]}
sync:
  site:
    repository: acme/site
    branch: deployment
    to: ~/site
    period: 30s
    sparse: [docs, site/public]
    exec: systemctl reload nginx
    lfs: true
  lib: {repository: "git@github.com:acme/lib.git", version: ^1.2, to: lib, keep: 5}
`
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
	c, err := Load(Options{Flags: map[string]string{"config": path},
		LookupEnv: func(name string) (string, bool) { return "/home/me", name == "HOME" }})
	testkit.OK(t, err)
	want := []Sync{
		{
			Name: "site", Repository: "acme/site", Branch: "deployment", To: "/home/me/site", Period: 30 * time.Second,
			Sparse: []string{"docs", "site/public"}, Exec: "systemctl reload nginx", LFS: true,
			Source: Source{FromFile, path, 4},
		},
		{Name: "lib", Repository: "git@github.com:acme/lib.git", Version: "^1.2", To: filepath.Join(dir, "lib"), Keep: 5,
			Source: Source{FromFile, path, 12}},
	}
	testkit.Diff(t, c.Syncs(), want, cmpopts.IgnoreUnexported(Sync{}))
	found := false
	for _, e := range c.List() {
		if e.Key == "sync.site.branch" {
			found = e.Value == "deployment" && e.Source.Line == 6
		}
	}
	if !found {
		t.Errorf("%+v", c.List())
	}
}
