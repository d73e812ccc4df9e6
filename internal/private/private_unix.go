//go:build unix

package private

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/text"
)

func check(dir string, info fs.FileInfo, uid int, access Access) error {
	refuse := func(why, hint string) error { return &Error{dir, why, hint} }
	word := "700"
	if access == Ours {
		word = "go-w"
	}
	switch owner := ownerOf(info); {
	case info.Mode()&fs.ModeSymlink != 0:
		return refuse("is a symbolic link", "name the directory it leads to")
	case !info.IsDir():
		return refuse("is not a directory", "remove it, or name another")
	case owner != uid:
		return refuse(fmt.Sprintf("belongs to user %d, not %d", owner, uid),
			"run ghapp as its owner, or name a directory of your own")
	case !closedTo(info, uid, access):
		return refuse(fmt.Sprintf("lets other users in (mode %04o)", info.Mode().Perm()),
			"run: chmod "+word+" "+text.ShellWord(dir))
	}
	return nil
}

// closedTo reports whether a file is a user's, and closed to others.
func closedTo(info fs.FileInfo, uid int, access Access) bool {
	closed := fs.FileMode(0o077)
	if access == Ours {
		closed = 0o022
	}
	return ownerOf(info) == uid && info.Mode().Perm()&closed == 0
}

// ownerOf is the user that a file belongs to; -1 where that cannot be told.
func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// mostLinks is how many links may lie on a way, as the kernel counts.
const mostLinks = 40

// Way returns an [*Error] where a user other than this one and root can put something in
// the place of a directory, or of one on the way to it: where one of them belongs to that
// user, or lets others write and has no sticky bit, with which names can be taken away
// only by who made them. Symbolic links on the way are followed, if they are this user's
// or root's. What is not there yet has nobody in it.
func Way(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	at, uid, links := "/", os.Geteuid(), 0
	ahead := strings.Split(dir, "/")
	for {
		info, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			if owner := ownerOf(info); owner != 0 && owner != uid {
				return &Error{at, fmt.Sprintf("is a symbolic link of user %d", owner), "name the directory that is meant"}
			}
			to, err := os.Readlink(at)
			if links++; err != nil || links > mostLinks {
				return errors.Join(err, &os.PathError{Op: "follow", Path: at, Err: syscall.ELOOP})
			}
			ahead = append(strings.Split(to, "/"), ahead...)
			if at = filepath.Dir(at); filepath.IsAbs(to) {
				at = "/"
			}
		case !info.IsDir():
			return &os.PathError{Op: "open", Path: at, Err: syscall.ENOTDIR}
		default:
			if err := step(at, info, uid); err != nil {
				return err
			}
		}
		for len(ahead) > 0 && (ahead[0] == "" || ahead[0] == ".") {
			ahead = ahead[1:]
		}
		if len(ahead) == 0 {
			return nil
		}
		at, ahead = filepath.Join(at, ahead[0]), ahead[1:]
	}
}

// step looks at one directory of a way.
func step(dir string, info fs.FileInfo, uid int) error {
	owner := ownerOf(info)
	if owner != 0 && owner != uid {
		return &Error{dir, fmt.Sprintf("belongs to user %d, who can put anything there", owner),
			"run ghapp as that user, or name a directory that is yours or root's"}
	}
	open := info.Mode().Perm() & 0o022
	if open == 0 || info.Mode()&fs.ModeSticky != 0 || onlyTrusted(dir, info, uid) {
		return nil
	}
	return &Error{dir, fmt.Sprintf("lets other users put anything there (mode %04o)", info.Mode().Perm()),
		"run: chmod +t " + text.ShellWord(dir)}
}

// Closed returns an [*Error] where a user other than this one and root owns a file, a
// directory or a symbolic link, or may write to it. That it has a sticky bit does not help:
// names may be added all the same. info is as of [os.Lstat].
func Closed(path string, info fs.FileInfo) error {
	uid := os.Geteuid()
	if owner := ownerOf(info); owner != 0 && owner != uid {
		return &Error{path, fmt.Sprintf("belongs to user %d", owner), "name one that is yours or root's"}
	}
	open := info.Mode().Perm() & 0o022
	if info.Mode()&fs.ModeSymlink != 0 || open == 0 || onlyTrusted(path, info, uid) {
		return nil
	}
	why := fmt.Sprintf("lets other users write to it (mode %04o)", info.Mode().Perm())
	return &Error{path, why, "run: chmod go-w " + text.ShellWord(path)}
}

// onlyTrusted reports whether besides the owner only a group of nobody else may write.
func onlyTrusted(path string, info fs.FileInfo, uid int) bool {
	// With an access list the bits of the group are those of everybody who is named in it.
	return info.Mode().Perm()&0o022 == 0o020 && trusted(info, uid) && !listsOthers(path, uid)
}

// trusted reports whether nobody is in a directory's group but its owner, and root: it is
// root's group, that of the administrators of macOS, or the owner's own. Where each user
// has a group alone, files are often writable for it (pam_umask(8), usergroups).
func trusted(info fs.FileInfo, uid int) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	const administrators = 80
	gid := int(stat.Gid)
	return gid == 0 || runtime.GOOS == "darwin" && gid == administrators ||
		gid == uid && int(stat.Uid) == uid && alone("/etc/group", "/etc/passwd", gid)
}

// alone reports whether files such as /etc/group and /etc/passwd (group(5), passwd(5)) give
// a group to no other user than the one of its name. One that they do not know may be
// anybody's: users can come from elsewhere, too (nsswitch.conf(5)).
func alone(groups, users string, gid int) bool {
	name, known := "", false
	err := eachLine(groups, func(fields []string) bool {
		if len(fields) != 4 || fields[2] != strconv.Itoa(gid) {
			return true
		}
		name, known = fields[0], true
		for _, member := range strings.Split(fields[3], ",") {
			known = known && (member == "" || member == name)
		}
		return known
	})
	if errors.Is(err, fs.ErrNotExist) {
		return true // as in many containers
	}
	if err != nil || !known {
		return false
	}
	err = eachLine(users, func(fields []string) bool {
		known = len(fields) < 4 || fields[3] != strconv.Itoa(gid) || fields[0] == name
		return known
	})
	return err == nil && known
}

// eachLine calls do with the fields of each line of a file until it returns false.
func eachLine(path string, do func(fields []string) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if !do(strings.Split(lines.Text(), ":")) {
			return nil
		}
	}
	return lines.Err()
}
