package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const inFile = "apps:\n  ci:\n    broker: https://broker.example.com\n    identity: file:token\n    audience: us\n" +
	"    owners: [acme]\n  own:\n    app: 1\n    key: /k.pem\n"

func TestBrokerStandsInThePlaceOfTheKey(t *testing.T) {
	w := world{file: inFile}
	c, err, home := w.load(t)
	testkit.OK(t, err)
	a := testkit.Must(c.App(Selector{Owner: "acme"}))(t)
	testkit.Equal(t, a.Broker.Text, "https://broker.example.com")
	testkit.Equal(t, a.Identity.Text, "file:"+filepath.Join(home, ".config", "ghapp", "token"), "completed path")
	testkit.Equal(t, a.Audience.Text, "us")
	testkit.Equal(t, a.App.Text+a.Key.Text, "")
	var keys []string
	for _, e := range c.List() {
		if ofBroker(e.Key) {
			keys = append(keys, e.App+"."+e.Key)
		}
	}
	testkit.Diff(t, keys, []string{"ci.broker", "ci.identity", "ci.audience"})
	testkit.Diff(t, c.Identities(), []string{a.Identity.Text})
	err = testkit.ErrorOf(c.App(Selector{Owner: "acme", KeyOnly: true}))
	testkit.ErrorContains(t, err, "there is no key on this machine", "https://broker.example.com")
}

func TestVariablesAloneNameABroker(t *testing.T) {
	w := world{env: map[string]string{"GHAPP_BROKER": "https://broker.example.com", "GHAPP_IDENTITY": "github-actions"}}
	c, err, _ := w.load(t)
	testkit.OK(t, err)
	a := testkit.Must(c.App(Selector{Owner: "acme"}))(t)
	testkit.Equal(t, a.Broker.Source.String(), "environment GHAPP_BROKER")
	testkit.Equal(t, a.Identity.Text, "github-actions")
	testkit.Diff(t, c.Identities(), []string{"github-actions"})
}

func TestBrokerAndKeyTogetherAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		w    world
		says string
	}{
		"key in a variable": {world{file: inFile, env: map[string]string{"GHAPP_KEY": "/k.pem"}},
			"a broker is named (FILE:3) and a key as well (environment GHAPP_KEY)"},
		"key itself": {world{file: inFile, env: map[string]string{"GHAPP_PRIVATE_KEY": "x"}},
			"a key as well (environment GHAPP_PRIVATE_KEY)"},
		"flag": {world{env: map[string]string{"GHAPP_BROKER": "https://b.example"},
			flags: map[string]string{"key": "/k.pem"}},
			"a key as well (flag --key)"},
		"App": {world{env: map[string]string{"GHAPP_BROKER": "https://b.example", "GHAPP_APP": "12"}},
			"an App as well (environment GHAPP_APP)"},
		"installation": {world{env: map[string]string{"GHAPP_BROKER": "https://b.example", "GHAPP_INSTALLATION": "12"}},
			"an installation as well (environment GHAPP_INSTALLATION)"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err, home := test.w.load(t)
			testkit.OK(t, err)
			err = testkit.ErrorOf(c.App(Selector{Owner: "acme"}))
			testkit.Contains(t, strings.Join(short(err, home), "\n"), test.says)
		})
	}
	for _, key := range []string{"app: 1", "key: k.pem", "key_timeout: 3s", "installation: 7"} {
		w := world{file: "apps:\n  ci:\n    broker: https://broker.example.com\n    " + key + "\n"}
		_, err, home := w.load(t)
		name, _, _ := strings.Cut(key, ":")
		testkit.Contains(t, strings.Join(short(err, home), "\n"), "FILE:4: apps.ci has a broker and "+name+" as well")
	}
}

func TestSettingsOfABrokerAreChecked(t *testing.T) {
	for text, says := range map[string]string{
		"GHAPP_BROKER=http://broker.example":       "unencrypted",
		"GHAPP_BROKER=broker.example":              "https://",
		"GHAPP_BROKER=https://a:hunter2@b.example": "user name or password",
		"GHAPP_IDENTITY=github-action":             "did you mean",
		"GHAPP_IDENTITY=file:":                     "write file:/PATH",
		"GHAPP_AUDIENCE=a\x1bb":                    "control character",
		"GHAPP_IDENTITY=ghs_hunter2hunter2hunter2": "a GitHub token",
	} {
		name, value, _ := strings.Cut(text, "=")
		w := world{env: map[string]string{name: value}}
		_, err, _ := w.load(t)
		testkit.ErrorContains(t, err, name, says)
		testkit.Lacks(t, err.Error(), "hunter2")
	}
}
