package keystore

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A program that takes a key in is told of that key on its standard input, and of none
// besides: neither of those that ghapp itself has in variables, nor of a copy of this one.
func TestProgramThatTakesAKeyInGetsNoOtherSecret(t *testing.T) {
	der := x509.MarshalPKCS1PrivateKey(testkit.Key(t))
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der}))
	o := apps.New(apps.Options{Environ: []string{
		"HOME=" + t.TempDir(), "PATH=/bin", "GHAPP_APP=1", "GHAPP_KEY=env:IN_USE", "IN_USE=the key that is in use",
		"COPY_OF_THAT=the key that is in use", "GHAPP_WEBHOOK_SECRET=the secret of a webhook",
		"HOOK=the secret of a webhook", "IMPORTED=" + text, "COPY=" + text,
	}})
	i, err := PrepareImport(t.Context(), o, "env:IMPORTED", ImportOptions{To: "exec:/bin/false"})
	testkit.OK(t, err)
	var names []string
	for _, entry := range i.options.ImportOptions.Environ {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	testkit.Diff(t, names, []string{"HOME", "PATH", "GHAPP_APP", "GHAPP_KEY"})
}
