package barerepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// state is what a repository here has.
type state struct {
	format   string
	refs     map[string]string // name -> ID; "" of a symbolic one
	head     string            // what HEAD stands for; empty: a commit
	reftable bool              // the refs are in no files that are read here
	loose    int               // how many refs have a file of their own
	// emptied are refs whose file is empty, as a loss of power leaves it. What stood in it is in refs
	// as far as it is known.
	emptied []string

	salvaging bool     // what cannot be read stops nothing: see salvage
	unread    []string // parts that could not be
	headless  bool     // nor could HEAD
	recalled  []moved  // what the journal says of refs that have no other trace, by the names to keep them under
}

// maxRefFile bounds what is read of a file that has one ref.
const maxRefFile = 4 << 10

// read reads the refs: natively where they are in files (gitrepository-layout(5)), by git where
// they are not.
func (r *run) read(ctx context.Context) (*state, error) {
	config, err := readFile(r.path("config"))
	if err != nil {
		return nil, err
	}
	s := &state{format: formatOf(config), refs: map[string]string{}}
	return s, r.readRefs(ctx, s)
}

// formatOf is the object format that a configuration names.
func formatOf(config []byte) string {
	if strings.EqualFold(variable(config, "extensions", "objectFormat"), gitwire.SHA256) {
		return gitwire.SHA256
	}
	return gitwire.SHA1
}

// readRefs reads the refs into a state that has its format.
func (r *run) readRefs(ctx context.Context, s *state) error {
	if _, err := os.Lstat(r.path("reftable")); err == nil {
		return r.readByGit(ctx, s)
	}
	// In git's order: one that is packed meanwhile is seen twice, and not never.
	if err := r.readLoose(s); err != nil {
		return err
	}
	if err := readPacked(r.path("packed-refs"), s); err != nil {
		return err
	}
	if len(s.emptied) > 0 {
		if err := r.recall(s); err != nil {
			return err
		}
	}
	head, err := readFile(r.path("HEAD"))
	if target, ok := bytes.CutPrefix(head, []byte("ref:")); ok {
		s.head = strings.TrimSpace(string(target))
	} else if s.salvaging && !isID(strings.TrimSpace(string(head)), s.format) {
		s.headless = true // the journal and the remote know
		return nil
	}
	return err
}

// readLoose reads the refs that have a file of their own.
func (r *run) readLoose(s *state) error {
	root := r.path("refs")
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // git takes files and empty directories away at any time
		}
		if err == nil {
			err = checkLink(path, d.Type(), d.Info)
		}
		if err != nil || !d.Type().IsRegular() {
			return s.amiss("refs", err)
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := "refs/" + filepath.ToSlash(below)
		if strings.HasSuffix(name, ".lock") {
			return nil
		}
		text, err := readBounded(path, maxRefFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil && !s.salvaging:
			return err
		case err != nil, len(text) == 0:
			s.emptied = append(s.emptied, name)
			return nil
		}
		s.loose++
		value := strings.TrimSpace(string(text))
		if strings.HasPrefix(value, "ref:") {
			s.refs[name] = ""
			return nil
		}
		if !isID(value, s.format) {
			if s.salvaging {
				s.emptied = append(s.emptied, name)
				return nil
			}
			return &Error{Problem: ErrDamaged, Op: "read the refs of " + r.Dir, Detail: fmt.Sprintf("%q has no object ID", name)}
		}
		s.refs[name] = value
		return nil
	})
}

// recall finds what stood in files of refs that are empty: what the journal says last. Where it says
// nothing, the ref has not moved since it was packed.
func (r *run) recall(s *state) error {
	_, entries, err := readEntries(r.Dir)
	if err != nil && !s.salvaging {
		return err
	}
	last := map[string]string{}
	for _, e := range entries {
		last[e.Ref] = e.New
		last[keptName(e.Time, e.Ref)] = e.Old
	}
	for _, name := range s.emptied {
		if id := last[name]; isID(id, s.format) {
			s.refs[name] = id
		}
	}
	return nil
}

// refill writes files of refs anew that are empty: git would not get past them. What is not known of a
// ref that follows the remote is known from there again; of what is kept nobody else knows.
func (u *update) refill() error {
	if len(u.here.emptied) == 0 {
		return nil
	}
	var ids []string
	for _, name := range u.here.emptied {
		if id := u.here.refs[name]; id != "" {
			ids = append(ids, id)
		}
	}
	missing, err := u.missing(ids)
	if err != nil {
		return err
	}
	for _, name := range u.here.emptied {
		id, path := u.here.refs[name], u.path(filepath.FromSlash(name))
		switch {
		case id == "" && !u.follows(name) || slices.Contains(missing, id):
			return &Error{Problem: ErrDamaged, Op: "read the refs of " + u.Dir,
				Detail: fmt.Sprintf("the file of %q is empty, and what stood in it is lost", name)}
		case id == "":
			err = os.Remove(path)
		default:
			err = replaceFile(path, id+"\n")
		}
		if err != nil {
			return err
		}
		u.log().Warn("an empty file of a ref is mended", "repository", u.Dir, "ref", name, "was", id)
	}
	u.here.emptied = nil
	return nil
}

func readBounded(path string, most int64) ([]byte, error) {
	file, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, most))
}

// readPacked reads the file in which most refs are, below those that are read already.
func readPacked(path string, s *state) error {
	file, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.amiss("packed-refs", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' || line[0] == '^' {
			continue
		}
		id, name, ok := strings.Cut(line, " ")
		if !ok || !isID(id, s.format) {
			err := &Error{Problem: ErrDamaged, Op: "read " + path, Detail: fmt.Sprintf("%.100q is no ref", line)}
			if s.amiss("packed-refs", err) != nil {
				return err
			}
			continue
		}
		if _, loose := s.refs[name]; !loose {
			s.refs[name] = id
		}
	}
	return s.amiss("packed-refs", lines.Err())
}

// readByGit asks git.
func (r *run) readByGit(ctx context.Context, s *state) error {
	s.reftable = true
	git := r.git(r.Dir, "")
	out, err := r.output(ctx, git, "for-each-ref", "--format=%(objectname) %(refname) %(symref)")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, target, _ := strings.Cut(rest, " ")
		if target != "" {
			id = ""
		}
		s.refs[name] = id
	}
	head, err := r.output(ctx, git, "symbolic-ref", "--quiet", "HEAD")
	if err != nil && ctx.Err() != nil {
		return err
	}
	s.head = strings.TrimSpace(string(head)) // else it is a commit
	return nil
}
