package barerepo

import (
	"bytes"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/packindex"
)

// prove checks that all of a listing's refs stand for objects of the packs in a directory, and
// its branches for commits. others says that objects may be elsewhere.
func (l *listing) prove(dir string, others bool) error {
	wanted := map[string]bool{} // ID, as bytes -> is to be a commit
	for name, id := range l.refs {
		raw, err := hex.DecodeString(id)
		if err != nil {
			return err
		}
		wanted[string(raw)] = wanted[string(raw)] || strings.HasPrefix(name, heads)
	}
	names, err := filepath.Glob(filepath.Join(globQuoted(dir), "pack-*.idx"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := prove(name, l.format, wanted); err != nil {
			return err
		}
	}
	for id := range wanted {
		if others {
			break
		}
		return &Error{Problem: ErrMissing, Op: "check what came", Detail: hex.EncodeToString([]byte(id))}
	}
	return nil
}

// prove takes out of wanted what is in a pack.
func prove(name, format string, wanted map[string]bool) error {
	x, err := packindex.Open(name, idSize(format))
	if err != nil {
		return err
	}
	defer func() { _ = x.Close() }()
	pack, err := openFile(strings.TrimSuffix(name, ".idx") + ".pack")
	if err != nil {
		return err
	}
	defer pack.Close()
	ids := make([][]byte, 0, len(wanted))
	for id := range wanted {
		ids = append(ids, []byte(id))
	}
	slices.SortFunc(ids, bytes.Compare)
	places, err := x.Find(ids)
	if err != nil {
		return err
	}
	for i, place := range places {
		if place < 0 {
			continue
		}
		id := string(ids[i])
		if wanted[id] {
			offset, err := x.Offset(place)
			if err != nil {
				return err
			}
			kind, err := x.TypeOf(pack, offset)
			if err != nil {
				return err
			}
			if kind != packindex.Commit {
				return &Error{Problem: ErrNoCommit, Op: "check what came", Detail: hex.EncodeToString(ids[i])}
			}
		}
		delete(wanted, id)
	}
	return nil
}

// globQuoted is a path in which nothing is a pattern.
func globQuoted(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
