package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const twoApps = `apps:
  deploy: {app: Iv23liDEPLOY, key: /deploy.pem, owners: [acme, octo]}
  lab: {app: 777, key: /lab.pem, host: ghe.example.com, owners: [acme]}
`

const threeApps = twoApps + `  other: {app: 888, key: /other.pem}
`

func TestChoice(t *testing.T) {
	flags := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, test := range []struct {
		name string
		world
		sel       Selector
		want      string // name, ID, key and host of the App
		err       string // or else this
		otherHost bool
	}{
		{name: "flags alone", world: world{flags: flags("app", "1", "key", "/k")}, want: " 1 /k github.com"},
		{name: "variables alone", world: world{env: flags("GHAPP_APP", "1", "GHAPP_KEY", "/k")}, want: " 1 /k github.com"},
		{name: "any ID without a file", world: world{flags: flags("app", "4711", "key", "/k")}, want: " 4711 /k github.com"},
		{name: "ID sets the file aside", world: world{flags: flags("app", "1", "key", "/k"), file: twoApps},
			sel: Selector{Owner: "acme"}, want: " 1 /k github.com"},
		{name: "name", world: world{flags: flags("app", "lab"), file: twoApps}, want: "lab 777 /lab.pem ghe.example.com"},
		{name: "name in a variable", world: world{env: flags("GHAPP_APP", "lab"), file: twoApps},
			want: "lab 777 /lab.pem ghe.example.com"},
		{name: "name beats owner", world: world{flags: flags("app", "other"), file: threeApps}, sel: Selector{Owner: "acme"},
			want: "other 888 /other.pem github.com"},
		{name: "name with its key replaced", world: world{flags: flags("app", "lab", "key", "/k"), file: twoApps},
			want: "lab 777 /k ghe.example.com"},
		{name: "owner", world: world{file: threeApps}, sel: Selector{Owner: "octo"},
			want: "deploy Iv23liDEPLOY /deploy.pem github.com"},
		{name: "owner in other letters", world: world{file: threeApps}, sel: Selector{Owner: "OCTO"},
			want: "deploy Iv23liDEPLOY /deploy.pem github.com"},
		{name: "owner and host", world: world{file: threeApps}, sel: Selector{Owner: "acme", Host: "GHE.example.com"},
			want: "lab 777 /lab.pem ghe.example.com"},
		{name: "owner and the other host", world: world{file: threeApps}, sel: Selector{Owner: "acme", Host: "github.com"},
			want: "deploy Iv23liDEPLOY /deploy.pem github.com"},
		{name: "host of a flag", world: world{flags: flags("host", "ghe.example.com"), file: threeApps},
			sel: Selector{Owner: "acme"}, want: "lab 777 /lab.pem ghe.example.com"},
		{name: "host of a variable", world: world{env: flags("GHAPP_HOST", "https://ghe.example.com"), file: threeApps},
			sel: Selector{Owner: "acme"}, want: "lab 777 /lab.pem https://ghe.example.com"},
		{name: "owner beats default", world: world{file: "default: other\n" + threeApps}, sel: Selector{Owner: "octo"},
			want: "deploy Iv23liDEPLOY /deploy.pem github.com"},
		{name: "default for other owners", world: world{file: "default: other\n" + threeApps},
			sel: Selector{Owner: "stranger"}, want: "other 888 /other.pem github.com"},
		{name: "default without an owner", world: world{file: "default: other\n" + threeApps},
			want: "other 888 /other.pem github.com"},
		{name: "only one", world: world{file: "apps: {a: {app: 1, key: /k}}"}, want: "a 1 /k github.com"},
		{name: "only one, for other owners", world: world{file: "apps: {a: {app: 1, key: /k, owners: [acme]}}"},
			sel: Selector{Owner: "stranger"}, want: "a 1 /k github.com"},
		{name: "only one on the host", world: world{file: twoApps}, sel: Selector{Owner: "stranger", Host: "ghe.example.com"},
			want: "lab 777 /lab.pem ghe.example.com"},
		{name: "default on another host", world: world{file: "default: deploy\n" + twoApps},
			sel: Selector{Owner: "stranger", Host: "ghe.example.com"}, want: "lab 777 /lab.pem ghe.example.com"},
		{name: "key alone", world: world{flags: flags("key", "/k")}, sel: Selector{KeyOnly: true}, want: "  /k github.com"},
		{name: "key of the file", world: world{flags: flags("key", "/k"), file: "apps: {a: {app: 1}}"},
			want: "a 1 /k github.com"},
		{name: "host alone", world: world{}, sel: Selector{HostOnly: true}, want: "   github.com"},
		{name: "host alone, of a flag that no App has", world: world{flags: flags("host", "ghe2.example.com"), file: twoApps},
			sel: Selector{HostOnly: true}, want: "   ghe2.example.com"},
		{name: "host alone, of an App", world: world{file: twoApps}, sel: Selector{HostOnly: true, Host: "ghe.example.com"},
			want: "lab 777 /lab.pem ghe.example.com"},
		{name: "loopback", world: world{flags: flags("app", "1", "key", "/k", "host", "http://127.0.0.1:8080")},
			sel: Selector{Host: "127.0.0.1:8080"}, want: " 1 /k http://127.0.0.1:8080"},

		{name: "nothing", world: world{}, err: "no App is configured (run `ghapp setup`, or pass --app and --key, " +
			"or set GHAPP_APP and GHAPP_KEY, or write FILE)"},
		{name: "several", world: world{file: twoApps},
			err: "FILE: there are several Apps: deploy, lab (choose one with --app, or set default:)"},
		{name: "several, and a stranger", world: world{file: threeApps}, sel: Selector{Owner: "stranger"},
			err: "FILE: there are several Apps, and none lists the owner stranger: deploy, lab, other (choose one with --app, " +
				"add stranger to its owners, or set default:)"},
		{name: "owner on two hosts", world: world{file: twoApps}, sel: Selector{Owner: "acme"},
			err: "FILE: several Apps are for acme, on different hosts: deploy, lab (choose one with --app or --host, " +
				"or give the repository's whole URL)"},
		{name: "no such name", world: world{flags: flags("app", "deplyo"), file: twoApps},
			err: `FILE: --app names no App of this file (deploy, lab), and is neither a client ID nor an App ID (did you mean "deploy"?)`},
		{name: "no such name in a variable", world: world{env: flags("GHAPP_APP", "x"), file: twoApps},
			err: `FILE: GHAPP_APP names no App of this file (deploy, lab), and is neither a client ID nor an App ID ` +
				`(give one of these names, or the client ID from the top of the App's settings page)`},
		{name: "no App for the host", world: world{file: twoApps}, sel: Selector{Host: "gitlab.com"}, otherHost: true,
			err: "FILE: no App of this file is for gitlab.com (deploy for github.com, " +
				"lab for ghe.example.com) (add one with host: gitlab.com)"},
		{name: "no App for the flag's host", world: world{flags: flags("host", "ghe2.example.com"),
			file: twoApps}, otherHost: true,
			err: "FILE: no App of this file is for ghe2.example.com (deploy for github.com, " +
				"lab for ghe.example.com) (add one with host: ghe2.example.com)"},
		{name: "named App for another host", world: world{flags: flags("app", "deploy"),
			file: twoApps}, sel: Selector{Host: "ghe.example.com"}, otherHost: true,
			err: "the App is for github.com (default), and the repository is on ghe.example.com (if it is an App of that " +
				"host, pass --host ghe.example.com)"},
		{name: "flags for another host", world: world{flags: flags("app", "1", "key", "/k", "host", "ghe.example.com")},
			sel: Selector{Host: "evil.example.com"}, otherHost: true,
			err: "the App is for ghe.example.com (flag --host), and the repository is on evil.example.com (if it is an App of " +
				"that host, pass --host evil.example.com)"},
		{name: "port is another host", world: world{flags: flags("app", "1", "key", "/k")},
			sel: Selector{Host: "github.com:8443"}, otherHost: true,
			err: "the App is for github.com (default), and the repository is on github.com:8443 (if it is an App of that " +
				"host, pass --host github.com:8443)"},
		{name: "host alone, of a stranger", world: world{file: twoApps}, sel: Selector{HostOnly: true,
			Host: "evil.example.com"}, otherHost: true,
			err: "the App is for github.com (default), and the repository is on evil.example.com (if it is an App of that " +
				"host, pass --host evil.example.com)"},
		{name: "no host at all", world: world{}, sel: Selector{Host: "a b"}, err: "the repository's host is not a URL"},

		{name: "App missing", world: world{flags: flags("key", "/k")},
			err: "the App is missing: there is no --app, GHAPP_APP is not set (pass --app with its client ID " +
				"or App ID, or set GHAPP_APP)"},
		{name: "App empty", world: world{flags: flags("key", "/k"), env: flags("GHAPP_APP", "")},
			err: "the App is missing: there is no --app, GHAPP_APP is set but empty (pass --app with its client ID " +
				"or App ID, or set GHAPP_APP)"},
		{name: "key missing", world: world{flags: flags("app", "1")},
			err: "the private key is missing: there is no --key, GHAPP_KEY is not set, GHAPP_PRIVATE_KEY is not set (pass " +
				"--key with the path of the PEM file, or set GHAPP_KEY, or GHAPP_PRIVATE_KEY with the PEM itself)"},
		{name: "key empty", world: world{flags: flags("app", "1"), env: flags("GHAPP_PRIVATE_KEY", " ")},
			err: "the private key is missing: there is no --key, GHAPP_KEY is not set, GHAPP_PRIVATE_KEY is set but empty " +
				"(pass --key with the path of the PEM file, or set GHAPP_KEY, or GHAPP_PRIVATE_KEY with the PEM itself)"},
		{name: "both empty", world: world{env: flags("GHAPP_PRIVATE_KEY", "", "GHAPP_APP", "")},
			err: "the App is missing: there is no --app, GHAPP_APP is set but empty (pass --app with its client ID or " +
				"App ID, or set GHAPP_APP)\n" +
				"the private key is missing: there is no --key, GHAPP_KEY is not set, GHAPP_PRIVATE_KEY is set but empty (pass " +
				"--key with the path of the PEM file, or set GHAPP_KEY, or GHAPP_PRIVATE_KEY with the PEM itself)"},
		{name: "key missing in the file too", world: world{file: "apps: {a: {app: 1}}"},
			err: "the private key is missing: there is no --key, GHAPP_KEY is not set, GHAPP_PRIVATE_KEY is not set, " +
				"and apps.a of FILE has no key (pass --key with the path of the PEM file, or set GHAPP_KEY, " +
				"or GHAPP_PRIVATE_KEY with the PEM itself)"},
		{name: "ID of an App in the file", world: world{flags: flags("app", "777"), file: twoApps},
			err: "the private key is missing: there is no --key, GHAPP_KEY is not set, " +
				"GHAPP_PRIVATE_KEY is not set (the config file has an App with this ID: pass --app lab)"},
		{name: "key alone, missing", world: world{flags: flags("app", "1")}, sel: Selector{KeyOnly: true},
			err: "the private key is missing: there is no --key, GHAPP_KEY is not set, GHAPP_PRIVATE_KEY is not set (pass " +
				"--key with the path of the PEM file, or set GHAPP_KEY, or GHAPP_PRIVATE_KEY with the PEM itself)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err, home := test.load(t)
			testkit.OK(t, err)
			a, err := c.App(test.sel)
			if got := strings.Join(short(err, home), "\n"); got != test.err {
				t.Fatalf("got  %s\nwant %s", got, test.err)
			}
			if errors.Is(err, ErrOtherHost) != test.otherHost {
				t.Errorf("errors.Is(err, ErrOtherHost) is %v", !test.otherHost)
			}
			if _, ok := errors.AsType[*Error](err); err != nil && !ok {
				t.Errorf("the error is a %T", err)
			}
			got := fmt.Sprintf("%s %s %s %s", a.Name, a.App.Text, a.Key.Text, a.Host.Text)
			if err == nil && got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err != nil && (a.Key.Text != "" || a.App.Text != "") {
				t.Errorf("an App comes with the error: %+v", a)
			}
		})
	}
}

// TestPrivateKeyOfTheEnvironment has the PEM in the environment against all other
// places.
func TestPrivateKeyOfTheEnvironment(t *testing.T) {
	const file = "apps: {a: {app: 1, key: /file.pem}}"
	pemOnly := map[string]string{"GHAPP_PRIVATE_KEY": pem}
	for _, test := range []struct {
		name string
		world
		want string
	}{
		{"beats the file", world{env: pemOnly, file: file}, " environment GHAPP_PRIVATE_KEY"},
		{"loses to the flag", world{env: pemOnly, file: file, flags: map[string]string{"key": "/flag.pem"}},
			"/flag.pem flag --key"},
		{"and with it GHAPP_KEY", world{env: map[string]string{"GHAPP_PRIVATE_KEY": pem, "GHAPP_KEY": "/env.pem"}, file: file,
			flags: map[string]string{"key": "/flag.pem"}}, "/flag.pem flag --key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err, _ := test.load(t)
			testkit.OK(t, err)
			a := testkit.Must(c.App(Selector{}))(t)
			got := a.Key.Text + " " + a.Key.Source.String() + a.PrivateKeySource.String()
			testkit.Equal(t, got, test.want)
			testkit.Equal(t, a.PrivateKey.IsZero(), (a.Key.Text != ""))
		})
	}
}

// TestAPIURLBelongsToItsHost has an API URL and a host from different sources: a JWT
// for one host must not go to the API of another.
func TestAPIURLBelongsToItsHost(t *testing.T) {
	const url = "https://api.example.com"
	fileWith := func(text string) string { return "apps: {a: {app: 1, key: /k, " + text + "}}" }
	for _, test := range []struct {
		name string
		world
		want string
	}{
		{"both in the file", world{file: fileWith("host: ghe.example.com, api_url: " + url)}, url},
		{"for the default host", world{file: fileWith("api_url: " + url)}, url},
		{"the same host by a flag", world{flags: map[string]string{"app": "a", "host": "GHE.example.com"},
			file: fileWith("host: ghe.example.com, api_url: " + url)}, url},
		{"another host by a flag", world{flags: map[string]string{"app": "a", "host": "other.example.com"},
			file: fileWith("host: ghe.example.com, api_url: " + url)}, ""},
		{"another host by a variable", world{env: map[string]string{"GHAPP_APP": "a", "GHAPP_HOST": "other.example.com"},
			file: fileWith("api_url: " + url)}, ""},
		{"variable over the file", world{env: map[string]string{"GHAPP_API_URL": url},
			file: fileWith("host: ghe.example.com")}, url},
		{"flag over a variable's", world{flags: map[string]string{"host": "github.com"}, env: map[string]string{
			"GHAPP_HOST": "ghe.example.com", "GHAPP_API_URL": url}, file: fileWith("host: github.com")}, ""},
		{"both by flags", world{flags: map[string]string{"app": "a", "host": "ghe.example.com", "api-url": url},
			file: fileWith("host: github.com")}, url},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err, _ := test.load(t)
			testkit.OK(t, err)
			a := testkit.Must(c.App(Selector{}))(t)
			testkit.Equal(t, a.APIURL.Text, test.want)
			testkit.Equal(t, (a.APIURL.Source == Source{}), (test.want == ""))
		})
	}
}

func TestList(t *testing.T) {
	for _, test := range []struct {
		name string
		world
		want []string
	}{
		{"flags and variables", world{flags: map[string]string{"app": "1"},
			env: map[string]string{"GHAPP_PRIVATE_KEY": pem, "GHAPP_HOST": "ghe.example.com"}, file: twoApps}, []string{
			"|config|FILE|default",
			"|default||",
			"|app|1|flag --app",
			"|key||",
			"|private_key|[redacted]|environment GHAPP_PRIVATE_KEY",
			"|key_timeout|30s|default",
			"|installation||",
			"|host|ghe.example.com|environment GHAPP_HOST",
			"|api_url||",
			"|api_version||",
			"|ca_file||",
			"|permissions|contents:read|default",
		}},
		{"file", world{flags: map[string]string{"api-version": "2022-11-28"}, file: "default: lab\n" + twoApps}, []string{
			"|config|FILE|default",
			"|default|lab|FILE:1",
			"deploy|app|Iv23liDEPLOY|FILE:3",
			"deploy|owners|acme, octo|FILE:3",
			"deploy|key|/deploy.pem|FILE:3",
			"deploy|private_key||",
			"deploy|key_timeout|30s|default",
			"deploy|installation||",
			"deploy|host|github.com|default",
			"deploy|api_url||",
			"deploy|api_version|2022-11-28|flag --api-version",
			"deploy|ca_file||",
			"deploy|permissions|contents:read|default",
			"lab|app|777|FILE:4",
			"lab|owners|acme|FILE:4",
			"lab|key|/lab.pem|FILE:4",
			"lab|private_key||",
			"lab|key_timeout|30s|default",
			"lab|installation||",
			"lab|host|ghe.example.com|FILE:4",
			"lab|api_url||",
			"lab|api_version|2022-11-28|flag --api-version",
			"lab|ca_file||",
			"lab|permissions|contents:read|default",
		}},
		{"what git may do", world{flags: map[string]string{"app": "a"},
			file: "apps:\n  a:\n    app: 1\n    repositories:\n      acme/site: {contents: read}\n      octo/*: {contents: " +
				"write, workflows: write}\n    permissions: {contents: write}\n"}, []string{
			"|config|FILE|default",
			"|default||",
			"a|app|1|FILE:3",
			"a|owners||",
			"a|key||",
			"a|private_key||",
			"a|key_timeout|30s|default",
			"a|installation||",
			"a|host|github.com|default",
			"a|api_url||",
			"a|api_version||",
			"a|ca_file||",
			"a|permissions|contents:write|FILE:7",
			"a|repositories.acme/site|contents:read|FILE:5",
			"a|repositories.octo/*|contents:write,workflows:write|FILE:6",
		}},
		{"one by its name", world{flags: map[string]string{"app": "lab"}, file: twoApps}, []string{
			"|config|FILE|default",
			"|default||",
			"lab|app|777|FILE:3",
			"lab|owners|acme|FILE:3",
			"lab|key|/lab.pem|FILE:3",
			"lab|private_key||",
			"lab|key_timeout|30s|default",
			"lab|installation||",
			"lab|host|ghe.example.com|FILE:3",
			"lab|api_url||",
			"lab|api_version||",
			"lab|ca_file||",
			"lab|permissions|contents:read|default",
		}},
		{"nothing", world{}, []string{
			"|config|FILE|default",
			"|default||",
			"|app||",
			"|key||",
			"|private_key||",
			"|key_timeout|30s|default",
			"|installation||",
			"|host|github.com|default",
			"|api_url||",
			"|api_version||",
			"|ca_file||",
			"|permissions|contents:read|default",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err, home := test.load(t)
			testkit.OK(t, err)
			var got []string
			for _, e := range c.List() {
				line := strings.Join([]string{e.App, e.Key, e.Value, e.Source.String()}, "|")
				got = append(got, strings.ReplaceAll(line, filepath.Join(home, ".config", "ghapp", "config.yaml"), "FILE"))
			}
			testkit.Diff(t, got, test.want)
		})
	}
}

func TestListAsJSON(t *testing.T) {
	c := testkit.Must(Load(Options{Flags: map[string]string{"app": "1"}}))(t)
	got := testkit.Must(json.Marshal(c.List()[2:4]))(t)
	want := `[{"app":"","key":"app","value":"1","source":"flag --app"},{"app":"","key":"key","value":"","source":""}]`
	testkit.Equal(t, string(got), want, "got  %s", got)
}

// For these git is to have a token at once.
func TestGitOwnersAreThoseThatTheFileNames(t *testing.T) {
	t.Parallel()
	const two = `
apps:
  deploy:
    app: 1
    key: /k
    owners: [octo, Acme]
    permissions: {contents: read}
    repositories:
      acme/site: {contents: write}
      octo/*: {contents: write}
  other:
    app: 2
    key: /k
    repositories:
      hooli/x: {contents: write}
      hooli/y: {contents: write}
  server:
    app: 3
    key: /k
    host: ghe.example.com
    owners: [initech]
`
	for _, test := range []struct {
		name string
		world
		want []string // of each host
	}{
		{"all Apps of a host", world{file: two}, []string{"Acme acme hooli octo", "initech"}},
		{"one host", world{file: two, flags: map[string]string{"host": "ghe.example.com"}}, []string{"initech"}},
		{"one App", world{file: two, flags: map[string]string{"app": "other"}}, []string{"hooli"}},
		{"an App of no file",
			world{file: two, env: map[string]string{"GHAPP_APP": "Iv23liABCDEFGHIJKLMN", "GHAPP_KEY": "/k"}}, []string{""}},
		{"nobody", world{file: "apps: {a: {app: 1, key: /k, permissions: {contents: write}}}"}, []string{""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err, _ := test.load(t)
			testkit.OK(t, err)
			hosts := testkit.Must(c.Hosts())(t)
			var got []string
			for _, host := range hosts {
				got = append(got, strings.Join(host.GitOwners(), " "))
			}
			testkit.Diff(t, got, test.want)
		})
	}
}
