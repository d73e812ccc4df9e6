// Package lfsstore reads and writes the large files of Git LFS as git-lfs keeps them below the
// directory of a repository, at lfs/objects/ab/cd/abcd…, by their SHA-256
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md). Nothing is asked of a server.
package lfsstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/regular"
)

// MostPointer is the size of the largest pointer, in bytes.
const MostPointer = 1024

// Pointer stands for a large file in a commit.
type Pointer struct {
	ID   string // the SHA-256 of the file, in hexadecimal digits
	Size int64  // of the file, in bytes
}

// ParsePointer reads the text of a file, and reports whether it is a pointer.
func ParsePointer(text []byte) (p Pointer, ok bool) {
	if len(text) > MostPointer || !bytes.HasPrefix(text, []byte("version https://git-lfs.github.com/spec/")) &&
		!bytes.HasPrefix(text, []byte("version https://hawser.github.com/spec/")) {
		return p, false
	}
	p.Size = -1
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "oid":
			p.ID, _ = strings.CutPrefix(value, "sha256:")
		case "size":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return p, false
			}
			p.Size = n
		}
	}
	return p, IsID(p.ID) && p.Size >= 0
}

// IsID reports whether text is the SHA-256 of a file, as git-lfs writes it.
func IsID(text string) bool {
	if len(text) != hex.EncodedLen(sha256.Size) {
		return false
	}
	return !strings.ContainsFunc(text, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') })
}

// Store is where the large files of a repository are.
type Store struct {
	// Dir is the directory of objects, of which each is in one of its own.
	Dir string
}

// Of is the Store of a bare repository, or of the .git of another.
func Of(gitDir string) *Store { return &Store{Dir: filepath.Join(gitDir, "lfs", "objects")} }

// Path is where a file is, or belongs. id is one for which [IsID] holds.
func (s *Store) Path(id string) string { return filepath.Join(s.Dir, id[:2], id[2:4], id) }

// List lists the files that are there, with their sizes. What is none of git-lfs's is passed over.
func (s *Store) List() ([]Pointer, error) {
	var list []Pointer
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !IsID(d.Name()) || path != s.Path(d.Name()) {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		list = append(list, Pointer{d.Name(), info.Size()})
		return nil
	})
	return list, err
}

// DamagedError is a large file whose bytes are not those that its name says.
type DamagedError struct{ ID string }

// Error is one line.
func (e *DamagedError) Error() string {
	return "the large file " + e.ID + " is damaged: its SHA-256 is another"
}

// Check reads a file, and returns a [*DamagedError] where its bytes are others; an error that wraps
// [fs.ErrNotExist] where there is none.
func (s *Store) Check(id string) error {
	file, err := regular.Open(s.Path(id))
	if err != nil {
		return err
	}
	defer file.Close()
	return copyChecked(io.Discard, file, id)
}

// Bad is where a file goes that is damaged: git-lfs(1) puts those there that its fsck finds.
func (s *Store) Bad(id string) string { return filepath.Join(filepath.Dir(s.Dir), "bad", id) }

// SetAside has a file that is damaged go to [Store.Bad], so that nobody takes it for what its name
// says. One that is whole, or not there, is left alone.
func (s *Store) SetAside(id string) error {
	err := s.Check(id)
	if !errors.As(err, new(*DamagedError)) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.Bad(id)), 0o777); err != nil {
		return err
	}
	return os.Rename(s.Path(id), s.Bad(id))
}

// Copy copies a file into another Store, unless that has it, and checks it on the way.
func (s *Store) Copy(id string, to *Store) error {
	if _, err := os.Lstat(to.Path(id)); err == nil {
		return nil
	}
	file, err := regular.Open(s.Path(id))
	if err != nil {
		return err
	}
	defer file.Close()
	return to.Put(id, file)
}

// Put puts in a file that r has, whole or not at all. A [*DamagedError] is that r has another.
func (s *Store) Put(id string, r io.Reader) error {
	path := s.Path(id)
	if err := s.checkWay(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	file, err := atomicfile.Begin(path, atomicfile.Options{Perm: 0o666})
	if err != nil {
		return err
	}
	defer file.Discard()
	if err := copyChecked(file, r, id); err != nil {
		return err
	}
	return file.Commit()
}

// checkWay refuses links between the directory of the repository and a file: they lead what is written elsewhere.
func (s *Store) checkWay(path string) error {
	for at := filepath.Dir(path); len(at) >= len(filepath.Dir(s.Dir)); at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			err = &fs.PathError{Op: "write below", Path: at, Err: errors.New("it is a symbolic link")}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	return nil
}

// copyChecked copies what has this SHA-256.
func copyChecked(w io.Writer, r io.Reader, id string) error {
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, sum), r); err != nil {
		return fmt.Errorf("the large file %s: %w", id, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != id {
		return &DamagedError{ID: id}
	}
	return nil
}
