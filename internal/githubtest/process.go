package githubtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// prepareGit finds git, and makes the directory of the repositories, the first time it is called. It is called with the
// lock held.
func (gh *GitHub) prepareGit() error {
	if gh.program == "" {
		name := gh.git
		if name == "" {
			name = "git"
		}
		program, err := exec.LookPath(name)
		if err == nil {
			program, err = filepath.Abs(program)
		}
		if err != nil {
			return fmt.Errorf("githubtest: %w", err)
		}
		gh.program = program
	}
	if gh.dir == "" {
		dir, err := os.MkdirTemp("", "githubtest-")
		if err != nil {
			return fmt.Errorf("githubtest: %w", err)
		}
		gh.dir, gh.ownDir = dir, true
	}
	return nil
}

// enter counts a git process about to run, so that Close waits for it. After Close it reports false.
func (gh *GitHub) enter() bool {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	if !gh.closed {
		gh.runs.Add(1)
	}
	return !gh.closed
}

// run runs a git command in a directory, in an environment of its own, and returns what it prints.
func (gh *GitHub) run(dir string, in []byte, command string, args ...string) (string, error) {
	if !gh.enter() {
		return "", errors.New("githubtest: closed")
	}
	defer gh.runs.Done()
	cmd := exec.CommandContext(gh.ctx, gh.program, append([]string{command}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(gh.environment(), "PATH="+os.Getenv("PATH"))
	cmd.Stdin = bytes.NewReader(in)
	cmd.WaitDelay = 10 * time.Second // a busy machine lets the end of what was printed wait
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("githubtest: git %s: %w: %s", command, err,
			strings.ReplaceAll(strings.TrimSpace(complaint.String()), "\n", "; "))
	}
	return out.String(), nil
}

// environment is all that a git process is told, besides PATH: nothing of the caller's configuration, no clean-up that
// goes on in the background, and what GitHub's servers allow.
func (gh *GitHub) environment() []string {
	settings := []string{
		"core.fsync=none",
		"gc.auto=0",
		"http.receivepack=true",
		"maintenance.auto=false",
		"receive.autogc=false",
		"receive.hideRefs=refs/pull",
		"safe.directory=*",
		"uploadpack.allowAnySHA1InWant=true",
		"uploadpack.allowFilter=true",
		"uploadpack.keepAlive=1",
	}
	env := []string{
		"HOME=" + gh.dir,
		"LC_ALL=C",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_HTTP_EXPORT_ALL=1",
		"GIT_PROJECT_ROOT=" + gh.dir,
		"GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings)),
	}
	for i, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, value))
	}
	return env
}
