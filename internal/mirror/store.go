package mirror

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// State is what is remembered.
type State struct {
	Host          string // of all repositories; "": nothing is remembered yet
	Installations map[int64]*Installation
	Repositories  map[int64]*Record // by GitHub's ID
	// Scanned says that what was remembered is lost, and that this is what the mirrors themselves tell.
	Scanned  bool
	LastPass *LastPass // nil: none came so far that there is something to remember
}

// Store is the file of a [State]. It is opened for the moment of a reading or a writing, so that
// it can be read while a process runs that keeps the mirrors.
type Store struct {
	// Path is the file.
	Path string
}

const (
	// own is the directory of what is ours, in that of all mirrors.
	own = ".ghapp"
	// openPatience is how long another may have the file open.
	openPatience = 10 * time.Second
	// format is that of what is in the file. Another one is not read.
	format = "1"
)

// StoreOf is the Store of a directory of mirrors.
func StoreOf(dir string) *Store { return &Store{Path: filepath.Join(dir, own, "state.db")} }

// The parts of the file. Records are JSON, by ID.
var (
	metaBucket         = []byte("meta")
	repositoryBucket   = []byte("repositories")
	installationBucket = []byte("installations")
	lastPassKey        = []byte("last_pass") // of meta
)

// ErrState is a file that cannot be read as a [State].
var ErrState = errors.New("what is remembered of the mirrors cannot be read")

// Read reads everything. Where there is no file, nothing is remembered. A file that is damaged
// is an error that wraps [ErrState].
func (s *Store) Read() (state *State, err error) {
	state = &State{Installations: map[int64]*Installation{}, Repositories: map[int64]*Record{}}
	switch info, err := os.Stat(s.Path); {
	case errors.Is(err, fs.ErrNotExist):
		return state, nil
	case err == nil && !info.Mode().IsRegular(): // of a pipe, the opening would have no end
		return state, fmt.Errorf("%w: %s is no file", ErrState, s.Path)
	case err == nil && info.Size() == 0: // bbolt would write to it
		return state, fmt.Errorf("%w: %s is empty", ErrState, s.Path)
	}
	// The list of free pages is only needed to write: read now, it does not fail when that is too late.
	err = s.open(&bbolt.Options{Timeout: openPatience, ReadOnly: true, PreLoadFreelist: true}, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			meta := tx.Bucket(metaBucket)
			if meta == nil {
				return nil
			}
			if got := string(meta.Get([]byte("format"))); got != format {
				return fmt.Errorf("%w: its format is %q, and that of this ghapp %q", ErrState, got, format)
			}
			state.Host = string(meta.Get([]byte("host")))
			if last := meta.Get(lastPassKey); last != nil && json.Unmarshal(last, &state.LastPass) != nil {
				return fmt.Errorf("%w: what it says of the last pass is damaged", ErrState)
			}
			return errors.Join(readAll(tx, installationBucket, state.Installations),
				readAll(tx, repositoryBucket, state.Repositories), checkPlaces(state.Repositories))
		})
	})
	return state, err
}

func readAll[T any](tx *bbolt.Tx, bucket []byte, into map[int64]*T) error {
	b := tx.Bucket(bucket)
	if b == nil {
		return nil
	}
	return b.ForEach(func(key, value []byte) error {
		var one T
		if len(key) != 8 || json.Unmarshal(value, &one) != nil {
			return fmt.Errorf("%w: an entry is damaged", ErrState)
		}
		into[int64(binary.BigEndian.Uint64(key))] = &one
		return nil
	})
}

// checkPlaces refuses records that lead elsewhere than to where mirrors are: the file may have come with a directory
// that somebody else has made, and what it names is moved and taken away.
func checkPlaces(records map[int64]*Record) error {
	for id, r := range records {
		if r.ID != id || r.Name != "" && !isPlace(r.wanted()) ||
			r.Path != "" && !isPlace(r.Path) && !r.waits() {
			return fmt.Errorf("%w: the entry of %d names a place that is none of a mirror", ErrState, id)
		}
	}
	return nil
}

// isPlace reports whether a path is one at which [scanMirrors] looks for mirrors, and nothing in it leads elsewhere.
func isPlace(path string) bool {
	owner, file, ok := strings.Cut(filepath.ToSlash(path), "/")
	name, bare := strings.CutSuffix(file, ".git")
	return ok && bare && owner != "" && owner[0] != '.' && name != "" && !strings.Contains(file, "/") &&
		filepath.IsLocal(path)
}

// changes are what is to be written of a [State]. A nil value deletes.
type changes struct {
	installations map[int64]*Installation
	repositories  map[int64]*Record
	pass          *LastPass // nil: as it was
}

// write writes some of a State, all or nothing, on the disk when it returns.
func (s *Store) write(host string, c changes) error {
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o777); err != nil {
		return err
	}
	return s.open(&bbolt.Options{Timeout: openPatience}, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			meta, err := tx.CreateBucketIfNotExists(metaBucket)
			if err == nil {
				err = errors.Join(meta.Put([]byte("format"), []byte(format)), meta.Put([]byte("host"), []byte(host)))
			}
			if err == nil && c.pass != nil {
				var last []byte
				if last, err = json.Marshal(c.pass); err == nil {
					err = meta.Put(lastPassKey, last)
				}
			}
			return errors.Join(err, writeAll(tx, installationBucket, c.installations),
				writeAll(tx, repositoryBucket, c.repositories))
		})
	})
}

func writeAll[T any](tx *bbolt.Tx, bucket []byte, from map[int64]*T) error {
	b, err := tx.CreateBucketIfNotExists(bucket)
	if err != nil {
		return err
	}
	for id, one := range from {
		key := binary.BigEndian.AppendUint64(nil, uint64(id))
		if one == nil {
			if err := b.Delete(key); err != nil {
				return err
			}
			continue
		}
		value, err := json.Marshal(one)
		if err == nil {
			err = b.Put(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens the file while work works with it. bbolt panics over some of what a disk may have
// done to a file.
func (s *Store) open(o *bbolt.Options, work func(*bbolt.DB) error) (err error) {
	var db *bbolt.DB
	// Of a file that was cut short, reading its memory is a fault, which is a panic for the moment.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if damaged := recover(); damaged != nil {
			err = fmt.Errorf("%w: %s: %v", ErrState, s.Path, damaged)
		}
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	db, err = bbolt.Open(s.Path, 0o666, o)
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return fmt.Errorf("another process has had %s open for %s", s.Path, openPatience)
	case err != nil && !errors.As(err, new(*fs.PathError)):
		return fmt.Errorf("%w: %s: %w", ErrState, s.Path, err)
	case err != nil:
		return err
	}
	return work(db)
}

// setAside renames a file that cannot be read, so that there is one that can be.
func (s *Store) setAside(now time.Time) (string, error) {
	aside := s.Path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	return aside, os.Rename(s.Path, aside)
}
