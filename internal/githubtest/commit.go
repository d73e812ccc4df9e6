package githubtest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// FileMode is the mode of an entry in a git tree.
type FileMode string

// The modes git has. https://git-scm.com/docs/git-fast-import#_filemodify
const (
	Regular    FileMode = "100644"
	Executable FileMode = "100755"
	Symlink    FileMode = "120000"
	Submodule  FileMode = "160000"
)

// Entry is what a commit does to one path.
type Entry struct {
	Path    string
	Mode    FileMode // default Regular
	Content string   // the text; of a Symlink its target, of a Submodule the commit
	Delete  bool     // remove the path, and all beneath it
}

// CommitOptions describes a commit. The zero value is an empty one on top of the branch.
type CommitOptions struct {
	Message string
	Entries []Entry

	Parent  string // start from this commit and move the branch, as a forced push does; empty means the branch's tip
	Orphan  bool   // have no parent, start from an empty tree, and move the branch, as a forced push does
	Replace bool   // have the Entries for all of the tree

	Merge []string // further parents: a merge, an octopus with more than one
	Ref   string   // move this ref, such as refs/notes/commits or refs/pull/1/head, in place of the branch
}

// Commit adds a commit with these files, path to text, to a branch, and returns its object ID. A branch that is not
// there starts from the default branch, or from nothing in an empty repository. Author and dates are the same in every
// run, and so are the object IDs.
func (r *Repository) Commit(branch, message string, files map[string]string) (oid string, err error) {
	o := CommitOptions{Message: message}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		o.Entries = append(o.Entries, Entry{Path: path, Content: files[path]})
	}
	return r.CommitEntries(branch, o)
}

// firstCommit is the date of the first commit of every repository: that of git's own first release. Each later commit
// is a minute later.
const firstCommit = 1112911993

// CommitEntries adds a commit to a branch like [Repository.Commit], with everything git's trees can hold. Webhooks are
// told before it returns.
func (r *Repository) CommitEntries(branch string, o CommitOptions) (oid string, err error) {
	err = r.pushing(func() error {
		oid, err = r.commit(branch, o)
		return err
	})
	return oid, err
}

func (r *Repository) commit(branch string, o CommitOptions) (oid string, err error) {
	ref := cmp.Or(o.Ref, "refs/heads/"+branch)
	r.files.Lock()
	defer r.files.Unlock()
	if err := r.make(); err != nil {
		return "", err
	}
	parent := o.Parent
	if parent == "" && !o.Orphan {
		parent = r.tip(ref, "refs/heads/"+r.head)
	}
	var in bytes.Buffer
	who := fmt.Sprintf("A U Thor <author@example.com> %d +0000", firstCommit+60*r.commits)
	fmt.Fprintf(&in, "feature done\ncommit %s\nmark :1\nauthor %s\ncommitter %s\n", ref, who, who)
	data(&in, o.Message)
	if parent != "" {
		fmt.Fprintf(&in, "from %s\n", parent)
	}
	for _, other := range o.Merge {
		fmt.Fprintf(&in, "merge %s\n", other)
	}
	if o.Replace || o.Orphan {
		fmt.Fprintln(&in, "deleteall")
	}
	for _, e := range o.Entries {
		mode := e.Mode
		if mode == "" {
			mode = Regular
		}
		switch {
		case e.Delete:
			fmt.Fprintf(&in, "D %s\n", quote(e.Path))
		case mode == Submodule:
			fmt.Fprintf(&in, "M %s %s %s\n", mode, e.Content, quote(e.Path))
		default:
			fmt.Fprintf(&in, "M %s inline %s\n", mode, quote(e.Path))
			data(&in, e.Content)
		}
	}
	fmt.Fprintf(&in, "\nget-mark :1\ndone\n")
	out, err := r.run(in.Bytes(), "fast-import", "--quiet", "--force")
	if err != nil {
		return "", err
	}
	r.commits++
	r.gh.mu.Lock()
	defer r.gh.mu.Unlock()
	r.pushed = r.gh.now()
	for _, e := range o.Entries {
		r.size += int64(len(e.Content))
	}
	return strings.TrimSpace(out), nil
}

// data writes text in fast-import's form.
func data(b *bytes.Buffer, text string) { fmt.Fprintf(b, "data %d\n%s\n", len(text), text) }

// quote writes a path in fast-import's form, which is C's.
func quote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(path) + `"`
}

// prepare makes sure the repository is on disk.
func (r *Repository) prepare() error {
	r.files.Lock()
	defer r.files.Unlock()
	return r.make()
}

// make makes sure the repository is on disk, with HEAD at the default branch.
func (r *Repository) make() error {
	gh := r.gh
	gh.mu.Lock()
	branch, format, err := r.options.DefaultBranch, "sha1", gh.prepareGit()
	if r.options.SHA256 {
		format = "sha256"
	}
	gh.mu.Unlock()
	if err != nil {
		return err
	}
	if !r.ready {
		if _, err := gh.run(gh.dir, nil, "init", "--quiet", "--bare", "--template=",
			"--initial-branch="+branch, "--object-format="+format, r.path()); err != nil {
			return err
		}
		r.ready, r.head = true, branch
	}
	if r.head != branch {
		if _, err := r.run(nil, "symbolic-ref", "HEAD", "refs/heads/"+branch); err != nil {
			return err
		}
		r.head = branch
	}
	return nil
}

func (r *Repository) path() string {
	return filepath.Join(r.gh.dir, strconv.FormatInt(r.ID, 10)+".git")
}

// run runs a git command in the repository.
func (r *Repository) run(in []byte, command string, args ...string) (string, error) {
	return r.gh.run(r.path(), in, command, args...)
}
