//go:build unix

package deploy

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/packindex"
	"github.com/ghapp-dev/ghapp/internal/quarantine"
)

// Of one commit, without those before it, the pack is fetched without git where somebody hands one
// over ([Request.Fetch]), and one git index-pack checks and keeps it: git fetch would be five
// processes more, and a connection of its own.
//
// The pack is in quarantine until the release is on the disk, so that one flush does for both, and
// a build that fails leaves the store as it was. That all is there that the commit needs is proved
// twice: index-pack --strict looks for everything that an object names, and git reads all trees,
// and each file that is not there yet, when it makes the files.

// maxHaves bounds how many of the commits that are here a server is told. There are more only where
// the stores could not be packed ([gcEvery]).
const maxHaves = 256

// incoming is what came for a commit, and counts for nothing yet.
type incoming struct {
	*quarantine.Quarantine
	store *store
	ref   string // that is to be at the commit
}

// receive fetches a commit without git fetch. It reports false where that is left to it, also where
// it has failed: it says why in its own words.
func (s *store) receive(ctx context.Context, commit, id string) bool {
	// Who looks on is told how git gets on. What LFS needs of git, and objects that are fetched when
	// they are needed, are git's affair.
	if s.pack == nil || s.depth() > 1 || s.Filter != "" || s.LFS || s.Git.Progress {
		return false
	}
	haves, err := s.commits()
	if err == nil && slices.Contains(haves, commit) {
		return false
	}
	in := &incoming{Quarantine: quarantine.Of(s.dir), store: s, ref: refOf(id)}
	if err == nil {
		err = in.fetch(ctx, commit, haves)
	}
	if err == nil {
		s.incoming = in
		return true
	}
	_ = in.Remove()
	if ctx.Err() == nil {
		s.log().Debug("git fetches instead", "directory", s.Target.Dir, "error", err)
	}
	return false
}

// fetch fetches a commit into the quarantine.
func (in *incoming) fetch(ctx context.Context, commit string, haves []string) error {
	if err := in.Make(); err != nil {
		return err
	}
	shallow, err := in.store.shallow()
	if err != nil {
		return err
	}
	for name, list := range map[string][]string{
		in.shallowFile(): append(slices.Clip(shallow), commit), in.refFile(): {commit},
	} {
		if err := os.WriteFile(name, []byte(strings.Join(list, "\n")+"\n"), 0o600); err != nil {
			return err
		}
	}
	format := gitwire.SHA1
	if hashSize(commit) == 32 {
		format = gitwire.SHA256
	}
	read, write, err := gitcmd.Pipe()
	if err != nil {
		return err
	}
	indexed := make(chan error, 1)
	go func() { // while the server makes the pack
		defer read.Close()
		indexed <- in.index(ctx, read)
	}()
	_, err = in.store.pack(ctx, gitwire.Request{
		Format: format, Wants: []string{commit}, Tip: true, Stays: true, Haves: haves, Shallow: shallow,
		Stall: in.store.stall(),
	}, write)
	_ = write.Close()
	kept := <-indexed
	switch {
	case err != nil && (kept == nil || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET)):
		return err
	case kept != nil: // git reads no more, and says why
		return kept
	}
	return in.has(commit)
}

// has returns an error where a commit has not come. What it names, index-pack has looked for.
func (in *incoming) has(commit string) error {
	id, err := hex.DecodeString(commit)
	if err != nil {
		return err
	}
	names, err := in.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if filepath.Ext(name) != ".idx" {
			continue
		}
		index, err := packindex.Open(filepath.Join(in.Packs(), name), len(id))
		if err != nil {
			return err
		}
		places, err := index.Find([][]byte{id})
		if err = errors.Join(err, index.Close()); err != nil {
			return err
		}
		if places[0] >= 0 {
			return nil
		}
	}
	return errors.New("the commit is not among what came")
}

// index has git check and keep the pack that it reads.
func (in *incoming) index(ctx context.Context, pack *os.File) error {
	git := in.store.git()
	git.Repository.Objects, git.Repository.Shallow = in.Objects, in.shallowFile()
	// All of it is flushed at once, before it counts.
	name, value := gitcmd.WholeObjects()
	git.Config = append(slices.Clip(git.Config), "core.fsync=none", name+"="+value)
	git.Environ = gitcmd.Bounded(git.Environ)
	git.Stdin = pack
	return git.Run(ctx, gitcmd.Scope{}, "index-pack", "--stdin", "--fix-thin",
		gitcmd.Strict(append(gitcmd.Unchecked(), in.store.FsckIgnore...)))
}

// The files beside the objects, as they are to be in the store.
func (in *incoming) shallowFile() string { return filepath.Join(in.Dir, "shallow") }
func (in *incoming) refFile() string     { return filepath.Join(in.Dir, "ref") }

// admit lets it in. It is on the disk. What is admitted before a kill does no harm: a commit is here
// once its ref is.
func (in *incoming) admit() error {
	dir := in.store.dir
	if err := os.Rename(in.shallowFile(), filepath.Join(dir, "shallow")); err != nil {
		return err
	}
	names, err := in.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := in.Admit(name); err != nil {
			return err
		}
	}
	ref := filepath.Join(dir, filepath.FromSlash(in.ref))
	if err := os.MkdirAll(filepath.Dir(ref), 0o700); err != nil {
		return err
	}
	if err := os.Rename(in.refFile(), ref); err != nil {
		return err
	}
	in.store.incoming = nil
	return in.Remove()
}

// shallow are the commits of the store whose parents are not in it (git-rev-parse(1),
// "--is-shallow-repository").
func (s *store) shallow() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "shallow"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

// commits are those that the store has for releases, the latest first. Its refs are in files
// (gitrepository-layout(5), "refs", "packed-refs").
func (s *store) commits() ([]string, error) {
	found := map[string]string{}
	packed, err := os.ReadFile(filepath.Join(s.dir, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(packed) {
		commit, name, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if id, ok := strings.CutPrefix(name, refOf("")); ok {
			found[id] = commit
		}
	}
	names, err := entries(filepath.Join(s.dir, filepath.FromSlash(refOf(""))))
	if err != nil {
		return nil, err
	}
	for _, id := range names {
		if !isID(id) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(refOf(id))))
		if err != nil {
			return nil, err
		}
		found[id] = strings.TrimSpace(string(text))
	}
	var list []string
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(found))) {
		if len(list) < maxHaves {
			list = append(list, found[id])
		}
	}
	return list, nil
}
