package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// world is what a command finds around it.
type world struct {
	flags, env map[string]string
	file       string // text of the config file at its default place; "" is none
}

// load makes the world and loads it. HOME is a new directory.
func (w world) load(t *testing.T) (*Config, error, string) {
	t.Helper()
	home := t.TempDir()
	env := map[string]string{"HOME": home, "USERPROFILE": home, "AppData": filepath.Join(home, ".config")}
	for name, text := range w.env {
		env[name] = text
	}
	if w.file != "" {
		dir := filepath.Join(home, ".config", "ghapp")
		if err := errors.Join(os.MkdirAll(dir, 0o700),
			os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(w.file), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(Options{Flags: w.flags, LookupEnv: func(name string) (string, bool) {
		text, ok := env[name]
		return text, ok
	}})
	return c, err, home
}

// short replaces what differs from run to run.
func short(err error, home string) []string {
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), filepath.Join(home, ".config", "ghapp", "config.yaml"), "FILE")
	return strings.Split(strings.ReplaceAll(text, home, "HOME"), "\n")
}

func TestPrecedence(t *testing.T) {
	samples := map[string][3]string{ // flag, variable, file
		"app":          {"1", "2", "3"},
		"key":          {"/flag.pem", "/env.pem", "/file.pem"},
		"key_timeout":  {"1s", "2s", "3s"},
		"installation": {"1", "2", "3"},
		"host":         {"flag.example.com", "env.example.com", "file.example.com"},
		"api_url":      {"https://flag.example.com", "https://env.example.com", "https://file.example.com"},
		"api_version":  {"2022-11-21", "2022-11-22", "2022-11-23"},
		"ca_file":      {"/flag.ca", "/env.ca", "/file.ca"},
	}
	for _, s := range Settings() {
		if !s.InFile || ofBroker(s.Key) { // which stand beside no App
			continue
		}
		sample, ok := samples[s.Key]
		if !ok {
			t.Errorf("no sample for %s", s.Key)
			continue
		}
		for bits := range 8 {
			t.Run(fmt.Sprintf("%s/%03b", s.Key, bits), func(t *testing.T) {
				// The file's App is chosen by name, so that its host does not decide.
				w := world{flags: map[string]string{"app": "mine"}, env: map[string]string{"GHAPP_KEY": "/k.pem"},
					file: "apps:\n  mine:\n    app: 9\n"}
				want, source := s.Default, ""
				if s.Default != "" {
					source = "default"
				}
				if bits&1 != 0 {
					w.file = strings.Replace(w.file, "    app: 9\n", "    app: 9\n    "+s.Key+": "+sample[2]+"\n", 1)
					want, source = sample[2], "FILE:4"
				}
				if s.Key == "key" {
					delete(w.env, "GHAPP_KEY")
				}
				if bits&2 != 0 {
					w.env[s.Env] = sample[1]
					want, source = sample[1], "environment "+s.Env
				}
				if bits&4 != 0 {
					w.flags[s.Flag] = " " + sample[0] + "\n"
					want, source = sample[0], "flag --"+s.Flag
				}
				if s.Key == "app" {
					// It also chooses, so the file's App counts only where none is named.
					if bits&4 == 0 {
						delete(w.flags, "app")
					}
					if bits&6 == 0 {
						want, source = "9", "FILE:3"
					}
					w.file = "apps:\n  mine:\n    app: 9\n"
				}
				c, err, home := w.load(t)
				testkit.OK(t, err)
				a, err := c.App(Selector{})
				if want == "" && s.Key == "key" {
					testkit.Fails(t, err, "no error without a key")
					return
				}
				testkit.OK(t, err)
				got := a.field(s.Key)
				gotSource := strings.ReplaceAll(got.Source.String(), filepath.Join(home, ".config", "ghapp", "config.yaml"), "FILE")
				testkit.Equal(t, got.Text, want)
				testkit.Equal(t, gotSource, source)
			})
		}
	}
}

func TestSettingsTable(t *testing.T) {
	seen := map[string]bool{}
	var a AppSettings
	for _, s := range Settings() {
		for _, name := range []string{"key " + s.Key, "flag " + s.Flag, "env " + s.Env} {
			if seen[name] && name != "flag " {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if want := "GHAPP_" + strings.ToUpper(s.Key); s.Env != want {
			t.Errorf("the variable of %s is %s, want %s", s.Key, s.Env, want)
		}
		if want := strings.ReplaceAll(s.Key, "_", "-"); s.Flag != want && s.Key != "private_key" && !ofBroker(s.Key) {
			t.Errorf("the flag of %s is %s, want %s", s.Key, s.Flag, want)
		}
		if s.InFile != (a.field(s.Key) != nil) {
			t.Errorf("%s: in the file %v, a field of AppSettings %v", s.Key, s.InFile, a.field(s.Key) != nil)
		}
		for _, text := range []string{s.Help, s.Takes} {
			if text == "" || strings.Contains(text, "\n") || strings.HasSuffix(text, ".") {
				t.Errorf("%s has the text %q", s.Key, text)
			}
		}
	}
}

func TestInputMessages(t *testing.T) {
	tests := []struct {
		name string
		world
		want []string
	}{
		{"nothing", world{}, nil},
		{"flags that are no settings", world{flags: map[string]string{"json": "", "": ""}}, nil},
		{"empty flag", world{flags: map[string]string{"app": " "}}, []string{
			"--app is empty (leave it out or give it a value; a variable in it may be unset)",
		}},
		{"empty variables", world{env: map[string]string{"GHAPP_APP": "", "GHAPP_KEY": "", "GHAPP_CONFIG": "",
			"GHAPP_PRIVATE_KEY": "\n", "GHAPP_HOST": ""}}, nil},
		{"two keys", world{env: map[string]string{"GHAPP_KEY": "k.pem", "GHAPP_PRIVATE_KEY": pem}}, []string{
			"GHAPP_KEY and GHAPP_PRIVATE_KEY are both set, and only one key can be used (unset one of them, or pass --key)",
		}},
		{"two keys and a flag", world{flags: map[string]string{"key": "k.pem"},
			env: map[string]string{"GHAPP_KEY": "k.pem", "GHAPP_PRIVATE_KEY": pem}}, nil},
		{"one key and an empty one", world{env: map[string]string{"GHAPP_KEY": "", "GHAPP_PRIVATE_KEY": pem}}, nil},
		{"PEM for a path", world{env: map[string]string{"GHAPP_KEY": pem}}, []string{
			"GHAPP_KEY takes a path or a key URI, and holds a private key itself (put the PEM in GHAPP_PRIVATE_KEY, " +
				"or in a file of mode 0600 that --key names)",
		}},
		{"PEM in a flag", world{flags: map[string]string{"key": pem}}, []string{
			"--key takes a path or a key URI, and holds a private key itself (put the PEM in GHAPP_PRIVATE_KEY, " +
				"or in a file of mode 0600 that --key names)",
		}},
		{"base64 of a PEM for an ID", world{env: map[string]string{"GHAPP_APP": "LS0tLS1CRUdJTiBSU0Ecanary"}}, []string{
			"GHAPP_APP takes a client ID, an App ID, or the name of an App in the config file, " +
				"and holds a private key itself (put the PEM in GHAPP_PRIVATE_KEY, or in a file of mode 0600 that --key names)",
		}},
		{"PEM without its first line", world{env: map[string]string{"GHAPP_KEY": "MIIEcanary" +
			strings.Repeat("A+/\n", 60)}}, []string{
			"GHAPP_KEY takes a path or a key URI, and holds a private key itself (put the PEM in GHAPP_PRIVATE_KEY, " +
				"or in a file of mode 0600 that --key names)",
		}},
		{"token for an installation", world{env: map[string]string{"GHAPP_INSTALLATION": "ghp_canarycanary"}}, []string{
			"GHAPP_INSTALLATION takes an installation ID or the address of its settings page, " +
				"and holds a GitHub token (ghapp makes its tokens from the App's private key)",
		}},
		{"fine-grained token", world{env: map[string]string{"GHAPP_APP": "github_pat_canary"}}, []string{
			"GHAPP_APP takes a client ID, an App ID, or the name of an App in the config file, " +
				"and holds a GitHub token (ghapp makes its tokens from the App's private key)",
		}},
		{"client secret for an App", world{flags: map[string]string{"app": strings.Repeat("0a", 20)}}, []string{
			"--app takes a client ID, an App ID, or the name of an App in the config file, " +
				"and holds what looks like a client secret (an App signs with its private key; the client secret is not used)",
		}},
		{"certificate for its path",
			world{env: map[string]string{"GHAPP_CA_FILE": "-----BEGIN CERTIFICATE-----\ncanary"}}, []string{
				"GHAPP_CA_FILE takes a path, and holds PEM text (write it to a file, and give the path)",
			}},
		{"line break", world{env: map[string]string{"GHAPP_APP": "1\n2"}},
			[]string{"GHAPP_APP: there is a line break or a control character in it"}},
		{"host", world{flags: map[string]string{"host": "a_b/c"}},
			[]string{`--host: host "a_b/c" has a path: only the host is wanted, such as github.com`}},
		{"API URL", world{env: map[string]string{"GHAPP_API_URL": "http://api.example.com"}}, []string{
			`GHAPP_API_URL: API URL "api.example.com" is http://: a token would travel unencrypted; use https://`,
		}},
		{"API version", world{env: map[string]string{"GHAPP_API_VERSION": "3"}},
			[]string{"GHAPP_API_VERSION: it is neither a date such as 2022-11-28 nor none"}},
		{"no version", world{env: map[string]string{"GHAPP_API_VERSION": "none"}}, nil},
		{"installation's owner", world{env: map[string]string{"GHAPP_INSTALLATION": "acme"}}, []string{
			"GHAPP_INSTALLATION: it is neither an installation's ID, a number, nor the address of its settings page, " +
				"which ends with that (…/installations/123)",
		}},
		{"installation of nothing", world{flags: map[string]string{"installation": "0"}}, []string{
			"--installation: it is neither an installation's ID, a number, nor the address of its settings page, " +
				"which ends with that (…/installations/123)",
		}},
		{"home of another", world{flags: map[string]string{"key": "~you/k.pem"}},
			[]string{"--key: ~ with the name of a user is not supported; write the whole path"}},
		{"no home", world{env: map[string]string{"HOME": "", "USERPROFILE": "", "GHAPP_KEY": "~/k.pem"}}, []string{
			"GHAPP_KEY: the path begins with ~, but the environment names no home directory",
		}},
		{"file named by a flag is not there", world{flags: map[string]string{"config": "/nowhere/c.yaml"}}, []string{
			"/nowhere/c.yaml: cannot read the config file that --config names: no such file or directory",
		}},
		{"file named by a variable is not there", world{env: map[string]string{"GHAPP_CONFIG": "~/c.yaml"}}, []string{
			"HOME/c.yaml: cannot read the config file that GHAPP_CONFIG names: no such file or directory",
		}},
		{"file that is a directory", world{flags: map[string]string{"config": "~"}}, []string{
			"HOME: cannot read the config file that --config names: is a directory",
		}},
		{"empty file", world{flags: map[string]string{"config": os.DevNull}}, nil},
		{"file too large", world{file: strings.Repeat("#", maxFile+1)},
			[]string{"FILE: cannot read the config file: it has more than 1048576 bytes"}},
		{"all at once", world{
			flags: map[string]string{"app": "", "api-version": "x"},
			env:   map[string]string{"GHAPP_HOST": "a b", "GHAPP_KEY": "k", "GHAPP_PRIVATE_KEY": "canary"},
			file:  "defualt: x\nalso: y\n",
		}, []string{
			"--app is empty (leave it out or give it a value; a variable in it may be unset)",
			"GHAPP_HOST: host is not a URL",
			"--api-version: it is neither a date such as 2022-11-28 nor none",
			"GHAPP_KEY and GHAPP_PRIVATE_KEY are both set, and only one key can be used (unset one of them, or pass --key)",
			`FILE:1: unknown key "defualt" in the file (did you mean "default"?)`,
			`FILE:2: unknown key "also" in the file (known here: default, apps, sync_defaults, sync, mirror)`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err, home := test.load(t)
			testkit.Diff(t, short(err, home), test.want)
			if typed, ok := errors.AsType[*Error](err); err != nil && (!ok || len(typed.Problems) != len(test.want)) {
				t.Errorf("the error is a %T", err)
			}
			if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "0a0a")) {
				t.Error("a message repeats what may be a secret")
			}
			testkit.Equal(t, (c == nil), (err != nil), "Load returned %v and %v", c, err)
		})
	}
}

func TestCauseOfAMissingFile(t *testing.T) {
	_, err, _ := world{flags: map[string]string{"config": "/nowhere"}}.load(t)
	testkit.ErrorIs(t, err, fs.ErrNotExist, "does")
}

func TestLoadWithoutEnvironment(t *testing.T) {
	c, err := Load(Options{})
	testkit.OK(t, err)
	if path, found := c.Path(); path.Text != "" || found {
		t.Errorf("the config file is %v, %v", path, found)
	}
	_, err = c.App(Selector{})
	want := "no App is configured (run `ghapp setup`, or pass --app and --key, or set GHAPP_APP and GHAPP_KEY)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestPath(t *testing.T) {
	const file = "apps: {a: {app: 1}}"
	for _, test := range []struct {
		name string
		world
		want string // path, source, found
	}{
		{"default, there", world{file: file}, "HOME/.config/ghapp/config.yaml default true"},
		{"default, not there", world{}, "HOME/.config/ghapp/config.yaml default false"},
		{"variable", world{file: file, env: map[string]string{"GHAPP_CONFIG": "~/.config/ghapp/config.yaml"}},
			"HOME/.config/ghapp/config.yaml environment GHAPP_CONFIG true"},
		{"flag and variable", world{file: file, env: map[string]string{"GHAPP_CONFIG": "/nowhere"},
			flags: map[string]string{"config": "~/.config/ghapp/config.yaml"}},
			"HOME/.config/ghapp/config.yaml flag --config true"},
		{"empty variable", world{file: file, env: map[string]string{"GHAPP_CONFIG": ""}},
			"HOME/.config/ghapp/config.yaml default true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err, home := test.load(t)
			testkit.OK(t, err)
			path, found := c.Path()
			got := fmt.Sprintf("%s %s %v", strings.ReplaceAll(path.Text, home, "HOME"), path.Source, found)
			testkit.Equal(t, got, filepath.FromSlash(test.want), "got, want %s", test.want)
		})
	}
}

func TestHomeDirectoryIsExpanded(t *testing.T) {
	c, err, home := world{
		flags: map[string]string{"app": "1", "key": "~/k.pem"},
		env:   map[string]string{"GHAPP_CA_FILE": "~/ca.pem"},
	}.load(t)
	testkit.OK(t, err)
	a := testkit.Must(c.App(Selector{}))(t)
	for got, want := range map[string]string{a.Key.Text: filepath.Join(home, "k.pem"),
		a.CAFile.Text: filepath.Join(home, "ca.pem")} {
		testkit.Equal(t, got, want)
	}
}

// A command is run in one directory, and git or tomorrow's command in another.
func TestPathsOfFlagsAndVariablesAreAbsolute(t *testing.T) {
	dir := testkit.Must(filepath.EvalSymlinks(t.TempDir()))(t)
	t.Chdir(dir)
	if err := os.WriteFile("config.yaml", []byte("apps:\n  a: {app: 1, key: file.pem, ca_file: file-ca.pem}\nsync:\n"+
		"  site: {repository: a/b, to: www, allowed_signers: signers}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"config": "config.yaml", "key": "new.pem", "ca-file": "sub/../ca.pem"}
	variables := map[string]string{"GHAPP_CONFIG": "./config.yaml", "GHAPP_KEY": "new.pem", "GHAPP_CA_FILE": "ca.pem"}
	lookup := func(variables map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { text, ok := variables[name]; return text, ok }
	}
	for name, o := range map[string]Options{
		"flags":     {Flags: values, LookupEnv: lookup(nil)},
		"variables": {LookupEnv: lookup(variables)},
		"file":      {Flags: map[string]string{"config": "config.yaml"}, LookupEnv: lookup(nil)},
		"two keys": {Flags: map[string]string{"config": "config.yaml", "key": "new.pem\n../old.pem"},
			LookupEnv: lookup(nil)},
	} {
		loaded, err := Load(o)
		testkit.OK(t, err, "%v", name)
		settings, err := loaded.App(Selector{})
		testkit.OK(t, err, "%v", name)
		path, _ := loaded.Path()
		named := []string{path.Text, settings.Key.Text, settings.CAFile.Text, settings.PreviousKey.Text}
		for _, s := range loaded.Syncs() {
			named = append(named, s.To, s.AllowedSigners)
		}
		for _, text := range named {
			if text != "" && (!filepath.IsAbs(text) || filepath.Clean(text) != text) {
				t.Errorf("%s: %q", name, text)
			}
		}
		if !strings.HasPrefix(settings.Key.Text, dir) || !strings.HasPrefix(path.Text, dir) {
			t.Errorf("%s: %q", name, named)
		}
	}
}

func TestKeyURIIsNoPath(t *testing.T) {
	for text, want := range map[string]bool{
		"keyring:deploy": true, "exec:signer --x": true, "pkcs11:token=a": true,
		"ssh-agent:SHA256:x": true, "file:///k.pem": true,
		"k.pem": false, "./a:b": false, "/a:b": false, "C:\\k.pem": false, "c:k.pem": false, "1a:b": false,
		"": false, ":": false, "a b:c": false,
	} {
		testkit.Equal(t, keyuri.Scheme(text) != "", want, "%q has a scheme", text)
	}
}

func TestPrivateKeyIsNeverPrinted(t *testing.T) {
	c, err, _ := world{flags: map[string]string{"app": "1"}, env: map[string]string{"GHAPP_PRIVATE_KEY": pem}}.load(t)
	testkit.OK(t, err)
	a := testkit.Must(c.App(Selector{}))(t)
	if a.PrivateKey.Reveal() != pem || a.PrivateKeySource.String() != "environment GHAPP_PRIVATE_KEY" || a.Key.Text != "" {
		t.Errorf("the key comes from %s; there is a path too: %v", a.PrivateKeySource, a.Key)
	}
	asJSON := testkit.Must(json.Marshal([]any{a, c.List()}))(t)
	all := string(asJSON)
	for _, v := range []any{c, *c, a, &a, c.List()} {
		all += fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v)
	}
	testkit.Lacks(t, all, "canary", "BEGIN")
	testkit.Contains(t, all, secret.Placeholder)
}

// Whoever is to mend a file has to find it.
func TestPathOfAFileThatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	put(t, path, "apps: [", 0o600)
	o := Options{Flags: map[string]string{"config": path, "api-url": "nonsense"}}
	testkit.Equal(t, testkit.Must(Path(o))(t).Text, path, "the config file")
	if got, err := Path(Options{Flags: map[string]string{"config": ""}}); err == nil {
		t.Errorf("of an empty flag it is %v", got)
	}
	testkit.Equal(t, testkit.Must(Path(Options{}))(t).Text, "", "of nobody it")
}

// A unit of systemd, or a container, puts the keys of several Apps into one directory, and
// each App has its own.
func TestEachAppHasItsOwnKeyInTheDirectoryOfKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text := "apps:\n  a: {app: 1, key: a.pem, owners: [acme], ca_file: ca.pem}\n  b: {app: 2, key: [new.pem, " +
		"sub/old.pem], owners: [octo]}\n" +
		"  c: {app: 3, key: /abs/c.pem, owners: [third]}\n  d: {app: 4, key: 'exec:./sign', owners: [fourth]}\n"
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
	variables := map[string]string{"GHAPP_CONFIG": path, "GHAPP_KEY_DIR": "/run/credentials/ghapp-sync.service"}
	load := func() *Config {
		t.Helper()
		c, err := Load(Options{LookupEnv: func(name string) (string, bool) { text, ok := variables[name]; return text, ok }})
		testkit.OK(t, err)
		return c
	}
	c := load()
	for owner, want := range map[string][2]string{
		"acme":   {"/run/credentials/ghapp-sync.service/a.pem", ""},
		"octo":   {"/run/credentials/ghapp-sync.service/new.pem", "/run/credentials/ghapp-sync.service/sub/old.pem"},
		"third":  {"/abs/c.pem", ""},
		"fourth": {"exec:" + filepath.Join(dir, "sign"), ""},
	} {
		s, err := c.App(Selector{Owner: owner})
		if err != nil || s.Key.Text != want[0] || s.PreviousKey.Text != want[1] {
			t.Errorf("%s: %q %q %v", owner, s.Key.Text, s.PreviousKey.Text, err)
		}
		if owner == "acme" && s.CAFile.Text != filepath.Join(dir, "ca.pem") {
			t.Errorf("the authorities are looked for at %q", s.CAFile.Text)
		}
	}
	testkit.Equal(t, len(c.Warnings()), 0, "%v", c.Warnings())
	variables["GHAPP_KEY"] = "/one.pem"
	if w := load().Warnings(); len(w) != 1 ||
		!strings.Contains(w[0].String(), "GHAPP_KEY takes the place of the key that each of the 4 Apps") {
		t.Errorf("%v", w)
	}
	variables["GHAPP_APP"] = "a" // then there is one App
	testkit.Equal(t, len(load().Warnings()), 0)
}
