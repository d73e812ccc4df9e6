package agentserver

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// oneApp is a config file of one App, whose key is KEY.
const oneApp = `apps:
  deploy: {app: APP, key: KEY, host: "ORIGIN", owners: [acme]}
`

// rewrite replaces text in the config file, as editors do.
func (s *service) rewrite(old, new string) {
	s.t.Helper()
	text := testkit.Must(os.ReadFile(s.path))(s.t)
	testkit.OK(s.t, os.WriteFile(s.path+".new", []byte(strings.Replace(string(text), old, new, 1)), 0o600))
	testkit.OK(s.t, os.Rename(s.path+".new", s.path))
}

// All who ask after a change are answered by the new configuration, which is read once.
func TestChangedConfigurationIsReadOnceForAllWhoAsk(t *testing.T) {
	t.Parallel()
	s := newService(t, strings.Replace(oneApp, "KEY", "app.pem", 1))
	before := s.now.Load()
	s.putKey("later.pem")
	s.rewrite("app.pem", "later.pem")
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			if err := s.ask(); err != nil {
				t.Error(err)
			}
			if s.now.Load() == before {
				t.Error("the answer is that of the configuration before")
			}
		})
	}
	asking.Wait()
	now := s.now.Load()
	if err := s.ask(); err != nil || s.now.Load() != now {
		t.Errorf("it was read once more: %v", err)
	}
}

// Whoever holds the key of the new configuration may take his time, or a person's.
func TestSlowKeyOfAChangedConfigurationHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := newService(t, strings.Replace(oneApp, "KEY", "app.pem", 1))
	program, release := filepath.Join(s.dir, "slow"), filepath.Join(s.dir, "release")
	text := "#!/bin/sh\nwhile ! test -e '" + release + "'; do sleep 0.05; done\nexit 1\n"
	testkit.OK(t, os.WriteFile(program, []byte(text), 0o700))
	before := s.now.Load()
	s.rewrite("app.pem", "'exec:"+program+"', key_timeout: 60s")
	for range 20 { // but for the first, nobody waits
		testkit.OK(t, s.ask())
	}
	if s.now.Load() != before || s.upToDate() {
		t.Error("a key that was not opened is in use")
	}
	testkit.OK(t, os.WriteFile(release, nil, 0o600))
	for deadline := time.Now().Add(time.Minute); !s.upToDate(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the reading does not end")
		}
	}
	// It has failed, since the only App has no key: what was serves on.
	if err := s.ask(); err != nil || s.now.Load() != before {
		t.Errorf("%v", err)
	}
}
