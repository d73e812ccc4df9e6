package demo

import (
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// keep shows an organization that is mirrored: what a force push takes away at GitHub is still
// in the mirror, and comes back from there.
func (s *story) keep() {
	if s.err != nil || runtime.GOOS == "windows" {
		return
	}
	s.title("The whole organization, kept")
	s.run("mirror", "acme", "--to", "mirrors")
	s.say("\nSomebody rewrites main, and pushes with force. On GitHub, what was there is in no\nbranch any more. " +
		"The mirror " +
		"follows, and keeps it:")
	s.rewrite()
	s.run("mirror", "acme", "--to", "mirrors")
	s.run("mirror", "status", "./mirrors")
	s.say("\nNothing was lost:")
	s.git("mirrors/acme/site.git", "for-each-ref", "--format=%(refname) %(contents:subject)", "refs/ghapp/kept")
}

// rewrite has the branch main begin anew, as a force push does.
func (s *story) rewrite() {
	if s.err != nil {
		return
	}
	_, s.err = s.stage.github.Repository(repositoryName).CommitEntries("main", githubtest.CommitOptions{
		Message: "Start over", Orphan: true, Entries: []githubtest.Entry{{Path: "README.md", Content: "# Empty\n"}},
	})
}

// git runs git itself in a directory of the demo, and shows it.
func (s *story) git(dir string, args ...string) {
	if s.err != nil {
		return
	}
	s.say("\n  $ git -C %s %s", dir, strings.Join(args, " "))
	git := gitcmd.Runner{Dir: filepath.Join(s.stage.dir, dir), Environ: s.env.Environ, Own: s.own}
	output, err := git.Output(s.ctx, gitcmd.Scope{}, args...)
	if s.err = err; err == nil {
		s.quote(string(output))
	}
}
