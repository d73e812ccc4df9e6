package config

import (
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

func load(t *testing.T, text string, flags, variables map[string]string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	put(t, path, text, 0o600)
	all := map[string]string{"config": path}
	for name, value := range flags {
		all[name] = value
	}
	c := testkit.Must(Load(Options{Flags: all, LookupEnv: func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}}))(t)
	return c
}

const twoHosts = "apps:\n  a: {app: 1, key: /a.pem, owners: [acme]}\n  b: {app: 2, key: /b.pem, host: " +
	"ghe.example.com, owners: [acme]}\n"

func TestAppsAreThoseOfTheFile(t *testing.T) {
	told := func(list []AppSettings) (lines []string) {
		for _, a := range list {
			lines = append(lines, a.Name+" "+a.App.Text+" "+filepath.ToSlash(a.Key.Text)+" "+a.Host.Text+" "+
				a.CAFile.Text+a.PrivateKey.Reveal())
		}
		return lines
	}
	variables := map[string]string{"GHAPP_APP": "9", "GHAPP_PRIVATE_KEY": "another's", "GHAPP_INSTALLATION": "8"}
	c := load(t, twoHosts, map[string]string{"ca-file": "/ca.pem"}, variables)
	testkit.Diff(t, told(c.Apps()), []string{"a 1 /a.pem github.com /ca.pem", "b 2 /b.pem ghe.example.com /ca.pem"})
	if given := c.Given(); given.App.Text != "9" || given.Installation.Text != "8" ||
		given.PrivateKey.Reveal() != "another's" || given.Host.Text != "github.com" || given.Name != "" {
		t.Errorf("given: %+v", given)
	}
	for host, want := range map[string][]string{
		"GHE.example.com": {"b 2 /b.pem GHE.example.com "},
		"github.com":      {"a 1 /a.pem github.com "},
		"x.ghe.com":       nil,
	} {
		if diff := cmp.Diff(want, told(load(t, twoHosts, map[string]string{"host": host}, nil).Apps())); diff != "" {
			t.Errorf("--host %s (-want +got):\n%s", host, diff)
		}
	}
}

func TestClaimantIsOfTheSameHost(t *testing.T) {
	d := &Draft{text: []byte(twoHosts)}
	for _, test := range []struct{ host, owner, want string }{
		{"github.com", "ACME", "a"}, {"GHE.example.com", "acme", "b"}, {"github.com", "octo", ""}, {"x.ghe.com", "acme", ""},
	} {
		testkit.Equal(t, d.Claimant(test.host, test.owner), test.want, "%s on %s is claimed by", test.owner, test.host)
	}
}

func TestAppNameIsOneThatTheFileTakes(t *testing.T) {
	for text, want := range map[string]string{
		"ghapp-web1": "ghapp-web1", "Ghapp Web 1!": "ghapp-web-1", "42": "app42", "Ünï": "n", "": "app", "Iv23": "iv23",
		"a-very-long-name-that-has-34-chars-or-more": "a-very-long-name-that-has-34-chars",
	} {
		got := AppName(text)
		testkit.Equal(t, got, want, "%q becomes", text)
		if _, problems := parse("c.yaml", []byte("apps:\n  "+got+"-99: {app: 1}\n"), ""); len(problems) > 0 {
			t.Errorf("%q: %v", got, problems)
		}
	}
}
