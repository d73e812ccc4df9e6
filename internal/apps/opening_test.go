package apps

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// newOfOwners is an Opener whose config file has one App for the owners acme and octo, and
// whose key is at the path returned, which is not there yet. It counts the openings, each of
// which takes a second.
func newOfOwners(t *testing.T) (o *Opener, openings *atomic.Int32, key string) {
	t.Helper()
	dir := t.TempDir()
	key = filepath.Join(dir, "app.pem")
	file := filepath.Join(dir, "config.yaml")
	text := "apps:\n  one: {app: 1, key: " + key +
		", owners: [acme, octo]}\n  two: {app: 2, key: " + key + ", owners: [other]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	openings = &atomic.Int32{}
	return New(Options{
		Environ: []string{"HOME=" + dir, "GHAPP_CONFIG=" + file},
		NoCache: true,
		Observe: func(next http.RoundTripper) http.RoundTripper {
			openings.Add(1)
			time.Sleep(time.Second)
			return next
		},
	}), openings, key
}

func putHeldKey(t *testing.T, path string) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testkit.Key(t))})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// open opens the App of an owner, which must succeed.
func open(t *testing.T, o *Opener, owner string) *App {
	t.Helper()
	app, err := o.App(t.Context(), ghapp.RepositoryName{Owner: owner})
	if err != nil {
		t.Error(err)
	}
	return app
}

// The tokens of an App stand in it where no cache holds them: opened twice, it would have
// GitHub mint twice.
func TestAppOfSeveralOwnersIsOpenedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, openings, key := newOfOwners(t)
		putHeldKey(t, key)
		first := open(t, o, "acme")
		for _, owner := range []string{"acme", "ACME", "octo", "Octo"} {
			if open(t, o, owner) != first {
				t.Errorf("%s has another", owner)
			}
		}
		if n := openings.Load(); n != 1 {
			t.Errorf("it was opened %d times", n)
		}
		if open(t, o, "other") == first {
			t.Error("two Apps are taken for one")
		}
	})
}

func TestAppOfSeveralOwnersIsOpenedOnceAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, openings, key := newOfOwners(t)
		putHeldKey(t, key)
		var opened sync.Map
		var asking sync.WaitGroup
		for range 10 {
			for _, owner := range []string{"acme", "octo"} {
				asking.Go(func() { opened.Store(open(t, o, owner), true) })
			}
		}
		asking.Wait()
		different := 0
		opened.Range(func(any, any) bool { different++; return true })
		if n := openings.Load(); n != 1 || different != 1 {
			t.Errorf("it was opened %d times, and those who asked have %d Apps", n, different)
		}
	})
}

func TestFailedOpeningIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, openings, key := newOfOwners(t)
		for _, owner := range []string{"acme", "octo"} {
			if app, err := o.App(t.Context(), ghapp.RepositoryName{Owner: owner}); err == nil || app != nil {
				t.Errorf("%s: an App without its key was opened: %v, %v", owner, app, err)
			}
		}
		if list := o.Apps(); len(list) != 0 {
			t.Errorf("%d Apps are open", len(list))
		}
		putHeldKey(t, key)
		if open(t, o, "acme") == nil || open(t, o, "octo") != open(t, o, "acme") || openings.Load() != 1 {
			t.Errorf("it is not opened now that its key is there; %d openings", openings.Load())
		}
	})
}
