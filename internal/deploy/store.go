//go:build unix

package deploy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/quarantine"
)

// store is a bare repository that holds what was fetched of one repository, and nothing
// that could not be fetched again.
type store struct {
	*Target
	dir    string
	url    string
	sparse []string // the paths that a work tree has; empty: all

	pack     Fetch     // of the repository; nil: git fetches
	incoming *incoming // what came for the release that is being built; nil: all that is here counts
}

// mainStore is the store of the repository itself.
func (t *Target) mainStore(url string) *store {
	return &store{Target: t, dir: filepath.Join(t.base(), "store.git"), url: url, sparse: t.Sparse, pack: t.pack}
}

// moduleStore is the store of a submodule, which may be that of several. A release has it whole,
// or not at all.
func (t *Target) moduleStore(url string) *store {
	sum := sha256.Sum256([]byte(url))
	return &store{Target: t, dir: filepath.Join(t.stores(), hex.EncodeToString(sum[:16])+".git"), url: url}
}

// hashSize is the length of the repository's object IDs in bytes.
func hashSize(commit string) int { return len(commit) / 2 }

// git is a call of git in the store that reaches nobody.
func (s *store) git() *gitcmd.Runner {
	git := s.Git
	git.Dir, git.Repository = s.dir, gitcmd.Repository{Dir: s.dir}
	if s.incoming != nil {
		git.Repository.Objects = s.incoming.Objects
	}
	if s.environs != nil {
		git.Environ = s.environs.alone
	}
	skip := "1"
	if s.LFS {
		skip = "0"
	}
	// The variable for the index goes before the store's configuration.
	git.Environ = append(slices.Clip(git.Environ), "GIT_LFS_SKIP_SMUDGE="+skip, "GIT_INDEX_VERSION=2")
	return &git
}

// reaching is a call of git in the store that may reach the repository.
func (s *store) reaching() (*gitcmd.Runner, error) {
	git := s.git()
	if s.environs == nil {
		return git, nil
	}
	ambient, err := s.environs.ambient()
	if err != nil {
		return nil, err
	}
	environ := ambient.own
	if !strings.HasPrefix(s.url, s.Scope.Origin+"/") {
		environ = ambient.foreign
	}
	git.Environ = append(slices.Clip(environ), git.Environ[len(git.Environ)-2:]...)
	return git, nil
}

// scope says who answers for the store's repository. A server that redirects is not
// followed: the caller knows where the repository is.
func (s *store) scope() gitcmd.Scope {
	scope := s.Scope
	scope.Submodules, scope.URLs, scope.Stays = false, nil, false
	if strings.HasPrefix(s.url, scope.Origin+"/") {
		scope.URLs, scope.Stays = []string{s.url}, true
	}
	return scope
}

// configuration is that of the store. Nothing else writes to it. What git checks of the
// state of a file is what a copy has of the original.
func (s *store) configuration(commit string) []byte {
	var b bytes.Buffer
	format := 0
	extensions := ""
	if hashSize(commit) == 32 {
		format, extensions = 1, extensions+"\tobjectFormat = sha256\n"
	}
	if s.Filter != "" {
		format, extensions = 1, extensions+"\tpartialClone = origin\n"
	}
	fmt.Fprintf(&b, "[core]\n\trepositoryFormatVersion = %d\n\tfileMode = true\n\tbare = true\n", format)
	b.WriteString("\ttrustCtime = false\n\tcheckStat = minimal\n\tsplitIndex = false\n\tuntrackedCache = false\n" +
		"\tpreloadIndex = false\n\tlogAllRefUpdates = false\n")
	fmt.Fprintf(&b, "\tsparseCheckout = %t\n\tsparseCheckoutCone = false\n", len(s.sparse) > 0)
	if extensions != "" {
		b.WriteString("[extensions]\n" + extensions)
	}
	b.WriteString("[index]\n\tversion = 2\n\tsparse = false\n\tskipHash = false\n")
	b.WriteString("[gc]\n\tauto = 0\n\tpruneExpire = now\n[maintenance]\n\tauto = false\n")
	b.WriteString("[fetch]\n\tfsckObjects = true\n\tunpackLimit = 1\n\twriteCommitGraph = false\n" +
		"\trecurseSubmodules = false\n\tprune = false\n[fetch \"fsck\"]\n")
	for _, name := range append(gitcmd.Unchecked(), s.FsckIgnore...) {
		b.WriteString("\t" + name + " = ignore\n")
	}
	// One that prepares a pack for long says something every five seconds meanwhile.
	fmt.Fprintf(&b, "[http]\n\tlowSpeedLimit = 1\n\tlowSpeedTime = %d\n", max(1, int(s.stall().Seconds())))
	fmt.Fprintf(&b, "[remote \"origin\"]\n\turl = %s\n", gitsetup.Quote(s.url))
	if s.Filter != "" {
		fmt.Fprintf(&b, "\tpromisor = true\n\tpartialCloneFilter = %s\n", gitsetup.Quote(s.Filter))
	}
	if s.LFS {
		b.WriteString("[filter \"lfs\"]\n\tclean = git-lfs clean -- %f\n\tsmudge = git-lfs smudge -- %f\n" +
			"\tprocess = git-lfs filter-process\n\trequired = true\n[lfs]\n\tlocksverify = false\n" +
			// Over what .lfsconfig says: all of the large files, or none.
			"\tskipdownloaderrors = false\n\tfetchinclude = \"\"\n\tfetchexclude = \"\"\n")
	}
	if s.Signatures != nil && s.Signatures.AllowedSigners != "" {
		fmt.Fprintf(&b, "[gpg \"ssh\"]\n\tallowedSignersFile = %s\n", gitsetup.Quote(s.Signatures.AllowedSigners))
	}
	return b.Bytes()
}

// prepare makes the store, or brings its configuration up to date.
func (s *store) prepare(ctx context.Context, commit string) error {
	want := s.configuration(commit)
	have, err := os.ReadFile(filepath.Join(s.dir, "config"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := s.create(ctx, commit); err != nil {
			return err
		}
	case err != nil:
		return err
	case bytes.Contains(have, []byte("sha256")) != bytes.Contains(want, []byte("sha256")):
		s.log().Warn("the repository has another object format now, and is fetched anew", "directory", s.Target.Dir)
		if err := s.discard(); err != nil {
			return err
		}
		if err := s.create(ctx, commit); err != nil {
			return err
		}
	}
	if err := s.removeStale(); err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		if err := replace(filepath.Join(s.dir, "config"), want); err != nil {
			return err
		}
	}
	return s.writeSparsePatterns()
}

// create makes an empty store, whole or not at all.
func (s *store) create(ctx context.Context, commit string) error {
	made := s.dir + tempSuffix
	if err := remove(made); err != nil {
		return err
	}
	format := "sha1"
	if hashSize(commit) == 32 {
		format = "sha256"
	}
	git := s.Git
	git.Dir = filepath.Dir(s.dir)
	if s.environs != nil {
		git.Environ = s.environs.alone
	}
	// The configuration is ours, and it is one of refs in files.
	git.Environ = append(slices.Clip(git.Environ), "GIT_DEFAULT_REF_FORMAT=files", "GIT_DEFAULT_HASH="+format)
	args := []string{"init", "--quiet", "--bare", "--template=", "--initial-branch=none", "--", made}
	if _, err := git.Output(ctx, gitcmd.Scope{}, args...); err != nil {
		return err
	}
	if err := os.Chmod(made, 0o700); err != nil {
		return err
	}
	return os.Rename(made, s.dir)
}

// writeSparsePatterns writes the paths that a work tree has, as patterns of which each is one path.
func (s *store) writeSparsePatterns() error {
	if len(s.sparse) == 0 {
		return nil
	}
	var b strings.Builder
	for _, path := range s.sparse {
		b.WriteString("/")
		for _, r := range strings.TrimSuffix(path, "/") {
			if strings.ContainsRune(`\*?[! #`, r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
		b.WriteByte('\n')
	}
	name := filepath.Join(s.dir, "info", "sparse-checkout")
	if have, err := os.ReadFile(name); err == nil && string(have) == b.String() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return replace(name, []byte(b.String()))
}

// removeStale takes away what a git that was killed has left. No git is at work here: the
// target's lock is held, and git ends with us.
func (s *store) removeStale() error {
	var stale []string
	for _, pattern := range []string{
		"*.lock", "refs/ghapp/*.lock", "config.new", "HEAD.new", "info/*.new",
		"objects/pack/tmp_*", "objects/pack/*.keep", "objects/tmp_*", "objects/*/tmp_obj_*",
	} {
		names, err := filepath.Glob(filepath.Join(globQuoted(s.dir), pattern))
		if err != nil {
			return err
		}
		stale = append(stale, names...)
	}
	for _, name := range stale {
		if err := remove(name); err != nil {
			return err
		}
	}
	return quarantine.Of(s.dir).Remove()
}

// globQuoted is a path in which nothing is a pattern.
func globQuoted(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// discard takes the store away. It holds nothing that cannot be fetched again.
func (s *store) discard() error {
	old := s.dir + ".old"
	if err := remove(old); err != nil {
		return err
	}
	if err := os.Rename(s.dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return remove(old)
}

// fetch gets a commit, which no other can be given for. A release is named so that its
// objects stay.
func (s *store) fetch(ctx context.Context, commit, id string) error {
	if s.receive(ctx, commit, id) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	args := []string{
		"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
		"--force", "--depth=" + strconv.Itoa(s.depth()),
	}
	git, err := s.reaching()
	if err != nil {
		return err
	}
	if git.Progress {
		args[1] = "--progress"
	}
	from := s.url
	if s.Filter != "" {
		args, from = append(args, "--filter="+s.Filter), "origin"
	}
	return git.Run(ctx, s.scope(), append(args, "--", from, commit+":"+refOf(id))...)
}

// pin makes sure that a commit was fetched before, and names a release so that its
// objects stay. Nobody is asked for anything.
func (s *store) pin(ctx context.Context, commit, id string) error {
	return s.git().Run(ctx, gitcmd.Scope{}, "update-ref", refOf(id), commit)
}

func refOf(id string) string { return "refs/ghapp/" + id }

// size is that of what was fetched, in bytes.
func (s *store) size() int64 {
	list, _ := os.ReadDir(filepath.Join(s.dir, "objects", "pack"))
	var size int64
	for _, e := range list {
		if info, err := e.Info(); err == nil && filepath.Ext(e.Name()) == ".pack" {
			size += info.Size()
		}
	}
	return size
}

// checkout makes the files of a commit in a directory: those that the index says are
// there already are looked at, and made anew where they differ.
func (s *store) checkout(ctx context.Context, commit, dir, index string) error {
	if s.LFS {
		// git-lfs begins before .lfsconfig is there, and looks for it in HEAD.
		if err := replace(filepath.Join(s.dir, "HEAD"), []byte(commit+"\n")); err != nil {
			return err
		}
	}
	git, scope, err := s.git(), gitcmd.Scope{}, error(nil)
	if s.LFS || s.Filter != "" { // large files, and objects that are left out until now
		git, err = s.reaching()
		scope = s.scope()
	}
	if err != nil {
		return err
	}
	git.Repository.WorkTree, git.Repository.Index = dir, index
	return git.Run(ctx, scope, "read-tree", "--reset", "-u", commit)
}

// gc lets the objects of releases go that are not kept any more, and packs what is
// left.
func (s *store) gc(ctx context.Context, kept map[string]bool) error {
	git := s.git()
	out, err := git.Output(ctx, gitcmd.Scope{}, "for-each-ref", "--format=%(refname)", "refs/ghapp/")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(out)) {
		if kept[strings.TrimPrefix(name, "refs/ghapp/")] {
			continue
		}
		if err := git.Run(ctx, gitcmd.Scope{}, "update-ref", "-d", name); err != nil {
			return err
		}
	}
	return git.Run(ctx, s.scope(), "gc", "--quiet")
}
