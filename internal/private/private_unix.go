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
	"slices"
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
		return refuse(fmt.Sprintf("belongs to user %d, not %d", owner, uid), "run ghapp as its owner, or name a directory of your own")
	case !closedTo(info, uid, access):
		return refuse(fmt.Sprintf("lets other users in (mode %04o)", info.Mode().Perm()), "run: chmod "+word+" "+text.ShellWord(dir))
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
		return &Error{dir, fmt.Sprintf("belongs to user %d, who can put anything there", owner), "run ghapp as that user, or name a directory that is yours or root's"}
	}
	open := info.Mode().Perm() & 0o022
	if open == 0 || info.Mode()&fs.ModeSticky != 0 || open == 0o020 && trusted(info, uid) {
		return nil
	}
	return &Error{dir, fmt.Sprintf("lets other users put anything there (mode %04o)", info.Mode().Perm()), "run: chmod +t " + text.ShellWord(dir)}
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
		gid == uid && int(stat.Uid) == uid && alone("/etc/group", gid)
}

// alone reports whether a file such as /etc/group (group(5)) names no members of a group,
// other than a user of its name.
func alone(path string, gid int) bool {
	file, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) // as in many containers
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) != 4 || fields[2] != strconv.Itoa(gid) {
			continue
		}
		return !slices.ContainsFunc(strings.Split(fields[3], ","), func(name string) bool { return name != "" && name != fields[0] })
	}
	return lines.Err() == nil
}
