//go:build linux || darwin

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/cache"
	"github.com/ghapp-dev/ghapp/internal/credcache"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// answered is a user who has asked before.
type answered struct {
	home    string
	key     string // a file
	environ []string
	flags   []string
}

const tokenKey = "00000000000000000000000000000000000000000000000000000000000000aa"

// askedBefore is a user to whom ghapp has given the canary for a request, with these
// flags and variables.
func askedBefore(t *testing.T, request string, flags, environ []string) *answered {
	t.Helper()
	u := &answered{home: t.TempDir(), flags: flags}
	u.key = filepath.Join(u.home, "app.pem")
	u.environ = append([]string{"HOME=" + u.home}, environ...)
	asked := testkit.Must(credential.Parse(strings.NewReader(request)))(t)
	question, ok := credcache.Ask(flags, u.environ, asked)
	if !ok {
		t.Fatal("it is no question")
	}
	testkit.OK(t, os.WriteFile(u.key, []byte("key"), 0o600))
	info := testkit.Must(os.Stat(u.key))(t)
	stamp, ok := credcache.StampOf(info)
	if !ok {
		t.Fatal("the file has no stamp")
	}
	u.store(t, func(f *cache.Files) error {
		return errors.Join(
			f.Put(t.Context(), tokenKey, []byte(canary)),
			f.KeepAnswer(t.Context(), tokenKey, func([]byte) bool { return true }, credcache.Answer{
				Question: question, From: time.Now().Add(-time.Minute), Until: time.Now().Add(time.Hour),
				Files: []credcache.File{{Path: u.key, Stamp: stamp}}, Credential: answerTo(asked),
			}),
		)
	})
	return u
}

func (u *answered) store(t *testing.T, do func(*cache.Files) error) {
	t.Helper()
	dir := credcache.Dir(func(name string) (string, bool) { return map[string]string{"HOME": u.home}[name], true })
	files, err := cache.Open(dir)
	if err == nil {
		err = do(files)
	}
	testkit.OK(t, err)
}

// command is the helper of this user, with ghapp on PATH.
func (u *answered) command(t *testing.T, operation string) *exec.Cmd {
	t.Helper()
	self := testkit.Must(os.Executable())(t)
	path := t.TempDir()
	testkit.OK(t, os.Symlink(self, filepath.Join(path, "ghapp")))
	cmd := command(t, "", append(u.flags[:len(u.flags):len(u.flags)], operation)...)
	cmd.Env = append(append(cmd.Env, "PATH="+path), u.environ...)
	return cmd
}

// fromGhapp is what the stand-in for ghapp answers to this request.
func (u *answered) fromGhapp(operation, request string) result {
	var args strings.Builder
	for _, arg := range append(append([]string{"credential"}, u.flags...), operation) {
		args.WriteString(" " + strconv.Quote(arg))
	}
	return result{Stdout: "[" + args.String()[1:] + "]\n" + request, Code: ghappExit}
}

func TestAnswersFromTheFilesWithoutGhapp(t *testing.T) {
	names, err := filepath.Glob("../../credential/testdata/git/*-get-*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no captured requests: %v", err)
	}
	for _, name := range names {
		data := testkit.Must(os.ReadFile(name))(t)
		request := testkit.Must(credential.Parse(strings.NewReader(string(data))))(t)
		u := askedBefore(t, string(data), nil, nil)
		want := result{Stdout: encode(t, answerTo(request))}
		if diff := cmp.Diff(want, run(t, u.command(t, "get"), string(data))); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", filepath.Base(name), diff)
		}
	}
}

func TestAnswersFromTheFilesForFlagsAndVariables(t *testing.T) {
	want := result{Stdout: "username=x-access-token\npassword=" + canary + "\npassword_expiry_utc=4102444800\n"}
	for name, u := range map[string]*answered{
		"flags":         askedBefore(t, origin, []string{"--app", "Iv23li", "-q"}, nil),
		"variables":     askedBefore(t, origin, nil, []string{"GHAPP_APP=Iv23li", "GHAPP_KEY=/app.pem"}),
		"both":          askedBefore(t, origin, []string{"--app=Iv23li"}, []string{"GHAPP_KEY=/app.pem"}),
		"a dead agent":  askedBefore(t, origin, nil, []string{"GHAPP_AGENT_SOCK=/nonexistent/agent"}),
		"an empty line": askedBefore(t, origin+"\nhost=evil.example\n", nil, nil),
	} {
		in := origin
		if name == "an empty line" {
			in += "\nhost=evil.example\n"
		}
		if diff := cmp.Diff(want, run(t, u.command(t, "get"), in)); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}
	}
}

// The agent holds newer tokens, and counts what it is asked.
func TestAgentGoesBeforeTheFiles(t *testing.T) {
	u := askedBefore(t, origin, nil, nil)
	a := fakeAgent{refusal: errors.New("not installed")}
	cmd := u.command(t, "get")
	cmd.Env = append(cmd.Env, "GHAPP_AGENT_SOCK="+serve(t, &a))
	if got := run(t, cmd, origin); got.Stdout != "quit=1\n" || len(a.heard) != 1 {
		t.Errorf("got %+v, the agent heard %v", got, a.heard)
	}
}

// What is not the question that was answered, or rests on something else by now, is
// ghapp's to answer, and ghapp gets what git said as git said it.
func TestAsksGhappWhatTheFilesDoNotAnswer(t *testing.T) {
	none := func(*testing.T, *answered) {}
	for _, tt := range []struct {
		name      string
		operation string
		in        string
		change    func(t *testing.T, u *answered)
	}{
		{"another repository", "get", "protocol=https\nhost=github.com\npath=acme/web.git\n", none},
		{"another host", "get", strings.Replace(origin, "github.com", "github.com.", 1), none},
		{"another protocol", "get", strings.Replace(origin, "https", "http", 1), none},
		{"another git", "get", "capability[]=authtype\n" + origin, none},
		{"after a refusal", "get", origin + "wwwauth[]=Basic realm=\"GitHub\"\n", none},
		{"a user", "get", origin + "username=me\n", none},
		{"a carriage return", "get", strings.Replace(origin, "\n", "\r\n", 1), none},
		{"nothing", "get", "", none},
		{"erase", "erase", origin, none},
		{"a request of many bytes", "get", "protocol=https\nhost=github.com\npath=acme/web.git\nfuture=" +
			strings.Repeat("x", 5000) + "\n", none},
		{"one of more than a pipe holds", "get", "protocol=https\nhost=github.com\npath=acme/web.git\n" +
			strings.Repeat("future="+strings.Repeat("x", 1000)+"\n", 200), none},
		{"a carriage return in the first of many bytes", "get", "protocol=https\r\n" + strings.Repeat(origin, 200), none},
		{"more than a request", "get", "protocol=https\nhost=github.com\npath=acme/web.git\n\nfuture=x\n", none},
		{"an unknown attribute, which ghapp hears", "get",
			"protocol=https\nhost=github.com\npath=acme/web.git\nfuture=x\n", none},
		{"the longest line", "get", strings.Repeat("x", credential.MaxLine), none},
		{"another flag", "get", origin, func(_ *testing.T, u *answered) { u.flags = []string{"-q"} }},
		{"another App", "get", origin, func(_ *testing.T, u *answered) { u.environ = append(u.environ, "GHAPP_APP=1") }},
		{"the key itself", "get", origin,
			func(_ *testing.T, u *answered) { u.environ = append(u.environ, "GHAPP_PRIVATE_KEY=x") }},
		{"another configuration", "get", origin,
			func(_ *testing.T, u *answered) { u.environ = append(u.environ, "XDG_CONFIG_HOME=/x") }},
		{"another cache", "get", origin,
			func(t *testing.T, u *answered) { u.environ = append(u.environ, "XDG_CACHE_HOME="+t.TempDir()) }},
		{"the key was replaced", "get", origin, func(t *testing.T, u *answered) {
			testkit.OK(t, errors.Join(os.WriteFile(u.key+".new", []byte("key"), 0o600), os.Rename(u.key+".new", u.key)))
		}},
		{"the key was removed", "get", origin, func(t *testing.T, u *answered) {
			testkit.OK(t, os.Remove(u.key))
		}},
		{"the token was dropped", "get", origin, func(t *testing.T, u *answered) {
			u.store(t, func(f *cache.Files) error {
				return f.Update(t.Context(), tokenKey, func(context.Context, []byte) ([]byte, error) { return nil, nil })
			})
		}},
		{"others can enter the cache", "get", origin, func(t *testing.T, u *answered) {
			u.store(t, func(f *cache.Files) error { return os.Chmod(f.Dir(), 0o711) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := askedBefore(t, origin, nil, nil)
			tt.change(t, u)
			testkit.Diff(t, run(t, u.command(t, tt.operation), tt.in), u.fromGhapp(tt.operation, tt.in))
		})
	}
}

// Where the request was read in vain the process still becomes ghapp, so that a signal
// to it is one to ghapp.
func TestBecomesGhappAfterReadingTheRequest(t *testing.T) {
	u := askedBefore(t, origin, []string{"pid"}, nil)
	cmd := u.command(t, "get")
	got := run(t, cmd, "protocol=https\nhost=github.com\npath=acme/web.git\n")
	if want := strconv.Itoa(cmd.Process.Pid) + "\n"; got.Stdout != want {
		t.Errorf("ghapp is process %q, the helper was %q", got.Stdout, want)
	}
}

// git waits until a helper ends, and not for more than it said.
func TestDoesNotWaitForMoreThanARequest(t *testing.T) {
	u := askedBefore(t, origin, nil, nil)
	for _, in := range []string{origin + "\n", "protocol=https\nhost=github.com\npath=acme/web.git\n\n"} {
		cmd := u.command(t, "get")
		stdin, err := cmd.StdinPipe() // which stays open
		testkit.OK(t, err)
		testkit.OK(t, cmd.Start())
		testkit.Must(stdin.Write([]byte(in)))(t)
		_ = cmd.Wait() // ghapp's exit code, or none
	}
}
