package barerepo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// Where only git understands the remote, git fetch gets all into a repository of its own, in which
// nobody looks: there it moves the refs, and checks what it fetches. From there it is taken
// over like what was fetched without it.

// refspecs have git fetch what follows the remote.
func (u *update) refspecs() []string {
	var list []string
	for _, prefix := range u.prefixes() {
		list = append(list, "+"+prefix+"*:"+prefix+"*")
	}
	return list
}

// fetchByGit fetches into a repository that has nothing, or borrows, and takes its refs for those
// of the remote.
func (u *update) fetchByGit(dir, format string) error {
	if err := appendFile(filepath.Join(dir, "config"), fetchConfiguration(u.FsckIgnore)); err != nil {
		return err
	}
	if err := u.from.ByGit(u.ctx, dir, u.refspecs()...); err != nil {
		return refused(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "shallow")); err == nil {
		return &Error{Problem: ErrMissing, Op: u.op(), Detail: "its history is cut off (a shallow repository)"}
	}
	if err := u.inspect(dir); err != nil {
		return err
	}
	fetched := &run{Repository: &Repository{Dir: dir, Git: u.Git, Log: u.Log}}
	s, err := fetched.read(u.ctx)
	if err != nil {
		return err
	}
	head := ""
	if u.there != nil {
		head = u.there.head
	} else if u.Head != "" {
		head = heads + u.Head
	}
	if u.there != nil {
		for name := range u.there.refs {
			if _, came := s.refs[name]; !came {
				return &Error{Problem: ErrMissing, Op: u.op(), Detail: "git fetch has not brought " + name}
			}
		}
	}
	listed := &gitwire.Refs{Format: format, Head: head}
	for name, id := range s.refs {
		listed.List = append(listed.List, gitwire.Ref{Name: name, ID: id})
	}
	return u.take(listed)
}

// inspect has git check the packs that git fetch has brought. From a server that hands out files alone, git
// takes packs and loose objects as they are, whatever its configuration says of checks
// (gitprotocol-http(5), "Dumb Clients"); and which way it went, it does not tell.
func (u *update) inspect(dir string) error {
	const loose = "objects/[0-9a-f][0-9a-f]/*"
	found, err := filepath.Glob(filepath.Join(globQuoted(dir), loose))
	if err != nil {
		return err
	}
	if len(found) > 0 { // what is fetched in git's protocol is kept as a pack
		return &Error{Problem: ErrBroken, Op: u.op(), Detail: "its objects came as files, and not in a pack"}
	}
	packs, err := filepath.Glob(filepath.Join(globQuoted(dir), "objects/pack/*.pack"))
	if err != nil {
		return err
	}
	for _, pack := range packs {
		for {
			name, value := gitcmd.WholeObjects()
			git := u.git(dir, "", name+"="+value)
			git.Environ = gitcmd.Bounded(git.Environ)
			err := u.call(u.ctx, git, "index-pack", "--verify", u.strict(), "objects/pack/"+filepath.Base(pack))
			if err == nil {
				break
			}
			name = unknownCheck(err)
			if name == "" || slices.Contains(u.unknown, name) {
				return refused(err)
			}
			u.unknown = append(u.unknown, name)
		}
	}
	return nil
}

// fetchConfiguration has git fetch check what comes as index-pack does for us, and keep it as it
// came. Of what was not known when a git was made, it says so and goes on.
func fetchConfiguration(ignore []string) string {
	var b strings.Builder
	b.WriteString("[fetch]\n\tfsckObjects = true\n\tunpackLimit = 1\n\twriteCommitGraph = false\n\tprune = false\n" +
		"[fetch \"fsck\"]\n")
	for _, name := range append(gitcmd.Unchecked(), ignore...) {
		b.WriteString("\t" + name + " = ignore\n")
	}
	name, value := gitcmd.WholeObjects()
	section, name, _ := strings.Cut(name, ".")
	// Its refs are thrown away, and its packs are flushed before they count.
	b.WriteString("[" + section + "]\n\t" + name + " = " + value + "\n\tfsync = none\n")
	return b.String()
}

func appendFile(name, text string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// makeByGit makes a repository by git fetch, in a directory that has an empty one.
func (u *update) makeByGit(dir, format string) error {
	err := u.fetchByGit(dir, format)
	if err != nil && u.there == nil && format == gitwire.SHA1 && otherFormat(err) {
		format = gitwire.SHA256
		if err = os.RemoveAll(dir); err == nil {
			err = u.skeleton(dir, format, "")
		}
		if err == nil {
			err = u.fetchByGit(dir, format)
		}
	}
	if err != nil {
		return err
	}
	// As though it had been fetched without git.
	for _, name := range []string{"refs", "packed-refs", "FETCH_HEAD", "logs"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return u.skeleton(dir, format, u.there.head)
}

// otherFormat reports that git fetch failed since the remote's objects have another format.
func otherFormat(err error) bool {
	e, ok := errors.AsType[*gitcmd.Error](err)
	return ok && strings.Contains(e.Stderr, "mismatched algorithms")
}

// laterByGit brings a repository up to date by git fetch.
func (u *update) laterByGit() error {
	q, err := u.quarantine()
	if err != nil {
		return err
	}
	defer q.remove()
	dir := filepath.Dir(q.Objects)
	if err := u.skeleton(dir, u.here.format, ""); err != nil {
		return err
	}
	u.step("quarantined")
	err = u.fetchByGit(dir, u.here.format)
	if err != nil && otherFormat(err) {
		q.remove()
		u.there = nil
		return u.anew()
	}
	if err != nil {
		return err
	}
	had := map[string]bool{}
	for _, id := range u.here.refs {
		had[id] = true
	}
	if wants := wantsOf(u.there.refs, had); len(wants) > 0 {
		return u.admit(q, wants)
	}
	return u.move(nil)
}
