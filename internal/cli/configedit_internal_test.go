package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const twoApps = "# ours\napps:\n  a:\n    app: 1\n  b:\n    app: 2\n"

// configTo runs ghapp on a config file.
func configTo(t *testing.T, path string, args ...string) (stderr string, code int) {
	t.Helper()
	var out, told bytes.Buffer
	env := Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &told,
		Environ: []string{"HOME=" + filepath.Dir(path), "PATH=" + os.Getenv("PATH")}}
	code = Run(t.Context(), env, append([]string{"config", "--config", path}, args...))
	return told.String(), code
}

func configOf(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config.yaml")
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func wantConfig(t *testing.T, path, want string) {
	t.Helper()
	testkit.Equal(t, string(testkit.Must(os.ReadFile(path))(t)), want, "the file")
}

func TestConfigSetWhileAnotherHoldsTheLock(t *testing.T) {
	path := configOf(t, twoApps)
	testkit.OK(t, os.WriteFile(path+".lock", nil, 0o600))
	synctest.Test(t, func(t *testing.T) {
		stderr, code := configTo(t, path, "set", "a.key", "a.pem")
		testkit.Equal(t, code, 3)
		testkit.Contains(t, stderr, path+".lock is there; if nobody is, remove that file")
	})
	wantConfig(t, path, twoApps)
	testkit.OK(t, testkit.ErrorOf(os.Stat(path+".lock")), "the lock of another")
}

func TestConfigSetsAtOnceLoseNothing(t *testing.T) {
	path := configOf(t, twoApps)
	settings := map[string]string{"a.key": "/a.pem", "b.key": "/b.pem", "a.installation": "11", "b.installation": "12",
		"a.owners": "acme", "b.owners": "octo"}
	var all sync.WaitGroup
	for key, value := range settings {
		all.Go(func() {
			if stderr, code := configTo(t, path, "set", key, value); code != 0 {
				t.Errorf("%s: exit code %d\n%s", key, code, stderr)
			}
		})
	}
	all.Wait()
	text := testkit.Must(os.ReadFile(path))(t)
	for _, value := range settings {
		if strings.Count(string(text), value) != 1 {
			t.Errorf("%s is lost:\n%s", value, text)
		}
	}
}

// A name may have dots in it, and so may what a repository is called.
func TestConfigKeysNameTheLongestAppThereIs(t *testing.T) {
	const text = "apps:\n  a:\n    app: 1\n  a.b:\n    app: 2\n  default:\n    app: 3\n"
	for key, want := range map[string]string{
		"a.host":               "apps:\n  a:\n    app: 1\n    host: x.example\n  a.b:\n    app: 2\n  default:\n    app: 3\n",
		"a.b.host":             "apps:\n  a:\n    app: 1\n  a.b:\n    app: 2\n    host: x.example\n  default:\n    app: 3\n",
		"apps.a.b.host":        "apps:\n  a:\n    app: 1\n  a.b:\n    app: 2\n    host: x.example\n  default:\n    app: 3\n",
		"default.host":         "apps:\n  a:\n    app: 1\n  a.b:\n    app: 2\n  default:\n    app: 3\n    host: x.example\n",
		"a.repositories.o/b.c": "",
		"default":              "",
	} {
		t.Run(key, func(t *testing.T) {
			path, value := configOf(t, text), "x.example"
			switch key {
			case "default":
				value, want = "a.b", text+"default: a.b\n"
			case "a.repositories.o/b.c":
				value, want = "contents:write", strings.Replace(text, "app: 1\n",
					"app: 1\n    repositories:\n      o/b.c: {contents: write}\n", 1)
			}
			if stderr, code := configTo(t, path, "set", key, value); code != 0 {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			wantConfig(t, path, want)
			if stderr, code := configTo(t, path, "unset", key); code != 0 {
				t.Fatalf("unset: exit code %d\n%s", code, stderr)
			}
			wantConfig(t, path, text)
		})
	}
}

func TestConfigSetRefusesAFlagThatWouldNotBeWritten(t *testing.T) {
	path := configOf(t, twoApps)
	for _, flag := range []string{"--app=a", "--key=k.pem", "--host=h.example", "--installation=5", "--key-timeout=5s"} {
		stderr, code := configTo(t, path, "set", "a.key", "/a.pem", flag)
		name, _, _ := strings.Cut(flag, "=")
		if code != 2 || !strings.Contains(stderr, name+" is not written to the config file") {
			t.Errorf("%s: exit code %d\n%s", flag, code, stderr)
		}
	}
	wantConfig(t, path, twoApps)
}

// The editor is waited for, and what a person wrote is kept, though it does not count.
func TestConfigEditThatIsInterruptedKeepsTheText(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the editor is a program of the shell")
	}
	path := configOf(t, twoApps)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var told bytes.Buffer
	env := Env{Stdin: strings.NewReader(""), Stdout: &told, Stderr: &told,
		Environ: []string{"PATH=" + os.Getenv("PATH"), "EDITOR=echo '# mine' | tee -a"}}
	code := Run(ctx, env, []string{"config", "edit", "--config", path})
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(path), "config.edit-*.yaml"))
	if code != 130 || err != nil || len(kept) != 1 || !strings.Contains(told.String(), "kept in "+kept[0]) {
		t.Fatalf("exit code %d, kept %v (%v)\n%s", code, kept, err, told.String())
	}
	wantConfig(t, path, twoApps)
	wantConfig(t, kept[0], twoApps+"# mine\n")
}

// The PIN that is in a file stays there when something else is changed, and is not told.
func TestConfigSetTellsNoPINOfTheFile(t *testing.T) {
	const text = "apps:\n  a:\n    app: 1\n    key: pkcs11:object=app?pin-value=canary4711\n"
	path := configOf(t, text)
	for _, args := range [][]string{{"set", "a.host", "x.example"}, {"set", "a.hots", "x"},
		{"set", "a.key", "1", "2", "3"}, {"unset", "a.host"}, {"unset", "a.app"}} {
		if stderr, _ := configTo(t, path, args...); strings.Contains(stderr, "canary") {
			t.Errorf("%q tells the PIN:\n%s", args, stderr)
		}
	}
	wantConfig(t, path, text)
}

func TestConfigNowhere(t *testing.T) {
	for _, args := range [][]string{{"set", "a.app", "1"}, {"unset", "a"}, {"edit"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			var told bytes.Buffer
			env := Env{Stdin: strings.NewReader(""), Stdout: &told, Stderr: &told}
			if code := Run(t.Context(), env, append([]string{"config"}, args...)); code != 3 ||
				!strings.Contains(told.String(), "no place for a config file") {
				t.Errorf("exit code %d\n%s", code, told.String())
			}
		})
	}
}
