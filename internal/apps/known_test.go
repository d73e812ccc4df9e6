package apps

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestKnownRepositoriesAreThoseOfTheConfigFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	testkit.OK(t, os.WriteFile(file, []byte(`
apps:
  one:
    app: 1
    key: app.pem
    repositories:
      acme/web: {contents: write}
      acme/*: {contents: write}
sync:
  site: {repository: acme/site, branch: main, to: /srv/site}
  again: {repository: ACME/Web, branch: main, to: /srv/web}
`), 0o600))
	o := New(Options{Environ: []string{"HOME=" + dir, "GHAPP_CONFIG=" + file}})
	testkit.Diff(t, o.KnownRepositories(), []string{"acme/site", "acme/web"})
}

func TestNoRepositoryIsKnownByAConfigFileThatCannotBeRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	testkit.OK(t, os.WriteFile(file, []byte("{"), 0o600))
	testkit.Equal(t, len(New(Options{Environ: []string{"GHAPP_CONFIG=" + file}}).KnownRepositories()), 0)
}
