//go:build unix

package deploy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// file is a file of a release as it was when the release was built. Size and time of a
// file are what any program that may write it can put back; its digest is not.
type file struct {
	path string
	mode uint32 // modeFile, modeProgram, modeSymlink; 0 for a pipe, a socket or a device
	time int64  // of its last change, in nanoseconds since 1970
	// digest is the SHA-256 of the file, or of the path in a symbolic link; "" where it
	// could not be read (a check may have made it as another user).
	digest string
	// checked says that the check has made it, or changed it: git would make another.
	checked bool
}

// contentsFile has the files of a release, in its record.
const contentsFile = "contents"

// saveContents writes down which files a release has.
func (t *Target) saveContents(id string, files []file) error {
	var b bytes.Buffer
	for _, f := range files {
		by := "git"
		if f.checked {
			by = "check"
		}
		// The path is last, and may have anything in it but a NUL.
		fmt.Fprintf(&b, "%s %o %d %s %s\x00", by, f.mode, f.time, f.digest, f.path)
	}
	return replace(filepath.Join(t.record(id), contentsFile), b.Bytes())
}

// contents are the files of a release as they were when it was built.
func (t *Target) contents(id string) ([]file, error) {
	name := filepath.Join(t.record(id), contentsFile)
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	files := make([]file, 0, bytes.Count(data, []byte{0}))
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		if line == "" {
			continue
		}
		f, err := parseFile(line)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: name, Err: err}
		}
		files = append(files, f)
	}
	return files, nil
}

func parseFile(line string) (f file, err error) {
	parts := strings.SplitN(line, " ", 5)
	if len(parts) != 5 || !local(parts[4]) {
		return f, fmt.Errorf("%q is no file", line)
	}
	mode, err := strconv.ParseUint(parts[1], 8, 32)
	if err == nil {
		f.time, err = strconv.ParseInt(parts[2], 10, 64)
	}
	f.checked, f.mode, f.digest, f.path = parts[0] == "check", uint32(mode), parts[3], parts[4]
	return f, err
}

// byPath is a list of files by their paths.
func byPath(files []file) map[string]file {
	m := make(map[string]file, len(files))
	for _, f := range files {
		m[f.path] = f
	}
	return m
}

// found is what lies at a path of a tree.
type found struct {
	file
	err error // there is nothing, or it cannot be looked at
}

// inspect reads the files of a tree, several at once. Directories are opened one by one and
// links are not followed, as others may write to a tree that is published. Files of the
// digests that are known are not read.
func inspect(root string, paths []string, known map[string]string) ([]found, error) {
	list := make([]found, len(paths))
	var group errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for i := range workers {
		from, to := len(paths)*i/workers, len(paths)*(i+1)/workers
		if from == to {
			continue
		}
		group.Go(func() error {
			w, err := newWalk(root, "")
			if err != nil {
				return err
			}
			defer w.close()
			buffer := make([]byte, 64<<10)
			for at := from; at < to; at++ {
				name := paths[at]
				dirs, err := w.enter(path.Dir(name))
				if err == nil {
					list[at].file, err = inspectFile(dirs[0], path.Base(name), known[name], buffer)
				}
				list[at].path, list[at].err = name, err
			}
			return nil
		})
	}
	return list, group.Wait()
}

// inspectFile reads one file of a directory. Its digest is not looked for where it is known.
func inspectFile(dir int, name, known string, buffer []byte) (f file, err error) {
	var stat unix.Stat_t
	if err := unix.Fstatat(dir, name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return f, err
	}
	seconds, nanos := stat.Mtim.Unix()
	f.time, f.digest = seconds*1e9+nanos, known
	switch uint32(stat.Mode) & unix.S_IFMT {
	case unix.S_IFLNK:
		f.mode = modeSymlink
		if known == "" {
			f.digest, err = digestLink(dir, name)
		}
	case unix.S_IFREG:
		f.mode = modeFile
		if uint32(stat.Mode)&0o100 != 0 {
			f.mode = modeProgram
		}
		if known == "" {
			f.digest, err = digestFile(dir, name, buffer)
		}
	case unix.S_IFDIR:
		err = unix.EISDIR
	}
	return f, err
}

func digestFile(dir int, name string, buffer []byte) (string, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	sum := sha256.New()
	for {
		n, err := unix.Read(fd, buffer)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "", err
		case n == 0:
			return hex.EncodeToString(sum.Sum(nil)), nil
		default:
			sum.Write(buffer[:n])
		}
	}
}

func digestLink(dir int, name string) (string, error) {
	text := make([]byte, unix.PathMax+1)
	n, err := unix.Readlinkat(dir, name, text)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text[:n])
	return hex.EncodeToString(sum[:]), nil
}

// allPaths are the paths of all that is in a tree but its directories.
func allPaths(root string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrPermission) && name != root:
			return nil // of a check that ran as another user
		case err != nil || d.IsDir():
			return err
		}
		rel, err := filepath.Rel(root, name)
		paths = append(paths, rel)
		return err
	})
	return paths, err
}

// unchanged returns an error that names the first file of a tree that is missing, or is
// not as it was. What else lies in the tree is passed over.
func unchanged(root string, files []file) error {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.path
	}
	list, err := inspect(root, paths, nil)
	if err != nil {
		return err
	}
	for i, now := range list {
		if err := now.differs(files[i]); err != nil {
			return err
		}
	}
	return nil
}

// differs returns an error where what was found is not a file as it was.
func (now found) differs(was file) error {
	switch {
	case errors.Is(now.err, fs.ErrNotExist), errors.Is(now.err, unix.ENOTDIR), errors.Is(now.err, unix.ELOOP):
		return fmt.Errorf("%q is missing", was.path)
	case was.digest == "" && now.mode == was.mode: // nobody could read it then
		return nil
	case now.err != nil && !errors.Is(now.err, unix.EISDIR):
		return fmt.Errorf("%q: %w", was.path, now.err)
	case now.err != nil || now.mode != was.mode || now.digest != was.digest:
		return fmt.Errorf("%q was changed", was.path)
	}
	return nil
}

// similarity is which share of a release's files is in a tree as it was, from 0 to 1.
func similarity(root string, files []file) float64 {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.path
	}
	list, err := inspect(root, paths, nil)
	if err != nil || len(list) == 0 {
		return 0
	}
	same := 0
	for i, now := range list {
		if now.differs(files[i]) == nil {
			same++
		}
	}
	return float64(same) / float64(len(list))
}
