//go:build unix

package deploy

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// A file of Git LFS that could not be had is left as its pointer where lfs.skipdownloaderrors
// says so, which .lfsconfig may do as well, and git is content. A directory that is kept with
// the large files is not to show a pointer instead of one.

// mostPointer is the size of the largest pointer, in bytes
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
const mostPointer = 1024

// pointers are the paths of a part, made in dir, where Git LFS was to put a large file and
// has left its pointer. A file that only looks like one is none.
func (s *store) pointers(ctx context.Context, dir, index string, list []entry) ([]string, error) {
	if !s.LFS {
		return nil, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var likely []string
	for _, e := range list {
		if e.absent || e.mode != modeFile && e.mode != modeProgram || e.size == 0 || e.size > mostPointer {
			continue
		}
		like, err := isPointer(root, e)
		if err != nil {
			return nil, err
		}
		if like {
			likely = append(likely, e.path)
		}
	}
	git := s.git()
	git.Repository.Index = index
	var found []string
	for some := range slices.Chunk(likely, 500) {
		args := append([]string{"check-attr", "--cached", "-z", "filter", "--"}, some...)
		out, err := git.Output(ctx, gitcmd.Scope{}, args...)
		if err != nil {
			return nil, err
		}
		// The path, the attribute, and its value, each with a NUL after it.
		fields := strings.Split(string(out), "\x00")
		for i := 0; i+2 < len(fields); i += 3 {
			if fields[i+2] == "lfs" {
				found = append(found, fields[i])
			}
		}
	}
	return found, nil
}

// isPointer reports whether a file is a pointer, as it stands in the repository.
func isPointer(root *os.Root, e entry) (bool, error) {
	file, err := root.Open(e.path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostPointer+1))
	if err != nil {
		return false, err
	}
	if !strings.HasPrefix(string(text), "version https://git-lfs.github.com/spec/") &&
		!strings.HasPrefix(string(text), "version https://hawser.github.com/spec/") {
		return false, nil
	}
	var sum hash.Hash = sha1.New()
	if len(e.object) == hex.EncodedLen(sha256.Size) {
		sum = sha256.New()
	}
	fmt.Fprintf(sum, "blob %d\x00%s", len(text), text)
	return hex.EncodeToString(sum.Sum(nil)) == e.object, nil
}

// pointerError says which large files are not there.
func pointerError(id string, paths []string) error {
	text := fmt.Sprintf("%q is a pointer", paths[0])
	if more := len(paths) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return &Error{Problem: ErrPointer, Op: "build " + id, Err: fmt.Errorf("%s; the large file could not be had", text)}
}
