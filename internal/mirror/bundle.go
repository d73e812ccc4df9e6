package mirror

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/regular"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Manifest is what lies beside the bundles of a repository, in OUTDIR/ID/manifest.json. It is
// written last: what is in no manifest does not count.
type Manifest struct {
	Format     int            `json:"format"` // 1
	ID         int64          `json:"id"`     // GitHub's
	Name       string         `json:"name"`   // owner/name, as GitHub last had it
	Wiki       bool           `json:"wiki,omitempty"`
	Former     []string       `json:"former,omitempty"`
	Host       string         `json:"host,omitempty"`
	Time       time.Time      `json:"time"` // of the last bundle
	Repository barerepo.Image `json:"repository"`
	Increments []Increment    `json:"increments"` // the oldest first
}

// Increment is what one run has added.
type Increment struct {
	Time time.Time `json:"time"`
	// Bundle has the objects; nil: none are new. Prerequisites are those that it builds on.
	Bundle        *Part    `json:"bundle,omitempty"`
	Prerequisites []string `json:"prerequisites,omitempty"`
	// Large is a tar of the files of Git LFS that are new, each under its ID; nil: none are.
	Large   *Part    `json:"lfs,omitempty"`
	Objects []string `json:"lfs_objects,omitempty"`
}

// Part is a file beside the manifest.
type Part struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

const (
	manifestName = "manifest.json"
	// damagedName is a file beside the manifest that says what verify has found: nothing is built on what is there.
	damagedName = "damaged"
	// mostManifest bounds what is read of one, in bytes.
	mostManifest = 512 << 20
)

// partName is what a file of ours is called: nothing that leads anywhere else.
var partName = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z\.(bundle|lfs\.tar)$`)

// hostName is what the name of a host is made of, with its port.
var hostName = regexp.MustCompile(`^[][A-Za-z0-9.:-]*$`)

// Bundling writes mirrors to a directory of bundles, of which nothing changes.
type Bundling struct {
	To      string // the directory
	Full    bool   // everything anew, instead of what is new since the last time
	Environ []string
	Own     childenv.Own
	Log     *slog.Logger
}

// Bundled is what became of one.
type Bundled struct {
	Found *Found
	Dir   string // where its files are
	Bytes int64  // written
	Full  bool   // it builds on nothing
	Fresh bool   // nothing is new, and nothing was written
}

func bundleDir(to string, f *Found) string {
	if f.Wiki {
		return filepath.Join(to, identity(f.ID)+"-wiki")
	}
	return filepath.Join(to, identity(f.ID))
}

// Do writes the bundles of one mirror.
func (b *Bundling) Do(ctx context.Context, f *Found) (*Bundled, error) {
	done, err := b.do(ctx, f)
	return done, diag.During(diag.Bundling, b.To, err)
}

// builtOn is the manifest that is added to: none where everything is written anew.
func (b *Bundling) builtOn(f *Found, last *Manifest, dir string) *Manifest {
	if b.Full || last == nil {
		return nil
	}
	if err := last.intact(dir); err != nil {
		b.Log.Warn("bundles of before cannot be built on; everything is written anew", "mirror", f.Dir, "error", err)
		return nil
	}
	return last
}

func (b *Bundling) do(ctx context.Context, f *Found) (*Bundled, error) {
	done := &Bundled{Found: f, Dir: bundleDir(b.To, f)}
	last, err := readManifest(done.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !b.Full {
		return nil, err
	}
	before := b.builtOn(f, last, done.Dir)
	r := &barerepo.Repository{Dir: f.Dir, Git: gitcmd.Runner{Environ: b.Environ, Own: b.Own}, Log: b.Log}
	if err := r.CheckHistory(ctx, f.history); err != nil {
		return nil, err // else the manifest, which has it, would be replaced
	}
	if err := checkAgainst(ctx, r, last, done.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(done.Dir, 0o777); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	if before != nil && !now.After(before.Time) {
		now = before.Time.Add(time.Second) // its files have names of their own
	}
	m := &Manifest{Format: 1, ID: f.ID, Name: f.Name, Wiki: f.Wiki, Former: f.Former, Host: f.Host, Time: now}
	step := Increment{Time: now}
	if err := b.objects(ctx, r, before, m, &step); err != nil {
		if errors.Is(err, barerepo.ErrDamaged) && f.root != "" {
			err = errors.Join(err, markDamaged(f.root, identityOf(f.ID, f.Wiki), err))
			if f.Gone != nil {
				err = onlyCopy(err)
			}
		}
		return nil, err
	}
	if before != nil && m.Repository.Format == before.Repository.Format {
		m.Increments = before.Increments
	}
	if err := b.large(ctx, f, m, done.Dir, &step); err != nil {
		return nil, err
	}
	done.Full = len(m.Increments) == 0
	if step.Bundle != nil || step.Large != nil || done.Full {
		m.Increments = append(slices.Clone(m.Increments), step)
	} else if same(before, m) {
		done.Fresh = true
		return done, nil
	}
	for _, part := range []*Part{step.Bundle, step.Large} {
		if part != nil {
			done.Bytes += part.Bytes
		}
	}
	if err := m.agree(done.Dir); err != nil {
		if before == nil {
			return nil, err
		}
		b.Log.Warn("bundles of before do not tell of all refs; everything is written anew", "mirror", f.Dir, "error", err)
		again := *b
		again.Full = true
		return again.Do(ctx, f)
	}
	if err := m.write(done.Dir); err != nil {
		return nil, err
	}
	sweep(done.Dir, m)
	return done, ignoreMissing(os.Remove(filepath.Join(done.Dir, damagedName)))
}

// checkAgainst refuses a mirror that lacks history which the last manifest has: these files may be all that is left
// of it. Nothing else that is remembered of the mirror counts, since it may be lost, or as old as the mirror is.
func checkAgainst(ctx context.Context, r *barerepo.Repository, last *Manifest, dir string) error {
	if last == nil {
		return nil
	}
	image, err := r.Image(ctx)
	if err != nil {
		return err
	}
	err = image.CheckAgainst(&last.Repository)
	if err == nil {
		return nil
	}
	return &fault.ExitError{Code: fault.Failed,
		Err: fmt.Errorf("%s has history that the mirror %s does not have: %w", dir, r.Dir, err),
		Hint: "nothing was changed in it: bring the mirror back from a copy, or from these files with " +
			"`ghapp mirror restore --mirror`; or move this directory into another one, where `restore --from` still " +
			"reads it, and all is written anew from what the mirror has"}
}

// same reports whether a manifest says what the one before did, but for the time.
func same(before, m *Manifest) bool {
	was := *before
	was.Time = m.Time
	a, err1 := json.Marshal(was)
	b, err2 := json.Marshal(m)
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

// objects writes the bundle. A mirror that is brought up to date meanwhile is looked at once more.
func (b *Bundling) objects(ctx context.Context, r *barerepo.Repository, before, m *Manifest, step *Increment) error {
	dir := bundleDir(b.To, &Found{ID: m.ID, Wiki: m.Wiki})
	file := filepath.Join(dir, step.Time.Format("20060102T150405Z")+".bundle")
	for try := 0; ; try++ {
		image, err := r.Image(ctx)
		if err != nil {
			return err
		}
		var without []string
		if before != nil && before.Repository.Format == image.Format {
			without = slices.Sorted(maps.Values(before.Repository.Refs))
		}
		_ = os.Remove(file)
		wrote, err := r.Bundle(ctx, image, slices.Compact(without), file)
		if err != nil {
			return errors.Join(err, ignoreMissing(os.Remove(file)))
		}
		after, err := r.Image(ctx)
		if err != nil {
			return err
		}
		m.Repository = *image
		if maps.Equal(image.Refs, after.Refs) {
			if !wrote {
				return nil
			}
			head, err := readHead(file)
			if err != nil {
				return err
			}
			step.Prerequisites = head.Prerequisites
			step.Bundle, err = partOf(file)
			return err
		}
		if try == 3 {
			return &fault.ExitError{Code: fault.Failed, Err: fmt.Errorf("%s changes all the time", r.Dir),
				Hint: "run it again when the mirrors have been brought up to date"}
		}
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// partOf reads a file that was written, and has it on the disk.
func partOf(file string) (*Part, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return nil, err
	}
	return &Part{filepath.Base(file), hex.EncodeToString(sum.Sum(nil)), n}, flush.File(file)
}

// large writes the large files that no increment has yet, each of which is checked.
func (b *Bundling) large(ctx context.Context, f *Found, m *Manifest, dir string, step *Increment) error {
	store := lfsstore.Of(f.Dir)
	list, err := store.List()
	if err != nil {
		return err
	}
	had := map[string]bool{}
	for _, i := range m.Increments {
		for _, id := range i.Objects {
			had[id] = true
		}
	}
	list = slices.DeleteFunc(list, func(p lfsstore.Pointer) bool { return had[p.ID] })
	if len(list) == 0 {
		return nil
	}
	path := filepath.Join(dir, step.Time.Format("20060102T150405Z")+".lfs.tar")
	file, err := atomicfile.Begin(path, atomicfile.Options{Perm: 0o666})
	if err != nil {
		return err
	}
	defer file.Discard()
	w := tar.NewWriter(file)
	for _, p := range list {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := store.Check(p.ID); err != nil {
			b.Log.Warn("a large file is left out of the bundle", "mirror", f.Dir, "error", err)
			continue
		}
		if err := addLarge(w, store.Path(p.ID), p); err != nil {
			return err
		}
		step.Objects = append(step.Objects, p.ID)
	}
	if len(step.Objects) == 0 {
		return nil
	}
	if err := errors.Join(w.Close(), file.Commit()); err != nil {
		return err
	}
	step.Large, err = partOf(path)
	return err
}

func addLarge(w *tar.Writer, path string, p lfsstore.Pointer) error {
	file, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := w.WriteHeader(&tar.Header{Name: p.ID, Mode: 0o444, Size: p.Size, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return err
}

func (m *Manifest) write(dir string) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	file, err := atomicfile.Begin(filepath.Join(dir, manifestName), atomicfile.Options{Perm: 0o666})
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := file.Commit(); err != nil {
		return err
	}
	return flush.Parent(filepath.Join(dir, manifestName))
}

// sweep takes away files of ours that no manifest names any more, or that a killed process left.
func sweep(dir string, m *Manifest) {
	named := map[string]bool{}
	for _, i := range m.Increments {
		for _, part := range []*Part{i.Bundle, i.Large} {
			if part != nil {
				named[part.File] = true
			}
		}
	}
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		if name := e.Name(); partName.MatchString(name) && !named[name] {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
}

// unusable is a manifest, or a file of one, that cannot be used.
func unusable(dir, format string, args ...any) error {
	return &fault.ExitError{Code: fault.Failed, Err: fmt.Errorf("%s: %w", dir, fmt.Errorf(format, args...)),
		Hint: "nothing was made of it: take another copy of these files, or write them anew with " +
			"`ghapp mirror bundle --full` where the mirror still is"}
}

// readManifest reads and checks a manifest. An error that wraps [fs.ErrNotExist] is that there is none.
func readManifest(dir string) (*Manifest, error) {
	file, err := regular.Open(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, err := parseManifest(file)
	if err != nil {
		return nil, unusable(dir, "%w", err)
	}
	return m, nil
}

// parseManifest reads a manifest that anybody may have written: no file that it names is elsewhere.
func parseManifest(r io.Reader) (*Manifest, error) {
	var m Manifest
	if err := json.NewDecoder(io.LimitReader(r, mostManifest)).Decode(&m); err != nil {
		return nil, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	if m.Format != 1 || m.ID <= 0 || len(m.Increments) == 0 {
		return nil, fmt.Errorf("the manifest is of another format (%d)", m.Format)
	}
	for _, name := range append([]string{m.Name}, m.Former...) {
		if r, err := ghapp.ParseRepository(name); err != nil || r.String() != name {
			return nil, fmt.Errorf("the manifest is of %q, which is no name of a repository", name)
		}
	}
	if !hostName.MatchString(m.Host) {
		return nil, fmt.Errorf("the manifest is of the host %q, which can be none", m.Host)
	}
	for _, i := range m.Increments {
		for _, part := range []*Part{i.Bundle, i.Large} {
			if part != nil && !partName.MatchString(part.File) {
				return nil, fmt.Errorf("the manifest names a file %q, which is none of its own", part.File)
			}
		}
	}
	return &m, nil
}

// HasBundles reports whether a directory has bundles, and no mirrors.
func HasBundles(dir string) bool {
	if _, err := os.Stat(StoreOf(dir).Path); err == nil {
		return false
	}
	list, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*", manifestName))
	return err == nil && len(list) > 0
}

// FindBundle is [Find] in a directory of bundles: it makes the mirror of them, below temp, once all
// files are what the manifest says.
func FindBundle(ctx context.Context, dir, word, temp string, git gitcmd.Runner, log *slog.Logger) (*Found, error) {
	list, err := chooseBundles(dir, []string{word})
	if err != nil {
		return nil, err
	}
	m := list[0].manifest
	f := &Found{
		ID: m.ID, Name: m.Name, Former: m.Former, Wiki: m.Wiki, Host: m.Host, Dir: filepath.Join(temp, "mirror.git"),
	}
	return f, diag.During(diag.Restoring, temp, m.unpack(ctx, list[0].Dir, f.Dir, git, log))
}

// RestoreMirror makes the mirror of a repository again of its bundles, with all that it kept and its journal, in a
// directory at which nothing is, or an empty one: whole or not at all.
func RestoreMirror(ctx context.Context, dir, word, to string, git gitcmd.Runner,
	log *slog.Logger) (*Found, *Restored, error) {
	list, err := chooseBundles(dir, []string{word})
	if err != nil {
		return nil, nil, err
	}
	if to, err = vacant(to); err != nil {
		return nil, nil, err
	}
	m := list[0].manifest
	f := &Found{ID: m.ID, Name: m.Name, Former: m.Former, Wiki: m.Wiki, Host: m.Host, Dir: to}
	temp, done, err := (&Restore{Log: log}).workplace(ctx, to)
	if err != nil {
		return nil, nil, &fault.SettingError{Err: err, Hint: "give a directory that can be made with --to"}
	}
	defer done()
	made := filepath.Join(temp, "made")
	err = m.unpack(ctx, list[0].Dir, made, git, log)
	if err == nil {
		err = publish(made, to)
	}
	if err == nil {
		err = flush.Parent(to)
	}
	restored := newRestored(&barerepo.Snapshot{Head: m.Repository.Head, Refs: m.Repository.Refs})
	for _, i := range m.Increments {
		restored.Large += len(i.Objects)
	}
	return f, restored, diag.During(diag.Restoring, filepath.Dir(to), err)
}

// chosenBundle finds what a word names.
func chosenBundle(state *State, dir, word string) (*Found, error) {
	for _, r := range state.Repositories {
		if identity(r.ID) == word {
			return &Found{ID: r.ID, Name: r.Name, Former: r.Former}, nil
		}
	}
	name, wiki := strings.CutSuffix(word, ".wiki")
	switch list := namesakes(state, name); len(list) {
	case 0:
		return nil, noMirror(dir, word)
	case 1:
		return &Found{ID: list[0].ID, Name: list[0].Name, Former: list[0].Former, Wiki: wiki}, nil
	default:
		return nil, ambiguous(word, list)
	}
}

// unpack makes the mirror.
func (m *Manifest) unpack(ctx context.Context, dir, to string, git gitcmd.Runner, log *slog.Logger) error {
	var bundles []string
	for _, i := range m.Increments {
		for _, part := range []*Part{i.Bundle, i.Large} {
			if part == nil {
				continue
			}
			if err := part.check(dir); err != nil {
				return err
			}
			if part == i.Bundle {
				bundles = append(bundles, filepath.Join(dir, part.File))
			}
		}
	}
	if err := m.agree(dir); err != nil {
		return err
	}
	r := &barerepo.Repository{Dir: to, Git: git, Log: log}
	if err := r.Restore(ctx, &m.Repository, bundles); err != nil {
		return err
	}
	for _, i := range m.Increments {
		if i.Large != nil {
			if err := unpackLarge(filepath.Join(dir, i.Large.File), lfsstore.Of(to)); err != nil {
				return unusable(dir, "%s: %w", i.Large.File, err)
			}
		}
	}
	return nil
}

// intact returns an error where verify has found a file damaged that the manifest names, or one is not there, has
// another size, or was written to after the manifest and is another one.
func (m *Manifest) intact(dir string) error {
	if found, err := regular.Read(filepath.Join(dir, damagedName), 64<<10); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, unusable(dir, "verify has found it damaged: %s", text.FirstLine(string(found))))
	}
	manifest, err := os.Stat(filepath.Join(dir, manifestName))
	if err != nil {
		return err
	}
	for _, i := range m.Increments {
		for _, part := range []*Part{i.Bundle, i.Large} {
			if part == nil {
				continue
			}
			look := part.there
			if is, err := os.Lstat(filepath.Join(dir, part.File)); err == nil && is.ModTime().After(manifest.ModTime()) {
				look = part.check
			}
			if err := look(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// there returns an error where the file is not there, or has another size.
func (p *Part) there(dir string) error {
	info, err := os.Lstat(filepath.Join(dir, p.File))
	if err != nil {
		return unusable(dir, "%w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != p.Bytes {
		return unusable(dir, "%s has %d bytes, and the manifest says %d", p.File, info.Size(), p.Bytes)
	}
	return nil
}

// check proves a file to be the one that the manifest is about.
func (p *Part) check(dir string) error {
	path := filepath.Join(dir, p.File)
	if err := p.there(dir); err != nil {
		return err
	}
	is, err := partOf(path)
	if err != nil {
		return err
	}
	if is.SHA256 != p.SHA256 {
		return unusable(dir, "%s is damaged: its SHA-256 is not that of the manifest", p.File)
	}
	return nil
}

// unpackLarge takes large files out of a tar, which may have nothing else.
func unpackLarge(path string, to *lfsstore.Store) error {
	file, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	left := info.Size()
	for r := tar.NewReader(file); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || !lfsstore.IsID(h.Name) || sparse(h) {
			return fmt.Errorf("%q is no large file", h.Name)
		}
		if left -= h.Size; left < 0 { // of a sparse file, what is not there would be written as zeros
			return fmt.Errorf("%q has more bytes than the tar", h.Name)
		}
		if err := to.Put(h.Name, r); err != nil {
			return err
		}
	}
}

// sparse reports whether a tar says of a file that it has holes, which none of ours does.
func sparse(h *tar.Header) bool {
	for name := range h.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return false
}
