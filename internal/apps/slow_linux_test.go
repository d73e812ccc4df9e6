package apps

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The holder of one App's key may take its time, or a person's.
func TestSlowKeyOfOneAppDoesNotHoldUpTheOthers(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "slow")
	text := "#!/bin/sh\n>>'" + dir + "/asked'\nwhile ! test -e '" + dir + "/release'; do sleep 0.05; done\nexit 1\n"
	testkit.OK(t, os.WriteFile(program, []byte(text), 0o700))
	defer func() { _ = os.WriteFile(filepath.Join(dir, "release"), nil, 0o600) }()
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testkit.Key(t))})
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "app.pem"), key, 0o600))
	o := New(Options{Environ: []string{"HOME=" + dir, "GHAPP_APP=1", "GHAPP_KEY=" + filepath.Join(dir, "app.pem")}})
	settings := testkit.Must(o.Settings(ghapp.RepositoryName{}))(t)
	settings.Key = config.Value{Text: "exec:" + program}
	settings.KeyTimeout = config.Value{Text: "1m"}

	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() {
		_, err := o.openOnce(ctx, settings, ghapp.RepositoryName{})
		opened <- err
	}()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "asked")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the program was not asked")
		}
	}
	testkit.Must(o.App(t.Context(), ghapp.RepositoryName{}))(t)
	select {
	case err := <-opened:
		t.Fatalf("the slow key was opened meanwhile: %v", err)
	default:
	}
	cancel() // who asked waits no longer
	testkit.ErrorIs(t, <-opened, context.Canceled)
}
