//go:build unix

package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Failure is how a pass has failed, for those who ask for the status of a directory while
// nobody tells them, or somewhere else than in the log.
type Failure struct {
	Message string    `json:"message"`
	Kind    string    `json:"kind"` // a short code, as in the errors of the command
	At      time.Time `json:"at"`
	// Again is when a watch tries again by itself. Zero: it does not, or nothing is watched.
	Again time.Time `json:"again,omitzero"`
}

func (t *Target) failureFile() string { return filepath.Join(t.base(), "failure.json") }

// Note remembers how a pass has failed, or with nil that one has ended well. The place for it is
// made for a directory that has never been published only where the caller wants that (first), and
// never where the directory above is missing.
func (t *Target) Note(failure *Failure, first bool) error {
	place := t.base()
	switch {
	case failure == nil:
		place = t.failureFile()
	case first:
		if _, err := t.Published(); err != nil {
			return nil // beside what is not ours nothing is made
		}
		place = filepath.Dir(t.Dir)
	}
	if _, err := os.Lstat(place); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := t.guard(); err != nil {
		return err
	}
	if failure == nil {
		return os.Remove(t.failureFile())
	}
	if err := os.Mkdir(t.base(), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return replaceJSON(t.failureFile(), failure)
}

// failure is what was noted last; nil where that is nothing.
func (t *Target) failure() (*Failure, error) {
	data, err := os.ReadFile(t.failureFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	failure := &Failure{}
	if err := json.Unmarshal(data, failure); err != nil {
		return nil, fmt.Errorf("read %s: %w", t.failureFile(), err)
	}
	return failure, nil
}
