package ghapp_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestAllPermissionsAreThoseGrantedByNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		all := ghapp.TokenRequest{Repositories: []string{"acme/site"}, AllPermissions: true}
		process := func() *ghapp.App { return w.Open(t, func(c *ghapp.Config) { c.Store = store }) }
		long := process()
		source := long.TokenSource(all)
		first := mustToken(t, long, all)
		testkit.Must(source.Token(t.Context()))(t)
		if token := mustToken(t, process(), all); token.Secret.Reveal() != first.Secret.Reveal() {
			t.Error("a token with all that is granted is not used again")
		}
		w.Installation.SetPermissions(map[string]string{"contents": "write", "metadata": "read"})
		second := mustToken(t, process(), all)
		if second.Permissions.String() != "contents:write,metadata:read" {
			t.Errorf("after more was accepted a process is given %s", second.Permissions)
		}
		// A process that runs on sees it within a minute.
		time.Sleep(time.Minute)
		if token := mustToken(t, long, all); token.Secret.Reveal() != second.Secret.Reveal() {
			t.Errorf("a process that runs has %s", token.Permissions)
		}
		if token, err := source.Token(t.Context()); err != nil || token.Secret.Reveal() != second.Secret.Reveal() {
			t.Errorf("its source has %v (%v)", token, err)
		}
		// Less is less.
		w.Installation.SetPermissions(map[string]string{"contents": "read", "metadata": "read"})
		if token := mustToken(t, process(), all); token.Permissions.String() != "contents:read,metadata:read" {
			t.Errorf("after less was accepted a process is given %s", token.Permissions)
		}
		testkit.Equal(t, w.GitHub.Mints(), 3, "tokens were minted")
		// Named permissions are looked at by nobody.
		before := len(w.GitHub.Requests())
		mustToken(t, process(), site())
		mustToken(t, process(), site())
		testkit.Equal(t, len(w.GitHub.Requests())-before, 1, "a token for what is named took")
	})
}
