//go:build unix

package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/text"
)

func TestExposed(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0o600: "", 0o400: "", 0o700: "", 0o711: "",
		0o660: "its group", 0o620: "its group", 0o604: "every other user", 0o602: "every other user",
		0o644: "its group and every other user", 0o666: "its group and every other user",
		0o642: "its group and every other user",
	} {
		path := filepath.Join(t.TempDir(), "my app.pem")
		testkit.OK(t, os.WriteFile(path, nil, mode))
		testkit.OK(t, os.Chmod(path, mode)) // whatever the umask
		link := filepath.Join(t.TempDir(), "link")
		testkit.OK(t, os.Symlink(path, link))
		for _, path := range []string{path, link} {
			exposure, err := Exposed(path)
			switch {
			case err != nil:
				t.Fatal(err)
			case want == "":
				testkit.Equal(t, exposure, nil, "mode %04o", mode)
			case exposure == nil:
				t.Errorf("mode %04o is not exposed", mode)
			default:
				if told := fmt.Sprintf("private key in file %s is open to %s (mode %04o)", path, want,
					mode); exposure.String() != told {
					t.Errorf("%q, want %q", exposure, told)
				}
				if hint := "chmod 600 " + text.ShellWord(path); exposure.Hint() != hint {
					t.Errorf("hint %q, want %q", exposure.Hint(), hint)
				}
			}
		}
	}
	testkit.Equal(t, testkit.Must(Exposed(t.TempDir()))(t), nil, "Exposed of a directory")
	if _, err := Exposed(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Exposed of a missing file: %v", err)
	}
}

// What is safe, and what is a hint, depends on whose the file is: a command that leaves
// the key to nobody who uses it is none.
func TestHintOfAnExposureLeavesTheKeyToItsUser(t *testing.T) {
	const me, mine, theirs = 1000, 1000, 2000
	for name, test := range map[string]struct {
		mode         fs.FileMode
		owner, group int
		user         int
		mounted      bool
		want         string // "": it is not exposed
	}{
		"our own":                                 {0o600, me, mine, me, false, ""},
		"our own, a group reads":                  {0o640, me, theirs, me, false, "chmod 600 k"},
		"our own, all read":                       {0o644, me, mine, me, false, "chmod 600 k"},
		"root's, our group reads (fsGroup)":       {0o440, 0, mine, me, true, ""},
		"root's, our group reads":                 {0o640, 0, mine, me, false, ""},
		"root's, a list of access (a credential)": {0o440, 0, 0, me, true, ""},
		"root's, our group writes":                {0o460, 0, mine, me, false, "sudo chmod g-w,o= k"},
		"root's, our group and all read":          {0o444, 0, mine, me, false, "sudo chmod g-w,o= k"},
		"root's, all read":                        {0o644, 0, theirs, me, false, "sudo chown 1000 k && sudo chmod 600 k"},
		"root's, all read, mounted": {0o644, 0, 0, me, true, "give it another owner or mode where it is " +
			"mounted from: in Kubernetes by fsGroup and defaultMode: 0400, in Compose by uid and mode of the secret"},
		"another's, our group reads":          {0o640, 2000, mine, me, false, "sudo chown 1000 k && sudo chmod 600 k"},
		"another's, all read":                 {0o644, 2000, theirs, me, false, "sudo chown 1000 k && sudo chmod 600 k"},
		"root asks, of a service's group":     {0o640, 0, theirs, 0, false, ""},
		"root asks, a service's group writes": {0o660, 0, theirs, 0, false, "chmod g-w,o= k"},
		"root asks, all read":                 {0o644, 0, 0, 0, false, "chmod 600 k"},
		"root asks, of a user's":              {0o644, me, mine, 0, false, "chmod 600 k"},
	} {
		b := belongings{known: true, owner: test.owner, group: test.group, user: test.user, userGroups: []int{test.user}}
		hint := ""
		if e := exposure("k", test.mode, b, test.mounted); e != nil {
			hint = e.Hint()
		}
		testkit.Equal(t, hint, test.want, "%s: hint", name)
	}
}

func TestExposedDoesNotTellAPastedKey(t *testing.T) {
	const pasted = "-----BEGIN RSA PRIVATE KEY----- canary"
	_, err := Exposed(pasted)
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v", err)
	}
}
