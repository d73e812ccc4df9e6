package agentserver

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Who has stopped it may start another at once.
func TestStopMakesPlaceBeforeItAnswers(t *testing.T) {
	dir, err := os.MkdirTemp("", "stop-") // a short name, since those of sockets are bounded
	testkit.OK(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ghapp", "agent.sock")
	listener := testkit.Must(agent.ListenAt(path))(t)
	stopped := false
	h := &Server{listener: listener, stop: func() { stopped = true }}
	if err := h.Stop(t.Context()); err != nil || !stopped {
		t.Errorf("Stop() = %v, ends: %t", err, stopped)
	}
	next := testkit.Must(agent.ListenAt(path))(t)
	testkit.OK(t, next.Close())
}

// service is an agent for the App of a holding, with a GitHub behind a socket.
type service struct {
	*holding
	*Server
	host, dir string
}

// newService starts one by variables, or by a config file, whose text is given the
// origin and the client ID.
func newService(t *testing.T, config string) *service {
	t.Helper()
	s := &service{holding: newHolding(t), dir: t.TempDir()}
	t.Cleanup(s.tokens.close)
	server := httptest.NewServer(s.github)
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	s.putKey("app.pem")
	environ := []string{"HOME=" + s.dir}
	if config == "" {
		environ = append(environ, "GHAPP_HOST="+server.URL, "GHAPP_APP="+s.app.Status().Issuer,
			"GHAPP_KEY="+filepath.Join(s.dir, "app.pem"))
	} else {
		path := filepath.Join(s.dir, "config.yaml")
		if err := os.WriteFile(path,
			[]byte(strings.NewReplacer("ORIGIN", server.URL, "APP", s.app.Status().Issuer).Replace(config)), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append(environ, "GHAPP_CONFIG="+path)
	}
	var err error
	if s.Server, err = New(t.Context(), apps.New(apps.Options{Environ: environ}), Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// putKey writes the App's key to a file.
func (s *service) putKey(name string) {
	s.t.Helper()
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testkit.Key(s.t))})
	testkit.OK(s.t, os.WriteFile(filepath.Join(s.dir, name), key, 0o600))
}

func (s *service) ask() error {
	answer, err := s.Credential(s.t.Context(), credential.Get,
		&credential.Credential{Protocol: "http", Host: s.host, Path: "acme/site.git"})
	if err == nil && (answer == nil || answer.Password.IsZero()) {
		err = errors.New("the answer holds no token")
	}
	return err
}

// What it answers by may be replaced at any moment.
func TestManyAskWhileTheConfigurationIsReadAnew(t *testing.T) {
	s := newService(t, "")
	var working sync.WaitGroup
	const askers, times = 20, 5
	for range askers {
		working.Go(func() {
			for range times {
				if err := s.ask(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Go(func() {
		for range times {
			if err := s.configure(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	working.Wait()
	if s.github.Mints() != 1 || s.minted.Load() != 1 || s.answered.Load() != askers*times {
		t.Errorf("%d mints, %d counted, %d answers", s.github.Mints(), s.minted.Load(), s.answered.Load())
	}
}

func TestAppWhoseKeyComesLaterIsOpenedWhenItIsAskedFor(t *testing.T) {
	s := newService(t, `apps:
  later: {app: APP, key: later.pem, host: "ORIGIN", owners: [acme]}
  other: {app: APP, key: app.pem, host: "ORIGIN", owners: [octo]}
`)
	testkit.ErrorContains(t, s.ask(), "later.pem: missing")
	s.putKey("later.pem")
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			if err := s.ask(); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	testkit.Equal(t, len(s.now.Load().list()), 2, "it")
	testkit.Equal(t, s.refused.Load(), 1)
	testkit.Equal(t, s.answered.Load(), 20)
}

// The end may come while an App of several is opened: it says nothing about that App, and what
// was read by then does not take the place of what served.
func TestEndDuringAReloadChangesNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the program that holds the key is a script")
	}
	s := newService(t, "apps:\n  one: {app: APP, host: ORIGIN, key: app.pem}\n")
	before := s.now.Load()
	asked, program := filepath.Join(s.dir, "asked"), filepath.Join(s.dir, "program")
	testkit.OK(t, os.WriteFile(program, []byte("#!/bin/sh\n: >"+asked+"\nexec sleep 60\n"), 0o700))
	path := filepath.Join(s.dir, "config.yaml")
	host := ", host: 'http://" + s.host + "', "
	text := "apps:\n  one: {app: " + s.app.Status().Issuer + host + "key: app.pem, owners: [acme]}\n" +
		"  two: {app: 2" + host + "key: 'exec:" + program + "', owners: [other]}\n"
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
	ended, end := context.WithCancel(t.Context())
	defer end()
	go func() {
		for ended.Err() == nil {
			if _, err := os.Stat(asked); err == nil {
				end()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	testkit.ErrorIs(t, s.configure(ended), context.Canceled)
	testkit.Equal(t, s.now.Load() == before, true, "the configuration before serves on")
}
