package mirror

import (
	"bufio"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/regular"
)

// neededName is the file in a mirror that says which large files its refs need, so that git need not
// look through all commits each time. Where it is not there, or not whole, git does.
const neededName = "ghapp-lfs"

// needed are the large files that some refs need.
type needed struct {
	tips  []string // what those refs stood for, sorted
	files map[lfsstore.Pointer]bool
}

// The file has a line "tip ID" for each tip, "file ID SIZE" for each file, and last "end" with the
// number of both.

// readNeeded is nil where nothing is known.
func readNeeded(dir string) *needed {
	file, err := regular.Open(filepath.Join(dir, neededName))
	if err != nil {
		return nil
	}
	defer file.Close()
	n := &needed{files: map[lfsstore.Pointer]bool{}}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		kind, rest, _ := strings.Cut(lines.Text(), " ")
		switch kind {
		case "tip":
			n.tips = append(n.tips, rest)
		case "file":
			id, size, _ := strings.Cut(rest, " ")
			bytes, err := strconv.ParseInt(size, 10, 64)
			if err != nil || bytes < 0 || !lfsstore.IsID(id) {
				return nil
			}
			n.files[lfsstore.Pointer{ID: id, Size: bytes}] = true
		case "end":
			if rest != n.count() {
				return nil
			}
			return n
		default:
			return nil
		}
	}
	return nil
}

func (n *needed) count() string { return fmt.Sprintf("%d %d", len(n.tips), len(n.files)) }

// fresh are those of some tips that were not looked at, sorted as they are.
func (n *needed) fresh(tips []string) []string {
	if n == nil {
		return nil
	}
	known := make(map[string]bool, len(n.tips))
	for _, tip := range n.tips {
		known[tip] = true
	}
	var list []string
	for _, tip := range tips {
		if !known[tip] {
			list = append(list, tip)
		}
	}
	return list
}

// write writes the file, whole or not at all.
func (n *needed) write(dir string) error {
	file, err := atomicfile.Begin(filepath.Join(dir, neededName), atomicfile.Options{Perm: 0o666, Ours: true,
		Temp: filepath.Join(dir, neededName+".new"), Leftover: true})
	if err != nil {
		return err
	}
	defer file.Discard()
	w := bufio.NewWriter(file)
	for _, tip := range n.tips {
		fmt.Fprintln(w, "tip", tip)
	}
	for p := range n.files {
		fmt.Fprintln(w, "file", p.ID, p.Size)
	}
	fmt.Fprintln(w, "end", n.count())
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Commit()
}
