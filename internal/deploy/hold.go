//go:build unix

package deploy

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// hold repeats, outside of the record of a release, which commits are not to be published while
// that release is, so that a record that is lost does not publish what somebody has rolled back
// from.
type hold struct {
	Release string    `json:"release"` // for another release it says nothing
	Commits []string  `json:"commits"`
	Since   time.Time `json:"since"`
}

func (t *Target) holdFile() string { return filepath.Join(t.base(), "held.json") }

// saveHold writes down what a release holds, before it is published.
func (t *Target) saveHold(r *Release) error {
	if len(r.Held) == 0 {
		return nil
	}
	return replaceJSON(t.holdFile(), hold{r.ID, r.Held, r.HeldSince})
}

// removeHold forgets what the published release holds.
func (t *Target) removeHold() error {
	err := os.Remove(t.holdFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// lostRelease is what is known of a release whose record, or whose files, are lost: what it holds.
// The next one is built as if it were the first.
func (t *Target) lostRelease(id string) *Release {
	r := &Release{ID: id}
	data, err := os.ReadFile(t.holdFile())
	if err != nil {
		return r
	}
	var h hold
	if json.Unmarshal(data, &h) == nil && h.Release == id {
		r.Held, r.HeldSince = h.Commits, h.Since
	}
	return r
}
