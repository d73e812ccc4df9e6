package barerepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// Image is all that a repository is but its objects: its refs, kept ones too, and what the journal
// tells. It is JSON in a manifest of bundles.
type Image struct {
	Format   string            `json:"object_format"` // sha1 or sha256
	Identity string            `json:"identity"`
	Head     string            `json:"head,omitempty"` // the full name of what HEAD stands for
	Refs     map[string]string `json:"refs"`           // full name -> ID
	Since    time.Time         `json:"since"`          // from when on the journal is whole
	Journal  []Entry           `json:"journal"`        // oldest first

	ended time.Time // until when the history has ended because its time was over; zero: it has not
}

// Image reads it. The error is an [*Error] with [ErrDamaged], git's, or the system's.
func (r *Repository) Image(ctx context.Context) (*Image, error) {
	// The journal comes first: what it tells of later than of the refs is only more.
	since, entries, err := readJournal(r.Dir)
	if err != nil {
		return nil, err
	}
	s, err := (&run{Repository: r}).read(ctx)
	if err != nil {
		return nil, err
	}
	i := &Image{Format: s.format, Head: s.head, Refs: map[string]string{}, Since: since, Journal: entries}
	if i.ended, err = readEnded(r.Dir); err != nil {
		return nil, err
	}
	if i.Identity, err = r.Identity(); err != nil {
		return nil, err
	}
	for name, id := range s.refs {
		if id != "" {
			i.Refs[name] = id
		}
	}
	return i, nil
}

// CheckAgainst returns an [*Error] with [ErrHistoryLost] where an image lacks some of the history that one
// of before has. What has ended with [Repository.Expire] is not missing.
func (i *Image) CheckAgainst(before *Image) error {
	var list []string
	refs := 0
	for name, id := range before.Refs {
		if at, ok := keptAt(name); ok && !at.Before(i.ended) && i.Refs[name] != id {
			refs++
		}
	}
	if refs > 0 {
		list = append(list, fmt.Sprintf("%d refs below %s are not there", refs, keptRefs))
	}
	here := map[string]bool{}
	for _, e := range i.Journal {
		here[e.line()] = true
	}
	lines := 0
	for _, e := range before.Journal {
		if !e.Time.Before(i.ended) && !here[e.line()] {
			lines++
		}
	}
	if lines > 0 {
		list = append(list, fmt.Sprintf("the journal lacks %d of %d entries", lines, len(before.Journal)))
	}
	if i.Since.After(before.Since) && i.Since.After(i.ended) {
		list = append(list, fmt.Sprintf("it is known since %s, and was since %s", i.Since.Format(time.RFC3339),
			before.Since.Format(time.RFC3339)))
	}
	if len(list) == 0 {
		return nil
	}
	return &Error{Problem: ErrHistoryLost, Op: "compare with what was before", Detail: strings.Join(list, "; ")}
}

// Check returns why an image that somebody else may have written cannot be one.
func (i *Image) Check() error {
	if i.Format != gitwire.SHA1 && i.Format != gitwire.SHA256 {
		return fmt.Errorf("its objects are in the format %q", i.Format)
	}
	if err := checkIdentity(i.Identity); err != nil {
		return err
	}
	for name, id := range i.Refs {
		if err := checkRefName(name); err != nil {
			return fmt.Errorf("the ref %q: %w", name, err)
		}
		if !isID(id, i.Format) {
			return fmt.Errorf("the ref %q has no object ID", name)
		}
		for above := parentName(name); above != ""; above = parentName(above) {
			if _, both := i.Refs[above]; both {
				return fmt.Errorf("the ref %q cannot be beside %q", name, above)
			}
		}
	}
	if i.Head != "" && (!strings.HasPrefix(i.Head, heads) || checkRefName(i.Head) != nil) {
		return fmt.Errorf("HEAD stands for %q", i.Head)
	}
	for _, e := range i.Journal {
		if err := e.check(i.Format); err != nil {
			return err
		}
	}
	return nil
}

func (e Entry) check(format string) error {
	value := func(v string) bool { return v == "" || isID(v, format) }
	if e.Ref == "HEAD" {
		value = func(v string) bool { return v == "" || checkRefName(v) == nil }
	} else if err := checkRefName(e.Ref); err != nil {
		return fmt.Errorf("the journal has the ref %q: %w", e.Ref, err)
	}
	if !value(e.Old) || !value(e.New) {
		return fmt.Errorf("the journal has no values of the ref %q", e.Ref)
	}
	return nil
}

// Bundle writes what refs of an image need, without what some objects need that are elsewhere, to a
// file as git bundle does (gitformat-bundle(5)), in its version 3, and proves that it can be read: git
// copies what it has packed as it is. It reports whether there was anything to write. The error is an
// [*Error] with [ErrDamaged] where an object here is damaged, git's or the system's.
func (r *Repository) Bundle(ctx context.Context, i *Image, without []string, file string) (bool, error) {
	u := &run{Repository: r}
	had := map[string]bool{}
	for _, id := range without {
		had[id] = true
	}
	var want bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(i.Refs)) {
		if !had[i.Refs[name]] {
			want.WriteString(name + "\n")
		}
	}
	if want.Len() == 0 {
		return false, nil
	}
	gone, err := (&update{run: u, ctx: ctx, here: &state{}}).missing(without)
	if err != nil {
		return false, err
	}
	for _, id := range without {
		if !slices.Contains(gone, id) {
			want.WriteString("^" + id + "\n")
		}
	}
	git := u.git(r.Dir, "")
	git.Stdin = &want
	err = u.call(ctx, git, "bundle", "create", "--quiet", "--version=3", file, "--stdin")
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && strings.Contains(e.Stderr, "empty bundle") {
		return false, nil
	}
	if err == nil {
		err = u.readable(ctx, file)
	}
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.ExitCode > 0 && e.Reason == gitcmd.Unknown {
		err = &Error{Problem: ErrDamaged, Op: "bundle " + r.Dir, Err: err}
	}
	return err == nil, err
}

// readable returns an error where a bundle of this repository cannot be read. What is made of it lies
// beside it meanwhile: others may be at work in the repository.
func (r *run) readable(ctx context.Context, file string) error {
	bundle, err := openFile(file)
	if err != nil {
		return err
	}
	defer bundle.Close()
	head, err := bundleHead(bundle, func(string) {})
	if err == nil {
		_, err = bundle.Seek(head, io.SeekStart)
	}
	if err != nil {
		return err
	}
	objects := filepath.Join(filepath.Dir(file), ".ghapp-check")
	if err := os.RemoveAll(objects); err != nil { // of a process that was killed
		return err
	}
	defer func() { _ = os.RemoveAll(objects) }()
	info := filepath.Join(objects, "info")
	from, err := filepath.Abs(r.path("objects"))
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(info, 0o777), os.MkdirAll(filepath.Join(objects, "pack"), 0o777),
		os.WriteFile(filepath.Join(info, "alternates"), []byte(from+"\n"), 0o666)); err != nil {
		return err
	}
	git := r.git(r.Dir, objects, "core.fsync=none")
	git.Environ = gitcmd.Bounded(git.Environ)
	git.Stdin = bundle
	return r.call(ctx, git, "index-pack", "--stdin", "--fix-thin")
}

// Restore makes the repository of bundles, the oldest first, and an image of the last. What was
// made is proved to be whole: the error is an [*Error] with [ErrBundle] where it is not, git's, or the
// system's. After an error it is the caller's to take away.
func (r *Repository) Restore(ctx context.Context, i *Image, bundles []string) error {
	if err := i.Check(); err != nil {
		return &Error{Problem: ErrBundle, Op: "read what the bundles are of", Err: err}
	}
	u := &update{run: &run{Repository: r}, Options: Options{Identity: i.Identity, Now: i.Since}, ctx: ctx}
	if err := os.MkdirAll(r.Dir, 0o777); err != nil {
		return err
	}
	if err := u.skeleton(r.Dir, i.Format, i.Head); err != nil {
		return err
	}
	for _, file := range bundles {
		git := u.git(r.Dir, "", "transfer.fsckObjects=false", "core.fsync=none")
		git.Environ = gitcmd.Bounded(git.Environ)
		if _, err := u.output(ctx, git, "bundle", "unbundle", file); err != nil {
			if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.ExitCode > 0 {
				return &Error{Problem: ErrBundle, Op: "read the bundle " + filepath.Base(file), Err: err}
			}
			return err
		}
	}
	if len(i.Refs) > 0 {
		if err := writePacked(r.path("packed-refs"), i.Refs); err != nil {
			return err
		}
	}
	if len(i.Journal) > 0 {
		var b bytes.Buffer
		for _, e := range i.Journal {
			b.WriteString(e.line())
		}
		b.WriteString(done + "\n")
		if err := os.WriteFile(journal(r.Dir), b.Bytes(), 0o666); err != nil {
			return err
		}
	}
	if err := r.Fsck(ctx); errors.Is(err, ErrDamaged) {
		return &Error{Problem: ErrBundle, Op: "check what the bundles have", Err: err}
	} else if err != nil {
		return err
	}
	return flush.Tree(r.Dir)
}

// BundleHead is what a bundle says of itself before its pack (gitformat-bundle(5)).
type BundleHead struct {
	Refs          map[string]string // full name -> ID
	Prerequisites []string          // the objects that it builds on
}

// mostHead bounds what is read of the head of a bundle, in bytes.
const mostHead = 512 << 20

// ReadBundleHead reads the head of a bundle.
func ReadBundleHead(r io.Reader) (*BundleHead, error) {
	h := &BundleHead{Refs: map[string]string{}}
	_, err := bundleHead(io.LimitReader(r, mostHead), func(line string) {
		line = strings.TrimSuffix(line, "\n")
		id, name, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "#"), strings.HasPrefix(line, "@"):
		case strings.HasPrefix(line, "-"):
			h.Prerequisites = append(h.Prerequisites, id[1:])
		default:
			h.Refs[name] = id
		}
	})
	return h, err
}

// bundleHead reads the lines before the pack of a bundle, and returns how many bytes they are.
func bundleHead(r io.Reader, take func(line string)) (size int64, err error) {
	head := bufio.NewReader(r)
	for first := true; ; first = false {
		line, err := head.ReadString('\n')
		size += int64(len(line))
		switch {
		case err != nil:
			return 0, err
		case first && line != "# v3 git bundle\n":
			return 0, fmt.Errorf("it begins with %q, as no bundle does", line)
		case line == "\n":
			return size, nil
		}
		take(line)
	}
}
