package clonetest

import (
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

func TestMain(m *testing.M) {
	code := m.Run()
	Clean()
	os.Exit(code)
}

// A key that ghapp has in its memory is found there, and nowhere else: what finds none
// elsewhere would find it.
func TestAKeyInMemoryIsFound(t *testing.T) {
	key := testkit.Must(rsa.GenerateKey(rand.Reader, 2048))(t)
	m := New(t, key)
	path := filepath.Join(t.TempDir(), "app.pem")
	testkit.OK(t, os.WriteFile(path, m.PEM(), 0o600))
	found := m.clone(path)
	if !found.had["ghapp"] {
		t.Errorf("the key was not found in the memory of ghapp: %v", found.had)
	}
	if had, seen := found.had["git"]; had || !seen {
		t.Errorf("the key was found in the memory of git, or that was not searched: %v", found.had)
	}
	if _, seen := found.had[signer.KMSProgram]; seen {
		t.Error("ghapp-signer-kms was started for a file")
	}
	m.noKeyOnDisk()
}
