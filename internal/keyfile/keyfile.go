// Package keyfile looks at who may reach the file of a private key.
package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// Exposure says that users other than its owner may reach the file of a key.
type Exposure struct {
	Path string
	Mode fs.FileMode // of the file, links followed

	owner string // who it belongs to, where that is neither this user nor root
	hint  string
}

// String is one line: the file, who may reach it, its mode.
func (e Exposure) String() string {
	who := "its group"
	switch perm := e.Mode.Perm(); {
	case perm&0o006 != 0 && perm&0o060 != 0:
		who = "its group and every other user"
	case perm&0o006 != 0:
		who = "every other user"
	}
	if e.owner != "" {
		who += ", and belongs to " + e.owner
	}
	return fmt.Sprintf("private key in file %s is open to %s (mode %04o)", e.Path, who, e.Mode.Perm())
}

// Hint is one line: the command that ends it, and leaves the key to those who use it.
func (e Exposure) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	return "chmod 600 " + text.ShellWord(e.Path)
}

// Exposed returns an [Exposure] if the mode of the file at path lets its group or
// other users read or write it, else nil. A file of root's that a group may read, and
// neither change nor others read, is none: root has given it to that group, as
// Kubernetes does with fsGroup and systemd with a credential (whose list of access
// shows as rights of the group). It follows links, and has nothing to say of what is
// no regular file. On Windows, whose access lists have no such mode, it returns nil.
// The error is the operating system's, without the path: a key that was pasted in its place
// would be told with it.
func Exposed(path string) (*Exposure, error) {
	if runtime.GOOS == "windows" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil
	}
	return exposure(path, info.Mode(), belonging(info), mounted(path)), nil
}

// belongings are whose a file is, and who asks.
type belongings struct {
	known      bool // where the system tells
	owner      int
	group      int
	user       int // who asks
	userGroups []int
}

// byGroup reports whether the user reaches the file as one of its group.
func (b belongings) byGroup() bool {
	for _, group := range b.userGroups {
		if group == b.group {
			return true
		}
	}
	return false
}

// exposure decides by the mode. A hint must not take the key away from the user who is
// told of it, nor from a group that root has given it to.
func exposure(path string, mode fs.FileMode, b belongings, mounted bool) *Exposure {
	const (
		groupReads, groupWrites = 0o040, 0o020
		othersReach             = 0o006
	)
	perm := mode.Perm()
	ofRoot := b.known && b.owner == 0
	given := ofRoot && perm&groupReads != 0 // by root, to a group
	if perm&0o066 == 0 || given && perm&(groupWrites|othersReach) == 0 {
		return nil
	}
	e := &Exposure{Path: path, Mode: mode}
	if b.known && !ofRoot && b.owner != b.user && b.user != 0 {
		e.owner = fmt.Sprintf("user %d", b.owner)
	}
	name := text.ShellWord(path)
	switch {
	case mounted:
		e.hint = "give it another owner or mode where it is mounted from: in Kubernetes by fsGroup and defaultMode: 0400, " +
			"in Compose by uid and mode of the secret"
	case !b.known, b.user == b.owner && !ofRoot, b.user == 0 && !ofRoot:
		// The owner goes on reading it.
	case given && b.user == 0 && b.group != 0:
		e.hint = "chmod g-w,o= " + name
	case b.user == 0:
		// Nobody but root was meant.
	case given && b.byGroup():
		e.hint = "sudo chmod g-w,o= " + name
	default:
		e.hint = fmt.Sprintf("sudo chown %d %s && sudo chmod 600 %s", b.user, name, name)
	}
	return e
}
