package githubtest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tag makes or moves a lightweight tag.
func (r *Repository) Tag(name, oid string) error { return r.SetRef("refs/tags/"+name, oid) }

// AnnotateTag makes or moves a tag with a message, of a commit or of whatever else, another tag too, and returns its
// own object ID.
func (r *Repository) AnnotateTag(name, oid, message string) (tag string, err error) {
	err = r.pushing(func() error {
		kind, err := r.ask("cat-file", "-t", oid)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("object %s\ntype %s\ntag %s\ntagger A U Thor <author@example.com> %d +0000\n\n%s\n",
			oid, kind, name, firstCommit, message)
		if tag, err = r.give([]byte(text), "mktag"); err != nil {
			return err
		}
		return r.moveRefs(map[string]string{"refs/tags/" + name: tag})
	})
	return tag, err
}

// DeleteBranch deletes a branch.
func (r *Repository) DeleteBranch(branch string) error { return r.SetRef("refs/heads/"+branch, "") }

// SetRef makes or moves a ref of any name, such as refs/pull/1/head, as a forced push does. An empty object ID deletes
// it. A commit that is to be there comes by [Repository.CommitEntries].
func (r *Repository) SetRef(ref, oid string) error { return r.SetRefs(map[string]string{ref: oid}) }

// SetRefs is [Repository.SetRef] for any number of refs, which are one push.
func (r *Repository) SetRefs(refs map[string]string) error {
	return r.pushing(func() error { return r.moveRefs(refs) })
}

func (r *Repository) moveRefs(refs map[string]string) error {
	var in bytes.Buffer
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		if oid := refs[ref]; oid == "" {
			fmt.Fprintf(&in, "delete %s\n", ref)
		} else {
			fmt.Fprintf(&in, "update %s %s\n", ref, oid)
		}
	}
	if _, err := r.give(in.Bytes(), "update-ref", "--stdin"); err != nil {
		return err
	}
	r.gh.mu.Lock()
	defer r.gh.mu.Unlock()
	r.pushed = r.gh.now()
	return nil
}

// Refs returns all refs with their object IDs.
func (r *Repository) Refs() (map[string]string, error) {
	out, err := r.ask("for-each-ref", "--format=%(refname) %(objectname)")
	return parseRefs(out), err
}

func parseRefs(out string) map[string]string {
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		name, oid, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[name] = oid
	}
	return refs
}

// Head returns the object ID of the commit a branch is at, or "" if it is not there.
func (r *Repository) Head(branch string) (oid string, err error) {
	r.files.Lock()
	defer r.files.Unlock()
	return r.tip("refs/heads/" + branch), nil
}

// tip is the object of the first of the refs that is there, or "". It is read from the disk, where the stand-in has
// its refs in files: a question about a hundred repositories would be slow with a process for each, and one that is
// not on the disk has none. It is called with files held.
func (r *Repository) tip(refs ...string) string {
	if !r.ready {
		return ""
	}
	var packed []byte
	for _, ref := range refs {
		if loose, err := os.ReadFile(filepath.Join(r.path(), filepath.FromSlash(ref))); err == nil {
			return strings.TrimSpace(string(loose))
		}
		if packed == nil {
			packed, _ = os.ReadFile(filepath.Join(r.path(), "packed-refs"))
		}
		if before, _, ok := bytes.Cut(packed, []byte(" "+ref+"\n")); ok {
			return string(before[bytes.LastIndexByte(before, '\n')+1:])
		}
	}
	return ""
}

// ask runs a git command in the repository, and returns what it prints without the end of the last line.
func (r *Repository) ask(command string, args ...string) (string, error) {
	return r.give(nil, command, args...)
}

// give is [Repository.ask] with what the command reads.
func (r *Repository) give(in []byte, command string, args ...string) (string, error) {
	r.files.Lock()
	defer r.files.Unlock()
	if err := r.make(); err != nil {
		return "", err
	}
	out, err := r.run(in, command, args...)
	return strings.TrimSpace(out), err
}
