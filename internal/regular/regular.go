// Package regular opens files that somebody else may have put where they are.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Open opens a regular file to read it. Anything else is an error: a pipe would have nobody go on, and a link leads
// elsewhere.
func Open(path string) (*os.File, error) {
	refused := &fs.PathError{Op: "open", Path: path, Err: errors.New("it is no regular file")}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, refused
	}
	file, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(refused, file.Close())
	}
	return file, nil
}

// Read reads a regular file, of which more bytes than most are an error.
func Read(path string, most int64) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has more than %d bytes", most)}
	}
	return content, err
}
