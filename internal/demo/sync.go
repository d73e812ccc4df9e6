package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/internal/cli"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
)

// patience is how long a step of the demo may take that happens beside it.
const patience = 20 * time.Second

// watch shows a directory that follows a branch: pushes are published while it runs, one
// that does not pass the check is not, and the last one is taken back.
func (s *story) watch() {
	if s.err != nil || runtime.GOOS == "windows" {
		return
	}
	address, err := freeAddress()
	if err != nil {
		s.err = fmt.Errorf("find a port: %w", err)
		return
	}
	secret := rand.Text()
	if s.err = os.WriteFile(filepath.Join(s.stage.dir, "webhook.secret"), []byte(secret), 0o600); s.err != nil {
		return
	}
	s.title("A server that always shows the branch " + branchName)
	args := []string{"sync", repositoryName, "--branch", branchName, "--to", "live", "--watch", "--webhook", address,
		"--webhook-secret-file", "webhook.secret", "--check", "grep -qx [0-9] VERSION"}
	s.say("\n  $ ghapp sync %s --branch %s --to live --watch \\\n        --webhook %s --webhook-secret-file "+
		"webhook.secret --check 'grep -qx [0-9] VERSION' &", repositoryName, branchName, address)
	ctx, end := context.WithCancel(s.ctx)
	defer end()
	output := &shared{}
	ended := make(chan int, 1)
	go func() { ended <- cli.Run(ctx, s.world(output), s.here(args)) }()
	s.shows(ended, output, "1")
	s.stage.app.SetWebhook(githubtest.Webhook{URL: "http://" + address + "/webhook", Secret: secret,
		Origin: s.stage.origin}, "push")
	s.push("2", "Somebody pushes version 2. GitHub's webhook tells of it:")
	s.shows(ended, output, "2")
	s.push("broken", "A push that does not pass the check is not published:")
	s.waits(ended, output, func() bool { return strings.Contains(output.String(), "the check failed") })
	s.say("\n  $ cat live/VERSION\n  %s                        (the check failed)", s.version())
	s.push("3", "The next one is:")
	s.shows(ended, output, "3")
	s.stage.app.SetWebhook(githubtest.Webhook{})
	end()
	if code := <-ended; code != 0 && s.err == nil {
		s.err = errors.New("ghapp sync ended badly: " + output.String())
	}
	s.say("\nTaking it back is one rename, and holds until the branch moves on:")
	s.run("sync", "rollback", "./live")
	s.run("sync", "status", "./live")
}

// shared is what a command prints, for those who read it while it runs.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// freeAddress is a loopback address that nothing listens at.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (s *story) push(version, text string) {
	if s.err != nil {
		return
	}
	s.say("\n%s", text)
	_, s.err = s.stage.github.Repository(repositoryName).Commit(branchName, "Deploy version "+version,
		map[string]string{"VERSION": version + "\n"})
}

// shows waits until the directory shows a version, and tells how long that took.
func (s *story) shows(ended chan int, output *shared, version string) {
	begun := time.Now()
	s.waits(ended, output, func() bool { return s.version() == version })
	s.say("\n  $ cat live/VERSION\n  %s                        (after %s)", version,
		time.Since(begun).Round(time.Millisecond))
}

// version is what the directory shows.
func (s *story) version() string {
	text, _ := os.ReadFile(filepath.Join(s.stage.dir, "live", "VERSION"))
	return strings.TrimSpace(string(text))
}

func (s *story) waits(ended chan int, output *shared, done func() bool) {
	for late := time.Now().Add(patience); s.err == nil && !done(); time.Sleep(5 * time.Millisecond) {
		select {
		case code := <-ended:
			ended <- code
			s.err = fmt.Errorf("ghapp sync ended with %d: %s", code, output.String())
		case <-s.ctx.Done():
			s.err = context.Cause(s.ctx)
		default:
			if time.Now().After(late) {
				s.err = errors.New("ghapp sync does not publish what was pushed")
			}
		}
	}
}
