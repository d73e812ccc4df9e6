// Package reread follows files that others replace while a process runs: certificates, their
// keys, and the authorities of others, which are renewed every few weeks or hours.
package reread

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// maxSize is more than any certificate, key or bundle of authorities needs.
const maxSize = 4 << 20

// every is how long files are taken for unchanged after they were looked at.
const every = time.Second

// Files is what some files hold, read anew when one of them has changed. What cannot be read
// or makes no sense changes nothing: half of a pair may be replaced already, and the other half
// not yet. It is safe for concurrent use.
type Files[T any] struct {
	paths []string
	parse func(contents [][]byte) (T, error)

	mu     sync.Mutex
	looked time.Time
	stamps []stamp
	value  T
	err    error // of the last look, nil where it went well
}

// stamp is what changes with a file.
type stamp struct {
	modified time.Time
	size     int64
	info     os.FileInfo
}

// Open reads the files for the first time. parse gets their contents in the same order.
func Open[T any](parse func(contents [][]byte) (T, error), paths ...string) (*Files[T], error) {
	f := &Files[T]{paths: paths, parse: parse}
	if err := f.read(); err != nil {
		return nil, err
	}
	f.looked = time.Now()
	return f, nil
}

// Get returns what the files hold, or held when they last made sense.
func (f *Files[T]) Get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= every {
		f.looked = now
		if f.changed() || f.err != nil {
			f.err = f.read()
		}
	}
	return f.value
}

// Err is why the files could not be read when they were last looked at, nil where they could.
func (f *Files[T]) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *Files[T]) changed() bool {
	for n, path := range f.paths {
		info, err := os.Stat(path)
		if err != nil {
			return true
		}
		was := f.stamps[n]
		if !info.ModTime().Equal(was.modified) || info.Size() != was.size || !os.SameFile(info, was.info) {
			return true
		}
	}
	return false
}

func (f *Files[T]) read() error {
	contents, stamps := make([][]byte, len(f.paths)), make([]stamp, len(f.paths))
	for n, path := range f.paths {
		var err error
		if contents[n], stamps[n], err = readFile(path); err != nil {
			return err
		}
	}
	value, err := f.parse(contents)
	if err != nil {
		return fmt.Errorf("%s: %w", f.paths[0], err)
	}
	f.value, f.stamps = value, stamps
	return nil
}

func readFile(path string) ([]byte, stamp, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, stamp{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(content) > maxSize {
		err = fmt.Errorf("%s: over %d bytes", path, maxSize)
	}
	return content, stamp{info.ModTime(), info.Size(), info}, err
}
