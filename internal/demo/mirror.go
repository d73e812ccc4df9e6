package demo

import (
	"runtime"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

// keep shows an organization that is mirrored: what a force push takes away at GitHub is still
// in the mirror, and comes back from there.
func (s *story) keep() {
	if s.err != nil || runtime.GOOS == "windows" {
		return
	}
	s.title("The whole organization, kept")
	s.run("mirror", "acme", "--to", "mirrors")
	before := s.aSecondPasses()
	s.say("\nSomebody begins main anew, and pushes with force. On GitHub its files are gone. The\n" +
		"mirror follows the branch, and keeps what it left behind:")
	s.beginAnew("main")
	s.run("mirror", "acme", "--to", "mirrors")
	s.run("mirror", "status", "./mirrors")
	s.say("\nThe repository as it was before comes back from there:")
	s.run("mirror", "restore", repositoryName, "--from", "./mirrors", "--at", before, "--to", "rescued")
	s.show("rescued")
}

// beginAnew moves a branch to a commit without a history, as a force push does.
func (s *story) beginAnew(branch string) {
	if s.err != nil {
		return
	}
	_, s.err = s.stage.github.Repository(repositoryName).CommitEntries(branch, githubtest.CommitOptions{
		Message: "Begin anew", Orphan: true, Entries: []githubtest.Entry{{Path: "EMPTY", Content: "\n"}},
	})
}

// aSecondPasses waits for the next second, since a mirror knows its history by the second. It
// returns the one that has passed.
func (s *story) aSecondPasses() string {
	now := time.Now().UTC().Truncate(time.Second)
	if s.err == nil {
		s.err = wait.Sleep(s.ctx, time.Until(now.Add(time.Second)))
	}
	return now.Format(time.RFC3339)
}
