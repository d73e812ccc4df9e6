package cli_test

import (
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// briefScripts are those that run with the flag -short as well: one for each thing that
// people do most, of which the others are variations.
var briefScripts = map[string]bool{
	"clone": true, "config": true, "credential": true, "exec": true, "git-setup": true,
	"keys": true, "token": true, "usage": true,
}

// TestScripts runs the scripts of testdata/script: the real programs and real git
// against a GitHub in this process.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	if testing.Short() {
		scripts = slices.DeleteFunc(scripts, func(path string) bool {
			name := strings.TrimSuffix(filepath.Base(path), ".txtar")
			return !briefScripts[name] && t.Run(name, func(t *testing.T) { testkit.Long(t) })
		})
	}
	testscript.Run(t, testscript.Params{
		Files:               scripts,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			if err := build(); err != nil {
				return err
			}
			home := filepath.Join(env.WorkDir, "home")
			if err := os.MkdirAll(home, 0o755); err != nil {
				return err
			}
			env.Setenv("HOME", home)
			env.Setenv("PATH", binaries+string(os.PathListSeparator)+os.Getenv("PATH"))
			env.Setenv("GHAPP", filepath.Join(binaries, "ghapp"))
			env.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			if dir := os.Getenv(coverVariable); dir != "" {
				env.Setenv("GOCOVERDIR", dir)
			}
			for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy"} {
				env.Setenv(name, "")
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"github": func(ts *testscript.TestScript, neg bool, args []string) {
				cmdGitHub(ts, testkit.Key(t), neg, args)
			},
			"mints":      cmdMints,
			"requests":   cmdRequests,
			"nosecrets":  cmdNoSecrets,
			"credential": cmdCredential,
			"mode":       cmdMode,
			"exitcode":   cmdExitCode,
			"linked":     cmdLinked,
		},
	})
}

// cmdGitHub is `github start [tls]`, which sets up acme/site (branches main and
// deployment), acme/web, acme/hidden (not selected) and octo/lib (of an owner who
// has not installed the App), and points ghapp there; or `github LINE`, a line of
// the stand-in's own script.
func cmdGitHub(ts *testscript.TestScript, key *rsa.PrivateKey, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: github start [tls] | github LINE...")
	}
	if args[0] != "start" {
		for i, arg := range args {
			if strings.ContainsAny(arg, " \t\"'") {
				args[i] = strconv.Quote(arg)
			}
		}
		line := strings.ReplaceAll(strings.Join(args, " "), "$WORK", ts.Getenv("WORK"))
		ts.Check(worldOf(ts).github.Script(line))
		return
	}
	w, err := newWorld(ts.MkAbs("github"), key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("app.pem"), w.keyPEM, 0o600))

	var server *httptest.Server
	if slices.Contains(args, "tls") {
		server = httptest.NewTLSServer(w.github)
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), ca, 0o644))
	} else {
		server = httptest.NewServer(w.github)
	}
	ts.Setenv("ORIGIN", server.URL)
	ts.Setenv("GHAPP_HOST", server.URL)
	ts.Setenv("GHAPP_APP", w.app.ClientID)
	ts.Setenv("GHAPP_KEY", ts.MkAbs("app.pem"))
	scriptWorlds.Store(ts, w)
	ts.Defer(func() {
		server.Close()
		_ = w.github.Close()
		scriptWorlds.Delete(ts)
	})
}

// scriptWorlds finds a script's world by its TestScript, which has no place for
// values of its own.
var scriptWorlds sync.Map

func worldOf(ts *testscript.TestScript) *world {
	w, ok := scriptWorlds.Load(ts)
	if !ok {
		ts.Fatalf("there is no GitHub yet: github start")
	}
	return w.(*world)
}

// cmdMints is `mints N`: so many tokens were minted so far.
func cmdMints(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mints N")
	}
	if got := strconv.Itoa(worldOf(ts).github.Mints()); got != args[0] {
		ts.Fatalf("%s tokens were minted, want %s", got, args[0])
	}
}

// cmdRequests is `requests api|git|all N`: so many requests came so far, since the
// last `github forget`; with `-N`, at most so many.
func cmdRequests(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: requests api|git|all [-]N")
	}
	var lines []string
	for _, r := range worldOf(ts).github.Requests() {
		git := strings.HasPrefix(r.UserAgent, "git/")
		if args[0] == "all" || git == (args[0] == "git") {
			lines = append(lines, fmt.Sprintf("%s %s by %s: %d", r.Method, r.Path, r.Credential.Kind, r.Status))
		}
	}
	most, bound := strings.CutPrefix(args[1], "-")
	want, err := strconv.Atoi(most)
	ts.Check(err)
	if len(lines) != want && !(bound && len(lines) < want) {
		ts.Fatalf("%d requests, want %s:\n%s", len(lines), args[1], strings.Join(lines, "\n"))
	}
}

// cmdNoSecrets is `nosecrets PATH...`: no token, no JSON Web Token and no line of
// the key stands in these files, in what the last command printed, as it is or in
// base64.
func cmdNoSecrets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: nosecrets PATH...")
	}
	if len(worldOf(ts).tokens()) == 0 {
		ts.Fatalf("no token was minted, so there is none to look for")
	}
	secrets := worldOf(ts).secrets()
	for _, r := range worldOf(ts).github.Requests() {
		if r.Credential.Kind == githubtest.JWTCredential {
			secrets = append(secrets, r.Credential.Token)
		}
	}
	search := func(place string, text []byte) {
		if found := search(text, secrets); found != "" {
			ts.Fatalf("a secret is in %s: %s", place, found)
		}
	}
	search("stdout", []byte(ts.ReadFile("stdout")))
	search("stderr", []byte(ts.ReadFile("stderr")))
	files := 0
	for _, arg := range args {
		ts.Check(filepath.WalkDir(ts.MkAbs(arg), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			files++
			search(path, text)
			return err
		}))
	}
	if files == 0 {
		ts.Fatalf("there is no file to search")
	}
}

// cmdCredential is `credential FILE KEY=VALUE...`: writes a request of git's
// credential protocol to a FILE.
func cmdCredential(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: credential FILE KEY=VALUE...")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(args[1:], "\n")+"\n\n"), 0o600))
}

// cmdLinked is `[!] linked FILE TARGET`: the file is a symbolic link to what begins with
// the target.
func cmdLinked(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] linked FILE TARGET")
	}
	to, err := os.Readlink(ts.MkAbs(args[0]))
	if linked := err == nil && strings.HasPrefix(to, args[1]); linked == neg {
		ts.Fatalf("%s leads to %q: %v", args[0], to, err)
	}
}

// cmdMode is `mode 0600 FILE`.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode MODE FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has the mode %s, want %s", args[1], got, args[0])
	}
}

// cmdExitCode is `exitcode N PROGRAM ARG...`: the program ends with that code.
func cmdExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = strconv.Itoa(exit.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("%s: exit code %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}
