package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/secret"
)

// pem is a private key in form only.
const pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEcanary\n-----END RSA PRIVATE KEY-----\n"

// fileTests are config files and everything that is said of them. Each file is
// called c.yaml.
var fileTests = []struct {
	name, text string
	want       []string
}{
	{"empty", "", nil},
	{"comments alone", "# nothing\n", nil},
	{"empty document", "---\n", nil},
	{"no Apps", "apps:\n", nil},
	{"everything", "default: deploy\napps:\n  deploy:\n    app: Iv23liABCDEF\n    key: deploy.pem\n    host: " +
		"github.com\n    owners: [acme, octo]\n    installation: 123\n    api_url: https://ghe.example.com/api/v3\n" +
		"    api_version: 2022-11-28\n    ca_file: ca.pem\n", nil},
	{"IDs as text", "apps: {a: {app: '12', installation: https://github.com/settings/installations/1, api_version: " +
		"'2022-11-28', owners: ['1']}}", nil},
	{"numeric owner", "apps: {a: {app: 12, owners: [123]}}", nil},
	{"CRLF and a byte order mark", "\ufeffapps:\r\n  a:\r\n    app: 12\r\n", nil},
	{"one owner on two hosts", "apps: {a: {app: 1, owners: [acme]}, b: {app: 2, host: " +
		"ghe.example.com, owners: [acme]}}", nil},

	{"directories to keep", "sync:\n  site: {repository: acme/site, branch: 1.0, to: /srv/site, " +
		"mode: dir, keep: 5, share: link, period: 30s, depth: 2, filter: 'blob:none', sparse: [docs], submodules: true, " +
		"lfs: false, fsck_ignore: [badTree], check: ./ok, check_timeout: 1m, exec: systemctl reload nginx, exec_timeout: " +
		"5s, exec_tries: 3}\n  lib: {repository: acme/lib, commit: 0123456789012345678901234567890123456789, to: lib, " +
		"verify_signatures: true, allowed_signers: signers}\n", nil},
	{"nothing said of a directory", "sync:\n  site:\n",
		[]string{`c.yaml:2: sync.site has no repository`, `c.yaml:2: sync.site has no to`}},
	{"unknown key of a directory", "sync: {site: {repository: acme/site, to: /a, brunch: x}}",
		[]string{`c.yaml:1: unknown key "brunch" in sync.site (did you mean "branch"?)`}},
	{"two wishes for one directory", "sync: {site: {repository: acme/site, to: /a, branch: x, tag: y}}",
		[]string{`c.yaml:1: sync.site has branch and tag (leave one of them)`}},
	{"one directory for two", "sync:\n  a: {repository: acme/a, to: /a}\n  b: {repository: acme/b, to: /a}\n",
		[]string{`c.yaml:3: sync.b and sync.a (line 2) keep one directory`}},
	{"wrong types of a directory", "sync: {s: {repository: acme/s, to: /a, keep: many, lfs: 1, period: soon, " +
		"exec_tries: 0, sparse: docs, check_timeout: 5}}", []string{
		`c.yaml:1: sync.s.keep: want a number from 1 on`, `c.yaml:1: sync.s.lfs: want true or false`,
		`c.yaml:1: sync.s.period: want a time from 100ms on, such as 30s or 5m`,
		`c.yaml:1: sync.s.exec_tries: want a number from 1 on`,
		`c.yaml:1: sync.s.sparse: want a list of paths, such as [docs, site/public], found a single value`,
		`c.yaml:1: sync.s.check_timeout: want a time from 100ms on, such as 30s or 5m`,
	}},
	{"wrong values of a directory", "sync: {s: {repository: 'http://github.com:81/acme/s', to: '', mode: copy, branch: " +
		"ghs_0123456789abcdef}}", []string{
		`c.yaml:1: sync.s.repository: cannot read the repository's name: http:// would send the token ` +
			`unencrypted; use https://github.com:81/acme/s`,
		`c.yaml:1: sync.s.to has no value (give it one, or leave the key out)`, `c.yaml:1: sync.s.mode: want link or dir`,
		`c.yaml:1: sync.s.branch holds a GitHub token (ghapp makes its tokens from the App's private key)`,
	}},
	{"unknown key at the top", "aps:\n", []string{`c.yaml:1: unknown key "aps" in the file (did you mean "apps"?)`}},
	{"unknown key of an App", "apps:\n  a:\n    app: 1\n    instalation: 5\n",
		[]string{`c.yaml:4: unknown key "instalation" in apps.a (did you mean "installation"?)`}},
	{"hyphen for underscore", "apps: {a: {app: 1, api-url: x}}",
		[]string{`c.yaml:1: unknown key "api-url" in apps.a (did you mean "api_url"?)`}},
	{"another tool's name", "apps: {a: {app: 1, installation_id: 5}}",
		[]string{`c.yaml:1: unknown key "installation_id" in apps.a (did you mean "installation"?)`}},
	{"client_id", "apps: {a: {app: 1, client_id: 5}}",
		[]string{`c.yaml:1: unknown key "client_id" in apps.a (did you mean "app"?)`}},
	{"path of the key", "apps: {a: {app: 1, private_key_path: k.pem}}",
		[]string{`c.yaml:1: unknown key "private_key_path" in apps.a (did you mean "key"?)`}},
	{"nothing like it", "apps: {a: {app: 1, colour: red}}", []string{
		`c.yaml:1: unknown key "colour" in apps.a (known here: app, key, key_timeout, broker, identity, ` +
			`audience, installation, host, api_url, api_version, ca_file, owners, permissions, repositories)`}},
	{"App's key at the top", "app: 12\nkey: k.pem\n", []string{
		`c.yaml:1: unknown key "app" in the file (it belongs to an App, under apps: NAME:)`,
		`c.yaml:2: unknown key "key" in the file (it belongs to an App, under apps: NAME:)`,
	}},
	{"long key is not repeated", "canary" + strings.Repeat("x", 40) + ": 1\n",
		[]string{`c.yaml:1: unknown key of 46 characters in the file (known here: default, apps, ` +
			`sync_defaults, sync, mirror)`}},
	{"key of the file twice", "apps:\ndefault: a\napps:\n",
		[]string{`c.yaml:3: key "apps" of the file is there twice, first in line 1`}},
	{"key of an App twice", "apps:\n  a:\n    app: 1\n    app: 2\n",
		[]string{`c.yaml:4: key "app" of apps.a is there twice, first in line 3`}},
	{"thrice", "apps:\ndefault: a\napps:\napps:\n", []string{
		`c.yaml:3: key "apps" of the file is there twice, first in line 1`,
		`c.yaml:4: key "apps" of the file is there twice, first in line 1`,
	}},
	{"App twice", "apps:\n  a:\n    app: 1\n  a:\n    app: 2\n",
		[]string{`c.yaml:4: key "a" of apps is there twice, first in line 2`}},
	{"key that is a list", "[a]: 1\n", []string{`c.yaml:1: a key of the file is not a name`}},

	{"list for the file", "- apps\n", []string{`c.yaml:1: the file: want keys and values, found a list`}},
	// YAML counts a line for each carriage return, editors do not.
	{"carriage return alone", "\r0", []string{`c.yaml:1: the file: want keys and values, found a single value`}},
	{"text for the file", "apps\n", []string{`c.yaml:1: the file: want keys and values, found a single value`}},
	{"list of Apps", "apps:\n  - app: 1\n", []string{`c.yaml:2: apps: want keys and values, found a list`}},
	{"App that is a value", "apps:\n  a: 12\n", []string{`c.yaml:2: apps.a: want keys and values, found a single value`,
		`c.yaml:2: apps.a has no app (add app: with the App's client ID or App ID)`}},
	{"App with nothing", "apps:\n  a:\n",
		[]string{`c.yaml:2: apps.a has no app (add app: with the App's client ID or App ID)`}},
	{"list for a value", "apps:\n  a:\n    app: [1]\n",
		[]string{`c.yaml:3: apps.a.app: want a single value, found a list`}},
	{"mapping for a value", "apps:\n  a:\n    app: {id: 1}\n",
		[]string{`c.yaml:3: apps.a.app: want a single value, found keys and values`}},
	{"no value", "apps:\n  a:\n    app:\n",
		[]string{`c.yaml:3: apps.a.app has no value (give it one, or leave the key out)`}},
	{"empty value", "apps:\n  a:\n    app: ' '\n",
		[]string{`c.yaml:3: apps.a.app has no value (give it one, or leave the key out)`}},
	{"number for a host", "apps:\n  a:\n    app: 1\n    host: 127\n",
		[]string{`c.yaml:4: apps.a.host: want text, found a number (put it in quotes if it is meant so)`}},
	{"hexadecimal ID", "apps:\n  a:\n    app: 0x10\n",
		[]string{`c.yaml:3: apps.a.app: want text, found a number (put it in quotes if it is meant so)`}},
	{"fraction", "apps:\n  a:\n    app: 1e3\n",
		[]string{`c.yaml:3: apps.a.app: want text, found a number (put it in quotes if it is meant so)`}},
	{"truth", "apps:\n  a:\n    app: 1\n    owners: [true]\n",
		[]string{`c.yaml:4: apps.a.owners: want text, found true or false (put it in quotes if it is meant so)`}},
	{"date for an ID", "apps:\n  a:\n    app: 2022-11-28\n",
		[]string{`c.yaml:3: apps.a.app: want text, found a date (put it in quotes if it is meant so)`}},
	{"tag", "apps:\n  a:\n    app: !!binary MTI=\n", []string{`c.yaml:3: apps.a.app: want text, found a tag of YAML`}},
	{"own tag", "apps:\n  a:\n    app: !canary x\n", []string{`c.yaml:3: apps.a.app: want text, found a tag of YAML`}},
	{"several lines", "apps:\n  a:\n    app: |\n      one\n      two\n",
		[]string{`c.yaml:3: apps.a.app: there is a line break or a control character in it`}},

	{"no host", "apps:\n  a:\n    app: 1\n    host: two words\n", []string{`c.yaml:4: apps.a.host: host is not a URL`}},
	{"host with a path", "apps:\n  a:\n    app: 1\n    host: github.com/acme\n",
		[]string{`c.yaml:4: apps.a.host: host "github.com/acme" has a path: only the host is wanted, such as github.com`}},
	{"http", "apps:\n  a:\n    app: 1\n    api_url: http://ghe.example.com\n", []string{
		`c.yaml:4: apps.a.api_url: API URL "ghe.example.com" is http://: a token would travel unencrypted; use https://`}},
	{"no version", "apps:\n  a:\n    app: 1\n    api_version: none\n", nil},
	{"App's name for its ID", "apps:\n  a:\n    app: Deployer\n", []string{
		`c.yaml:3: apps.a.app is neither a client ID (Iv23li…) nor an App ID (a number) (it is at the top ` +
			`of the App's settings page)`,
	}},
	{"no installation", "apps:\n  a:\n    app: 1\n    installation: acme\n", []string{
		"c.yaml:4: apps.a.installation: it is neither an installation's ID, a number, " +
			"nor the address of its settings page, which ends with that (…/installations/123)",
	}},
	{"no date", "apps:\n  a:\n    app: 1\n    api_version: v3\n",
		[]string{`c.yaml:4: apps.a.api_version: it is neither a date such as 2022-11-28 nor none`}},
	{"home of another", "apps:\n  a:\n    app: 1\n    key: ~root/k.pem\n",
		[]string{`c.yaml:4: apps.a.key: ~ with the name of a user is not supported; write the whole path`}},

	{"App without app", "apps:\n  a:\n    key: k.pem\n",
		[]string{`c.yaml:2: apps.a has no app (add app: with the App's client ID or App ID)`}},
	{"name with a blank", "apps:\n  my app:\n    app: 1\n", []string{
		`c.yaml:2: this cannot be the name of an App (use up to 39 letters, digits, dots, hyphens and underscores)`}},
	{"name that is an ID", "apps:\n  123:\n    app: 1\n  Iv23li:\n    app: 1\n", []string{
		`c.yaml:2: the name 123 could be taken for an App's ID (choose another name)`,
		`c.yaml:4: the name Iv23li could be taken for an App's ID (choose another name)`,
	}},
	{"default that is not there", "default: deplyo\napps: {deploy: {app: 1}}\n",
		[]string{`c.yaml:1: default names no App of this file (did you mean "deploy"?)`}},
	{"default without Apps", "default: a\n", []string{`c.yaml:1: default names no App of this file`}},
	{"owners as text", "apps:\n  a:\n    app: 1\n    owners: acme\n",
		[]string{`c.yaml:4: apps.a.owners: want a list, such as [acme, octo], found a single value`}},
	{"owner that is a repository", "apps:\n  a:\n    app: 1\n    owners:\n      - acme\n      - acme/site\n",
		[]string{`c.yaml:6: apps.a.owners: want owners, found a repository or a URL (write the owner alone)`}},
	{"owner that is no name", "apps:\n  a:\n    app: 1\n    owners: [a b]\n",
		[]string{`c.yaml:4: apps.a.owners: this cannot be the name of an owner`}},
	{"owner in a list", "apps:\n  a:\n    app: 1\n    owners: [[acme]]\n",
		[]string{`c.yaml:4: apps.a.owners: want a single value, found a list`}},
	{"owner twice", "apps:\n  a:\n    app: 1\n    owners: [acme, ACME]\n",
		[]string{`c.yaml:4: apps.a.owners has ACME twice`}},
	{"owner of two Apps", "apps:\n  a:\n    app: 1\n    owners: [octo, acme]\n  b:\n    app: 2\n" +
		"    host: https://GitHub.com/\n    owners: [Acme]\n", []string{
		`c.yaml:8: the owner Acme on github.com is claimed by two Apps: a (line 4) and b (line 8) (leave ` +
			`it in one of them; --app chooses the other)`,
	}},

	{"alias", "apps:\n  a: &a\n    app: 1\n  b: *a\n", []string{
		`c.yaml:4: apps.b: anchors, aliases and merge keys are not supported here (write the values out)`,
		`c.yaml:4: apps.b has no app (add app: with the App's client ID or App ID)`,
	}},
	{"alias of a value", "apps:\n  a:\n    app: &x 1\n    key: *x\n",
		[]string{`c.yaml:4: apps.a.key: anchors, aliases and merge keys are not supported here (write the values out)`}},
	{"alias as a key", "default: &x a\n*x : 1\n",
		[]string{`c.yaml:2: the file: anchors, aliases and merge keys are not supported here (write the values out)`}},
	{"merge key", "apps:\n  a: &a\n    app: 1\n  b:\n    <<: *a\n    app: 2\n",
		[]string{`c.yaml:5: apps.b: anchors, aliases and merge keys are not supported here (write the values out)`}},
	{"alias without an anchor", "apps: *canary\n", []string{`c.yaml:1: the file is not YAML: an alias has no anchor`}},
	{"bomb", "a: &a [x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n", []string{
		`c.yaml:1: unknown key "a" in the file (known here: default, apps, sync_defaults, sync, mirror)`,
		`c.yaml:2: unknown key "b" in the file (known here: default, apps, sync_defaults, sync, mirror)`,
		`c.yaml:3: unknown key "c" in the file (known here: default, apps, sync_defaults, sync, mirror)`,
	}},
	{"two documents", "apps: {a: {app: 1}}\n---\napps: {b: {app: 2}}\n",
		[]string{`c.yaml:2: a second YAML document begins here; the file is to have one`}},
	{"tab", "apps:\n\ta:\n", []string{`c.yaml:2: the file is not YAML: found character that cannot start any token`}},
	{"open bracket", "apps:\n  a: [\n", []string{`c.yaml:2: the file is not YAML: did not find expected node content`}},
	{"colon in a value", "apps:\n  a:\n    app: b: c\n",
		[]string{`c.yaml:3: the file is not YAML: mapping values are not allowed in this context`}},
	{"control character", "apps:\n  a:\n    app: \x01\n",
		[]string{`c.yaml:3: the file is not YAML: control characters are not allowed`}},
	{"no UTF-8", "apps:\n  a:\n    app: \xff\n", []string{`c.yaml:3: the file is not YAML: invalid ` +
		`leading UTF-8 octet`}},

	{"inline key", "apps:\n  a:\n    app: 1\n    private_key: |\n      " +
		strings.ReplaceAll(pem, "\n", "\n      ") + "\n", []string{
		`c.yaml:4: apps.a: a private key does not belong in the config file (write it to a file of its ` +
			`own, of mode 0600, and name that file with key:)`,
	}},
	{"inline key at the top", "Private-Key: canary\n", []string{
		`c.yaml:1: the file: a private key does not belong in the config file (write it to a file of its ` +
			`own, of mode 0600, and name that file with key:)`,
	}},
	{"inline key by another name", "apps:\n  a:\n    app: 1\n    pem: canary\n", []string{
		`c.yaml:4: apps.a: a private key does not belong in the config file (write it to a file of its ` +
			`own, of mode 0600, and name that file with key:)`,
	}},
	{"PEM for a path", "apps:\n  a:\n    app: 1\n    key: |\n      " +
		strings.ReplaceAll(pem, "\n", "\n      ") + "\n", []string{
		`c.yaml:4: apps.a.key: a private key does not belong in the config file (write it to a file of ` +
			`its own, of mode 0600, and name that file with key:)`,
	}},
	{"PEM in base64", "apps:\n  a:\n    app: 1\n    key: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpjYW5hcnkK\n", []string{
		`c.yaml:4: apps.a.key: a private key does not belong in the config file (write it to a file of ` +
			`its own, of mode 0600, and name that file with key:)`,
	}},
	{"PEM that breaks the YAML", "apps:\n  a:\n    app: 1\n    key:\n" + pem, []string{
		`c.yaml:5: a private key does not belong in the config file (write it to a file of its own, of ` +
			`mode 0600, and name that file with key:)`,
	}},
	{"client secret for an ID", "apps:\n  a:\n    app: " + strings.Repeat("0a", 20) + "\n", []string{
		`c.yaml:3: apps.a.app holds what looks like a client secret ` +
			`(an App signs with its private key; the client secret is not used)`,
	}},
	{"token for a key", "apps:\n  a:\n    app: 1\n    key: ghs_canarycanary\n", []string{
		`c.yaml:4: apps.a.key holds a GitHub token (ghapp makes its tokens from the App's private key)`,
	}},
	{"token for a name", "apps:\n  ghs_canarycanary:\n    app: 1\n", []string{
		`c.yaml:2: this cannot be the name of an App (use up to 39 letters, digits, dots, hyphens and underscores)`,
	}},
	{"token for a key of the file", "ghs_canarycanary: 1\n",
		[]string{`c.yaml:1: unknown key of 16 characters in the file ` +
			`(known here: default, apps, sync_defaults, sync, mirror)`}},
	{"certificate for its path", "apps:\n  a:\n    app: 1\n    ca_file: '-----BEGIN CERTIFICATE-----'\n", []string{
		`c.yaml:4: apps.a.ca_file holds PEM text (write it to a file, and give the path)`,
	}},

	{"all at once", "defualt: a\napps:\n  a:\n    apps: 1\n    key:\n  1:\n", []string{
		`c.yaml:1: unknown key "defualt" in the file (did you mean "default"?)`,
		`c.yaml:4: unknown key "apps" in apps.a (did you mean "app"?)`,
		`c.yaml:5: apps.a.key has no value (give it one, or leave the key out)`,
		`c.yaml:3: apps.a has no app (add app: with the App's client ID or App ID)`,
		`c.yaml:6: the name 1 could be taken for an App's ID (choose another name)`,
	}},
}

func TestFileMessages(t *testing.T) {
	for _, test := range fileTests {
		t.Run(test.name, func(t *testing.T) {
			_, problems := parse("c.yaml", []byte(test.text), "/home/me")
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			testkit.Diff(t, got, test.want)
			testkit.Lacks(t, strings.Join(got, "\n"), "canary")
		})
	}
}

func TestFileValues(t *testing.T) {
	const text = `
default: deploy
apps:
  deploy:
    app: 12345
    key: keys/deploy.pem
    host: GitHub.com
    owners: [acme, Octo]
    installation: 99
    api_version: 2022-11-28
    ca_file: ~/ca.pem
  lab:
    app: Iv23liABCDEF
    key: keyring:lab
    host: ghe.example.com
    api_url: https://api.example.com/v3
    ca_file: /etc/ca.pem
  tilde:
    app: 'Iv1.0123456789abcdef'
    key: '~'
`
	path := filepath.FromSlash("/etc/ghapp/config.yaml")
	got, problems := parse(path, []byte(text), "/home/me")
	if problems != nil {
		t.Fatal(problems)
	}
	at := func(text string, line int) Value { return Value{Text: text, Source: Source{FromFile, path, line}} }
	want := file{
		def: at("deploy", 2),
		apps: []fileApp{
			{name: "deploy", line: 4, owners: []string{"acme", "Octo"},
				source: Source{FromFile, path, 8}, values: map[string]Value{
					"app": at("12345", 5), "key": at("/etc/ghapp/keys/deploy.pem", 6),
					"host": at("GitHub.com", 7), "installation": at("99", 9),
					"api_version": at("2022-11-28", 10), "ca_file": at("/home/me/ca.pem", 11),
				}},
			{name: "lab", line: 12, values: map[string]Value{
				"app": at("Iv23liABCDEF", 13), "key": at("keyring:lab", 14), "host": at("ghe.example.com", 15),
				"api_url": at("https://api.example.com/v3", 16), "ca_file": at("/etc/ca.pem", 17),
			}},
			{name: "tilde", line: 18,
				values: map[string]Value{"app": at("Iv1.0123456789abcdef", 19), "key": at("/home/me", 20)}},
		},
	}
	testkit.Diff(t, got, want, cmp.AllowUnexported(file{}, fileApp{}, Value{}, secret.Text{}))
}

func TestProblemsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	_, problems := parse("c.yaml", []byte(b.String()), "")
	if len(problems) != mostProblems+1 {
		t.Fatalf("%d problems, want %d", len(problems), mostProblems+1)
	}
	if got, want := problems[mostProblems].String(), "c.yaml:50: and 950 problems more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAliasesAreNotExpanded has a file whose aliases stand for millions of keys.
func TestAliasesAreNotExpanded(t *testing.T) {
	const many = 3000
	var b strings.Builder
	b.WriteString("apps:\n  a: &a\n")
	for i := range many {
		fmt.Fprintf(&b, "    k%d: 1\n", i)
	}
	for i := range many {
		fmt.Fprintf(&b, "  b%d: *a\n", i)
	}
	_, problems := parse("c.yaml", []byte(b.String()), "")
	// One for each key; one for a, which has no app; two for each alias.
	want := fmt.Sprintf("and %d problems more", many+1+2*many-mostProblems)
	testkit.Equal(t, problems[len(problems)-1].Text, want)
}

func FuzzFile(f *testing.F) {
	if len(fileTests) == 0 {
		f.Fatal("no seeds")
	}
	for _, test := range fileTests {
		f.Add([]byte(test.text))
	}
	const path = "/etc/ghapp/config.yaml"
	f.Fuzz(func(t *testing.T, data []byte) {
		got, problems := parse(path, data, "/home/me")
		lines := strings.Count(string(data), "\n") + 1
		for _, p := range problems {
			if p.File != path || p.Line < 1 || p.Line > lines {
				t.Errorf("a problem is at %s:%d, of %d lines", p.File, p.Line, lines)
			}
			text := p.Text + p.Hint
			if p.Text == "" || len(text) > 500 || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("the problem is %q", text)
			}
			testkit.Equal(t, secretIn(text), "", "a problem repeats a secret: %q", text)
		}
		if len(problems) > 0 {
			return
		}
		if len(data) == 0 && len(got.apps) > 0 {
			t.Error("Apps out of nothing")
		}
		for _, app := range got.apps {
			if app.values["app"].Text == "" && app.values["broker"].Text == "" || !namePattern().MatchString(app.name) {
				t.Errorf("App %q has %+v", app.name, app.values)
			}
			for key, v := range app.values {
				if v.Text == "" || secretIn(v.Text) != "" || v.Source.Kind != FromFile ||
					v.Source.Line < 1 || v.Source.Line > lines {
					t.Errorf("%s is %+v", key, v)
				}
			}
		}
	})
}

// TestFileOfTheDocumentation keeps the package comment true.
func TestFileOfTheDocumentation(t *testing.T) {
	source := testkit.Must(os.ReadFile("config.go"))(t)
	var b strings.Builder
	for line := range strings.Lines(string(source)) {
		if text, ok := strings.CutPrefix(line, "//\t"); ok {
			b.WriteString(text)
		}
	}
	got, problems := parse("c.yaml", []byte(b.String()), "/home/me")
	if problems != nil {
		t.Fatal(problems)
	}
	if len(got.apps) != 2 || got.def.Text != "deploy" {
		t.Fatalf("got %+v", got)
	}
	for _, key := range fileKeys() {
		switch key {
		case "owners", "permissions", "repositories":
		default:
			if got.apps[0].values[key].Text == "" && got.apps[1].values[key].Text == "" {
				t.Errorf("the example has no %s", key)
			}
		}
	}
	testkit.Equal(t, len(got.apps[0].rights), 3, "the example lets git do %+v", got.apps[0].rights)
}
