// Package demo shows the way from an App's key to a clone, a published push and a mirror on
// this machine alone, against a GitHub in this process. It stands above the command line, which it runs as
// a person would; nothing else leans on it.
package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/cli"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/term"
)

// Run tells the story of the demo, or keeps its GitHub running where o says so. What ghapp
// prints there is what it prints to everybody: each step is [cli.Run].
func Run(ctx context.Context, env cli.Env, o cli.DemoOptions) (err error) {
	dir, err := os.MkdirTemp("", "ghapp-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stage, err := newStage(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	if o.Serve {
		return stage.serve(ctx, env.Stdout, o.JSON)
	}
	story := &story{env: env, own: o.Own, ctx: ctx, stage: stage}
	story.tell()
	return story.err
}

// stage is the demo's world: a GitHub, an App with a key, an organization with two private
// repositories, of which one is deployed from a branch.
type stage struct {
	dir    string
	github *githubtest.GitHub
	server *http.Server
	app    *githubtest.App
	origin string
}

const (
	repositoryName = "acme/site"
	branchName     = "deployment"
	manualName     = "acme/manual"
	hiddenName     = "acme/payroll" // not selected for the App
)

func newStage(dir string) (*stage, error) {
	github, err := githubtest.New(githubtest.Options{Dir: filepath.Join(dir, "github")})
	if err != nil {
		return nil, fmt.Errorf("start a GitHub: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a GitHub: %w", err)
	}
	s := &stage{dir: dir, github: github, origin: "http://" + listener.Addr().String(),
		server: &http.Server{Handler: github}}
	go func() { _ = s.server.Serve(listener) }()

	s.app = github.AddApp(githubtest.AppOptions{Name: "Acme Deployer", Owner: "acme",
		Permissions: map[string]string{"contents": "read", "metadata": "read"}})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	s.app.AddKey(&key.PublicKey)
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(filepath.Join(dir, "app.pem"), text, 0o600); err != nil {
		return nil, fmt.Errorf("write the key: %w", err)
	}
	repository := github.AddRepository(repositoryName, githubtest.RepositoryOptions{})
	commits := []struct {
		branch, message string
		files           map[string]string
	}{
		{"main", "Say hello", map[string]string{"README.md": "# acme/site\n", "index.html": "<h1>Hello</h1>\n"}},
		{branchName, "Deploy version 1", map[string]string{"VERSION": "1\n"}},
	}
	for _, commit := range commits {
		if _, err := repository.Commit(commit.branch, commit.message, commit.files); err != nil {
			return nil, fmt.Errorf("fill the repository: %w", err)
		}
	}
	manual := github.AddRepository(manualName, githubtest.RepositoryOptions{})
	if _, err := manual.Commit("main", "Begin the manual", map[string]string{"manual.md": "# Manual\n"}); err != nil {
		return nil, fmt.Errorf("fill the repository: %w", err)
	}
	github.AddRepository(hiddenName, githubtest.RepositoryOptions{})
	s.app.Install("acme", githubtest.InstallOptions{Repositories: []string{repositoryName, manualName}})
	return s, nil
}

func (s *stage) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(s.server.Shutdown(ctx), s.github.Close())
}

// story tells the steps one after the other and stops at the first that fails.
type story struct {
	env   cli.Env
	own   childenv.Own
	ctx   context.Context
	stage *stage
	step  int
	err   error
}

func (s *story) tell() {
	s.say("A GitHub of our own runs at %s, for this demo alone.\nNothing leaves this machine.", s.stage.origin)

	s.title("An App and its key")
	s.say("On GitHub you register an App and download its private key once. Here it is\napp.pem, and the App's client "+
		"ID is %s. The settings page shows the\nkey's fingerprint; so does ghapp, offline:", s.stage.app.ClientID)
	s.run("keys", "fingerprint", "app.pem")
	s.say("\nThe App is installed on acme, for some of its repositories:")
	s.run("installations")

	s.title("The clone: one command")
	s.stage.github.ResetRequests()
	s.run("clone", repositoryName, "site", "--branch", branchName)
	s.show("site")
	s.say("\nWhat GitHub was asked for it:\n")
	s.requests()

	s.title("What was left behind")
	s.search("site")

	s.title("Once more: nothing is asked of the API while the token lives")
	s.stage.github.ResetRequests()
	s.run("clone", "acme/site", "again")
	s.say("")
	s.requests()

	s.watch()
	s.keep()

	s.title("When it does not work, it says why, and what to do")
	s.fails("clone", hiddenName)

	s.title("A token on its own")
	s.run("token", repositoryName, "--json")

	s.say("\nThat was all of it. To try it yourself: ghapp demo --serve. On GitHub it is the same:\n\n" +
		"  ghapp clone OWNER/NAME --app CLIENT_ID --key app.pem")
}

func (s *story) title(text string) {
	s.step++
	s.say("\n%d. %s", s.step, text)
}

func (s *story) say(format string, args ...any) {
	if s.err != nil {
		return
	}
	_, s.err = fmt.Fprintf(s.env.Stdout, format+"\n", args...)
}

// run runs ghapp itself, in the demo's world, and shows it.
func (s *story) run(args ...string) {
	if code := s.ghapp(args); code != 0 && s.err == nil {
		s.err = &fault.ExitError{Code: code, Err: fmt.Errorf("step %d of the demo failed", s.step)}
	}
}

// fails is run for a command that GitHub has to refuse.
func (s *story) fails(args ...string) {
	if code := s.ghapp(args); code != fault.Refused && s.err == nil {
		s.err = fmt.Errorf("step %d of the demo ended with %d, not with a refusal", s.step, code)
	}
}

func (s *story) ghapp(args []string) int {
	if s.err != nil {
		return 0
	}
	s.say("\n  $ ghapp %s", strings.Join(args, " "))
	var output bytes.Buffer
	code := cli.Run(s.ctx, s.world(&output), s.here(args))
	s.quote(output.String())
	return code
}

// world is the demo's world for ghapp, whose output is kept.
func (s *story) world(output io.Writer) cli.Env {
	env := s.env
	env.Stdout, env.Stderr = output, output
	env.Environ = append(childenv.Apart(s.env.Environ, childenv.Own{}),
		"GHAPP_HOST="+s.stage.origin,
		"GHAPP_APP="+s.stage.app.ClientID,
		"GHAPP_KEY="+filepath.Join(s.stage.dir, "app.pem"),
		"XDG_CACHE_HOME="+filepath.Join(s.stage.dir, "cache"),
		"XDG_CONFIG_HOME="+filepath.Join(s.stage.dir, "config"),
	)
	return env
}

// here are the arguments with the demo's own directory in them: it does not leave the
// one it was started in.
func (s *story) here(args []string) []string {
	real := slices.Clone(args)
	for i, arg := range real {
		if slices.Contains([]string{"app.pem", "site", "again", "live", "./live", "webhook.secret", "mirrors",
			"./mirrors", "rescued"}, arg) {
			real[i] = filepath.Join(s.stage.dir, arg)
		}
	}
	return real
}

// quote shows a program's output, without the name of the demo's directory.
func (s *story) quote(output string) {
	for line := range strings.Lines(strings.ReplaceAll(output, s.stage.dir+string(filepath.Separator), "")) {
		s.say("  %s", strings.TrimRight(line, "\n"))
	}
}

func (s *story) show(name string) {
	if s.err != nil {
		return
	}
	entries, err := os.ReadDir(filepath.Join(s.stage.dir, name))
	if err != nil {
		s.err = fmt.Errorf("read the clone: %w", err)
		return
	}
	names := []string{"$ ls " + name + "\n "}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	s.say("\n  %s", strings.Join(names, " "))
}

// requests shows what GitHub was asked since the last reset.
func (s *story) requests() {
	if s.err != nil {
		return
	}
	api, rows := 0, [][]string{}
	for _, r := range s.stage.github.Requests() {
		if strings.HasPrefix(r.Path, "/api/") {
			api++
		}
		rows = append(rows, []string{r.Method, r.Path, strconv.Itoa(r.Status), "credential: " + string(r.Credential.Kind)})
	}
	var aligned bytes.Buffer
	if s.err = term.Table(&aligned, rows); s.err == nil {
		s.quote(aligned.String())
		s.say("\n  %d of the API, the rest of git's own service.", api)
	}
}

// search looks for the token, as a thief would, in every file of the clone.
func (s *story) search(name string) {
	if s.err != nil {
		return
	}
	dir := filepath.Join(s.stage.dir, name)
	var tokens [][]byte
	for _, token := range s.stage.github.Tokens() {
		tokens = append(tokens, []byte(token.Token))
	}
	files := 0
	s.err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, token := range tokens {
			if bytes.Contains(text, token) {
				return fmt.Errorf("the token is in %s", path)
			}
		}
		return nil
	})
	if s.err == nil && (files == 0 || len(tokens) == 0) {
		s.err = errors.New("there was nothing to search")
	}
	if s.err != nil {
		return
	}
	s.say("%d files of the clone were searched for the token: it is in none.\nThe clone knows only the helper's name, "+
		"so that git pull works tomorrow:", files)
	git := gitcmd.Runner{Dir: dir, Environ: s.env.Environ, Own: s.own}
	settings, err := git.Output(s.ctx, gitcmd.Scope{}, "config", "--local", "--get-regexp", "credential")
	if s.err = err; err == nil {
		s.say("\n  $ git config --get-regexp credential")
		s.quote(string(settings))
	}
}
