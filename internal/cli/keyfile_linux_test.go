package cli_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A key that root owns and our group may read is how a service is given one, by hand and
// by Kubernetes (fsGroup). It is nothing to warn of; where there is something, the hint
// leaves the key to this user.
func TestKeyOfRootThatOurGroupMayRead(t *testing.T) {
	t.Parallel()
	needsTwoUsers(t)
	for name, test := range map[string]struct {
		group int
		mode  fs.FileMode
		hint  string
	}{
		"given to the group":  {owner, 0o440, ""},
		"open to all as well": {owner, 0o444, "sudo chmod g-w,o= "},
		"open to all":         {0, 0o644, "sudo chown 64999 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.shared()
			key := m.environ["GHAPP_KEY"]
			testkit.OK(t, os.Chown(key, 0, test.group))
			m.mode(key, test.mode)
			r := m.must("token", "acme/site", "--no-cache")
			d := m.diagnosis(m.ghapp("doctor", "acme/site", "--json"))
			for _, f := range d.Findings {
				if f.Link != "key file" {
					continue
				}
				if warned := f.State == "warn"; warned != (test.hint != "") || !strings.HasPrefix(f.Hint, test.hint) {
					t.Errorf("doctor: %+v", f)
				}
			}
			if warned := strings.Contains(r.stderr, "is open to"); warned != (test.hint != "") ||
				!strings.Contains(r.stderr, test.hint) || strings.Contains(r.stderr, "run: chmod 600") {
				t.Errorf("%s", r.stderr)
			}
		})
	}
}
