package signer

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// File reads a private key from the file at path, as [Parse] does from text. It
// reads at most 64 KiB, from a regular file only: a pipe or a device is refused
// and not waited for. The error is a [*KeyError].
func File(path string) (*Key, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	key, err := parse(text)
	if err != nil {
		err.Source, err.path = source(path), path
		return nil, err
	}
	return key, nil
}

func source(path string) string { return "file " + path }

func readFile(path string) ([]byte, *KeyError) {
	// No file of a key has such a name; a key given as a path has line breaks.
	if path == "" || strings.ContainsFunc(path, func(r rune) bool { return !text.IsPrintable(r) }) {
		return nil, notPath()
	}
	// Without O_NONBLOCK, opening a named pipe waits for its writer. It changes
	// nothing for regular files, and Windows ignores it.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fileError(path, err)
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil, &KeyError{Problem: errDirectory, Source: source(path), path: path}
	case !mode.IsRegular():
		return nil, &KeyError{Problem: errNotRegular, Source: source(path), path: path}
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, fileError(path, err)
	}
	return text, nil
}

func notPath() *KeyError { return &KeyError{Problem: errNotPath, Source: "the given path"} }

// fileError explains an error of the operating system. It names path only where
// that is no secret itself: keys do get pasted where a path is expected.
func fileError(path string, err error) *KeyError {
	if isSecret(path) {
		return notPath()
	}
	e := &KeyError{Problem: errUnreadable, Source: source(path), Err: err, path: path}
	// The path is in Source already.
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		e.Err = pathErr.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Problem = ErrMissing
	case errors.Is(err, syscall.ENXIO): // what opening a socket gives
		e.Problem = errNotRegular
	}
	return e
}

// isSecret reports whether the name of a file that cannot be opened is rather the
// text of a key or a token, as it is or with a directory before it, which a relative path
// has got on its way here.
func isSecret(path string) bool {
	name := absent(path)
	// A line out of a key's middle. Few paths have all of this and no dot.
	if len(name) >= 60 && strings.ContainsAny(name, "0123456789") &&
		strings.ContainsFunc(name, unicode.IsUpper) && unwrap(name) != nil {
		return true
	}
	_, err := parse([]byte(path))
	return err == nil || !slices.Contains([]Problem{errUnknown, errPath, errAppID, errUnexpanded, errEmpty}, err.Problem)
}

// absent is what remains of a path after the directories that are there.
func absent(path string) string {
	rest := path
	for i := range len(path) {
		if !os.IsPathSeparator(path[i]) {
			continue
		}
		if info, err := os.Stat(path[:i+1]); err != nil || !info.IsDir() {
			break
		}
		rest = path[i+1:]
	}
	return rest
}
