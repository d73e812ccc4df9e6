package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// rightsFile has an App that may write everywhere but in two places, and one of which
// the file says nothing.
const rightsFile = `apps:
  deploy:
    app: 1
    key: /k.pem
    owners: [acme, octo, beta]
    permissions: {contents: write}
    repositories:
      acme/*: {contents: read}
      Acme/Site:
        contents: write
        workflows: write
      octo/lib: {contents: read}
  plain:
    app: 2
    key: /k.pem
    owners: [gamma]
`

func TestGitMayWriteWhereTheFileSaysSoOnly(t *testing.T) {
	write, read := ghapp.Permissions{"contents": "write"}, ghapp.Permissions{"contents": "read"}
	for _, test := range []struct {
		owner, name string
		want        ghapp.Permissions
	}{
		{"acme", "site", ghapp.Permissions{"contents": "write", "workflows": "write"}},
		{"ACME", "SITE", ghapp.Permissions{"contents": "write", "workflows": "write"}},
		{"acme", "site2", read},
		{"acme", "web", read},
		{"octo", "lib", read},
		{"octo", "web", write},
		{"beta", "x", write},
		{"gamma", "x", nil},
	} {
		c, err, _ := world{file: rightsFile}.load(t)
		testkit.OK(t, err)
		a := testkit.Must(c.App(Selector{Owner: test.owner}))(t)
		got := a.GitPermissions(ghapp.RepositoryName{Owner: test.owner, Name: test.name})
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s/%s (-want +got):\n%s", test.owner, test.name, diff)
		}
	}
}

// An App that flags or variables name is not the file's, whatever that says.
func TestGitReadsOnlyForAnAppThatIsNotTheFiles(t *testing.T) {
	c, err, _ := world{flags: map[string]string{"app": "9", "key": "/k.pem"}, file: rightsFile}.load(t)
	testkit.OK(t, err)
	a := testkit.Must(c.App(Selector{Owner: "acme"}))(t)
	if got := a.GitPermissions(ghapp.RepositoryName{Owner: "acme", Name: "site"}); got != nil {
		t.Errorf("git may %s", got)
	}
}

func TestPermissionMessages(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"all is well", "permissions: {contents: read}\n", nil},
		{"misspelt permission", "permissions: {content: write}\n",
			[]string{`c.yaml:5: unknown key "content" in apps.a.permissions (did you mean "contents"?)`}},
		{"permission that git does not know", "permissions:\n      issues: write\n",
			[]string{`c.yaml:6: unknown key "issues" in apps.a.permissions (known here: contents, workflows)`}},
		{"misspelt value", "permissions: {contents: wirte}\n",
			[]string{`c.yaml:5: apps.a.permissions.contents: want read or write (did you mean "write"?)`}},
		{"admin", "permissions: {contents: admin}\n", []string{`c.yaml:5: apps.a.permissions.contents: want read or write`}},
		{"workflows can be written only", "permissions: {contents: write, workflows: read}\n",
			[]string{`c.yaml:5: apps.a.permissions.workflows: want write`}},
		{"truth", "permissions: {contents: true}\n", []string{
			`c.yaml:5: apps.a.permissions.contents: want text, found true or false (put it in quotes if it is meant so)`}},
		{"a word", "permissions: write\n",
			[]string{`c.yaml:5: apps.a.permissions: want keys and values, found a single value`}},
		{"a list", "permissions: [contents]\n", []string{`c.yaml:5: apps.a.permissions: want keys and values, found a list`}},
		{"nothing", "permissions:\n",
			[]string{`c.yaml:5: apps.a.permissions has no value (write {contents: write}, or leave the key out)`}},
		{"empty", "permissions: {}\n",
			[]string{`c.yaml:5: apps.a.permissions has no value (write {contents: write}, or leave the key out)`}},
		{"workflows without contents", "permissions: {contents: read, workflows: write}\n", []string{
			`c.yaml:5: apps.a.permissions: workflows is of use to those only who may write contents (add contents: write)`}},
		{"misspelt key", "permission: {contents: write}\n",
			[]string{`c.yaml:5: unknown key "permission" in apps.a (did you mean "permissions"?)`}},

		{"owner alone", "repositories: {acme: {contents: write}}\n", []string{
			`c.yaml:5: apps.a.repositories: the key "acme" is no repository (write OWNER/NAME, or OWNER/* for all of an owner's)`}},
		{"URL", "repositories: {'https://github.com/acme/site': {contents: write}}\n", []string{
			`c.yaml:5: apps.a.repositories: the key "https://github.com/acme/site" is no repository (write OWNER/NAME, or OWNER/* for all of an owner's)`}},
		{"star for the owner", "repositories: {'*/site': {contents: write}}\n", []string{
			`c.yaml:5: apps.a.repositories: the key "*/site" is no repository (write OWNER/NAME, or OWNER/* for all of an owner's)`}},
		{"twice", "repositories:\n      acme/site: {contents: write}\n      ACME/site: {contents: read}\n",
			[]string{`c.yaml:7: key "ACME/site" of apps.a.repositories is there twice, first in line 6`}},
		{"misspelt owner", "repositories:\n      acne/site: {contents: write}\n",
			[]string{`c.yaml:6: apps.a.repositories: acne is not among the owners of this App (did you mean "acme"?)`}},
		{"another owner", "repositories:\n      other/*: {contents: write}\n",
			[]string{`c.yaml:6: apps.a.repositories: other is not among the owners of this App (add other to owners)`}},
		{"misspelt permission in a repository", "repositories:\n      acme/site: {contnts: write}\n",
			[]string{`c.yaml:6: unknown key "contnts" in apps.a.repositories.acme/site (did you mean "contents"?)`}},
		{"a word for a repository", "repositories: {acme/site: write}\n",
			[]string{`c.yaml:5: apps.a.repositories.acme/site: want keys and values, found a single value`}},
		{"a list of repositories", "repositories: [acme/site]\n",
			[]string{`c.yaml:5: apps.a.repositories: want keys and values, found a list`}},
		{"a token for an owner", "repositories: {ghs_canary0123456789/x: {contents: write}}\n", []string{
			`c.yaml:5: apps.a.repositories: the key of 22 characters is no repository (write OWNER/NAME, or OWNER/* for all of an owner's)`}},
		{"a token for a repository", "repositories: {ghs_canary0123456789: {contents: write}}\n", []string{
			`c.yaml:5: apps.a.repositories: the key of 20 characters is no repository (write OWNER/NAME, or OWNER/* for all of an owner's)`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems := parse("c.yaml", []byte("apps:\n  a:\n    app: 1\n    owners: [acme]\n    "+test.text), "/home/me")
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			testkit.Diff(t, got, test.want)
		})
	}
}

func TestHosts(t *testing.T) {
	const three = `apps:
  a: {app: 1, key: /k.pem, owners: [acme]}
  b: {app: 2, key: /k.pem, owners: [octo]}
  c: {app: 3, key: /k.pem, host: ghe.example.com}
`
	for _, test := range []struct {
		name string
		world
		want []string // host and the App's name
		err  string
	}{
		{"several Apps of one host, and one of another", world{file: three},
			[]string{"github.com ", "ghe.example.com c"}, ""},
		{"one of the hosts", world{flags: map[string]string{"host": "github.com"}, file: three}, []string{"github.com "}, ""},
		{"the other", world{env: map[string]string{"GHAPP_HOST": "ghe.example.com"}, file: three},
			[]string{"ghe.example.com c"}, ""},
		{"a host of no App", world{flags: map[string]string{"host": "example.com"}, file: three},
			nil, "FILE: no App of this file is for example.com (a for github.com, b for github.com, " +
				"c for ghe.example.com) (add one with host: example.com)"},
		{"an App by its name", world{flags: map[string]string{"app": "b"}, file: three}, []string{"github.com b"}, ""},
		{"one App", world{file: "apps:\n  a: {app: 1, key: /k.pem}\n"}, []string{"github.com a"}, ""},
		{"without a file", world{env: map[string]string{"GHAPP_APP": "1", "GHAPP_KEY": "/k.pem"}},
			[]string{"github.com "}, ""},
		{"nothing", world{}, nil, "no App is configured (run `ghapp setup`, or pass --app and --key, " +
			"or set GHAPP_APP and GHAPP_KEY, or write FILE)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err, home := test.load(t)
			testkit.OK(t, err)
			hosts, err := c.Hosts()
			if got := short(err, home); test.err != "" {
				testkit.Diff(t, got, []string{test.err})
				return
			}
			var got []string
			for _, a := range hosts {
				got = append(got, a.Host.Text+" "+a.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// git trusts one file of certificate authorities for a host.
func TestAppsOfOneHostShareItsCertificateAuthorities(t *testing.T) {
	for name, test := range map[string]struct{ a, b, want string }{
		"both say the same": {", ca_file: /ca.pem", ", ca_file: /ca.pem", "/ca.pem"},
		"the first says":    {", ca_file: /ca.pem", "", "/ca.pem"},
		"the second says":   {"", ", ca_file: /ca.pem", "/ca.pem"},
		"they disagree":     {", ca_file: /ca.pem", ", ca_file: /other.pem", ""},
		"none says":         {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err, _ := world{file: "apps:\n  a: {app: 1, key: /k.pem, host: ghe.example.com, owners: [acme]" + test.a + "}\n" +
				"  b: {app: 2, key: /k.pem, host: ghe.example.com, owners: [octo]" + test.b + "}\n"}.load(t)
			testkit.OK(t, err)
			hosts, err := c.Hosts()
			if err != nil || len(hosts) != 1 || hosts[0].CAFile.Text != test.want {
				t.Errorf("%v, %v", hosts, err)
			}
		})
	}
}
