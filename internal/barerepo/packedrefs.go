package barerepo

import (
	"bufio"
	"maps"
	"os"
	"slices"
)

// writePacked writes refs as git packs them (packed-refs in gitrepository-layout(5)). What tags
// point to is left for git to find: the remote has said so, and nobody has checked it.
func writePacked(path string, refs map[string]string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer file.Close()
	b := bufio.NewWriter(file)
	_, _ = b.WriteString("# pack-refs with: sorted \n")
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		_, _ = b.WriteString(refs[name] + " " + name + "\n")
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return file.Close()
}
