package private

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"golang.org/x/sys/unix"
)

// With an access list the bits of the group are those of everybody who is named in it, so
// that a directory of root's group can be anybody's.
func TestAccessListThatNamesOthersIsSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tag, may uint16
		id       uint32
		others   bool
	}{
		"a user who may write":    {0x02, 7, 65534, true},
		"a user who may read":     {0x02, 5, 65534, false},
		"a group that may write":  {0x08, 7, 65534, true},
		"root":                    {0x02, 7, 0, false},
		"the user of the process": {0x02, 7, uint32(os.Geteuid()), false},
	} {
		dir := t.TempDir()
		list := binary.LittleEndian.AppendUint32(nil, 2) // the version
		for _, e := range []struct {
			tag, may uint16
			id       uint32
		}{{0x01, 7, 1<<32 - 1}, {test.tag, test.may, test.id}, {0x04, 5, 1<<32 - 1},
			{0x10, 7, 1<<32 - 1}, {0x20, 5, 1<<32 - 1}} {
			list = binary.LittleEndian.AppendUint16(list, e.tag)
			list = binary.LittleEndian.AppendUint16(list, e.may)
			list = binary.LittleEndian.AppendUint32(list, e.id)
		}
		if err := unix.Setxattr(dir, "system.posix_acl_access", list, 0); err != nil {
			t.Skipf("no access lists here: %v", err)
		}
		testkit.Equal(t, listsOthers(dir, os.Geteuid()), test.others, "%s", name)
		info := testkit.Must(os.Lstat(dir))(t)
		testkit.Equal(t, info.Mode().Perm(), 0o775, "%s: the mode", name)
		if test.others {
			for what, err := range map[string]error{"Way": Way(dir), "Closed": Closed(dir, info)} {
				testkit.Fails(t, err, "%s: %s lets it pass", name, what)
			}
		}
	}
	if listsOthers(t.TempDir(), os.Geteuid()) {
		t.Error("a directory without a list names others")
	}
}
