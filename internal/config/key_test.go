package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

func TestKeysInTheFile(t *testing.T) {
	for text, want := range map[string][]string{
		"k.pem":                            {"/etc/k.pem"},
		"file:k%20.pem":                    {"/etc/k .pem"},
		"file:///keys/k.pem":               {"/keys/k.pem"},
		"exec:bin/sign?slot=1":             {"exec:/etc/bin/sign?slot=1"},
		"exec:~/sign":                      {"exec:/home/me/sign"},
		"exec:sign":                        {"exec:sign"},
		"ssh-agent:deploy":                 {"ssh-agent:deploy"},
		"awskms:///alias/app":              {"awskms:///alias/app"},
		"[new.pem]":                        {"/etc/new.pem"},
		"[new.pem, ~/old.pem]":             {"/etc/new.pem", "/home/me/old.pem"},
		"[ssh-agent:deploy, keyring:old]":  {"ssh-agent:deploy", "keyring:old"},
		"'pkcs11:object=a?pin-value=1234'": {"pkcs11:object=a?pin-value=1234"},

		"'pkcs11:object=a?module-path=lib/m.so&pin-source=file:p&x=../y'": {
			"pkcs11:object=a?module-path=/etc/lib/m.so&pin-source=/etc/p&x=../y"},
		"'pkcs11:object=a?module-path=m.so&pin-source=file:/p&a=b'": {
			"pkcs11:object=a?module-path=m.so&pin-source=file:/p&a=b"},
		"'pkcs11:object=a?pin-source=|cat%20p'": {"pkcs11:object=a?pin-source=|cat%20p"},
		"'tpmkms:path=a%20%26b.pem?pin-source=~/p'": {
			"tpmkms:path=/etc/a%20%26b.pem?pin-source=/home/me/p"},
		"'tpmkms:storage-directory=tpm;name=a'": {"tpmkms:storage-directory=/etc/tpm;name=a"},
		"'yubikey:slot-id=9c?pin-source=p+q'":   {"yubikey:slot-id=9c?pin-source=/etc/p%2Bq"},
	} {
		f, problems := parse("/etc/config.yaml", []byte("apps:\n  a:\n    app: 1\n    key: "+text+"\n"), "/home/me")
		if problems != nil {
			t.Errorf("%s: %v", text, problems)
			continue
		}
		var got []string
		for _, key := range []string{"key", previousKey} {
			if v, ok := f.apps[0].values[key]; ok {
				got = append(got, v.Reveal())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestWrongKeysInTheFile(t *testing.T) {
	const hint = " (leave out those that the App's settings page shows no more)"
	for text, want := range map[string]string{
		"[]":                                "c.yaml:4: apps.a.key has no value (give it one, or leave the key out)",
		"\n      - a\n      - b\n      - c": "c.yaml:7: apps.a.key: " + tooManyKeys + hint,
		"\n      - a\n      - ''":           "c.yaml:6: apps.a.key has no value (give it one, or leave the key out)",
		"\n      - a\n      - [b]":          "c.yaml:6: apps.a.key: want a single value, found a list",
		"\n      - a\n      - a":            "c.yaml:6: apps.a.key names the same key twice",
		"{a: b}":                            "c.yaml:4: apps.a.key: want a single value, found keys and values",
		"kms:canary":                        "c.yaml:4: apps.a.key: " + unfitKey("kms:x"),
		"file://host/canary":                "c.yaml:4: apps.a.key: the file: URI names no path on this machine",
		"exec:~me/canary": "c.yaml:4: apps.a.key: " +
			"~ with the name of a user is not supported; write the whole path",
	} {
		_, problems := parse("c.yaml", []byte("apps:\n  a:\n    app: 1\n    key: "+text+"\n"), "/home/me")
		if len(problems) != 1 || problems[0].String() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, problems, want)
		}
		if strings.Contains(fmt.Sprint(problems), "canary") {
			t.Errorf("%q: a value is repeated", text)
		}
	}
}

// Both keys come from one place: that before the newest one belongs to it.
func TestPreviousKeyComesWithTheNewest(t *testing.T) {
	const two = "apps: {a: {app: 1, key: [/new.pem, /old.pem]}}"
	for _, test := range []struct {
		name string
		world
		want string
	}{
		{"file", world{file: two}, "/new.pem FILE:1, /old.pem FILE:1"},
		{"flag over file", world{file: two, flags: map[string]string{"key": "/flag.pem"}}, "/flag.pem flag --key,  "},
		{"two flags", world{file: two, flags: map[string]string{"key": "/flag.pem\nssh-agent:old"}},
			"/flag.pem flag --key, ssh-agent:old flag --key"},
		{"variable over file", world{file: two, env: map[string]string{"GHAPP_KEY": "/env.pem"}},
			"/env.pem environment GHAPP_KEY,  "},
		{"PEM over file", world{file: two, env: map[string]string{"GHAPP_PRIVATE_KEY": pem}}, " ,  "},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err, home := test.load(t)
			testkit.OK(t, err)
			a := testkit.Must(c.App(Selector{}))(t)
			source := func(v Value) string {
				return strings.ReplaceAll(v.Source.String(), filepath.Join(home, ".config", "ghapp", "config.yaml"), "FILE")
			}
			if got := fmt.Sprintf("%s %s, %s %s", a.Key.Text, source(a.Key), a.PreviousKey.Text,
				source(a.PreviousKey)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWrongKeyFlags(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb\nc":                              "--key is given several times: " + tooManyKeys,
		"a\n\t":                                "",
		"a\n\n":                                "",
		"\nb":                                  "",
		"a\n \nc":                              "--key is given several times: " + tooManyKeys,
		"pkcs11:object=a?pin-value=4711":       secretOnCommandLine + " (" + hintSecretOnCommandLine + ")",
		"a\nyubikey:slot-id=9a;pin-value=4711": secretOnCommandLine + " (" + hintSecretOnCommandLine + ")",
		"kms:x":                                "--key: " + unfitKey("kms:x"),
		pem: "--key takes a path or a key URI, " +
			"and holds a private key itself (" + hintFor(aPrivateKey) + ")",
	} {
		_, err, home := world{flags: map[string]string{"app": "1", "key": text}}.load(t)
		testkit.Equal(t, strings.Join(short(err, home), "\n"), want, "%q", text)
		if err != nil && strings.Contains(err.Error(), "4711") {
			t.Errorf("%q: the PIN is in the error", text)
		}
	}
}

func TestPINIsNeverPrinted(t *testing.T) {
	const uri = "pkcs11:token=Card;object=app?pin-value=4711-canary&pin-source=file:/pin"
	for name, w := range map[string]world{
		"file":     {file: "apps: {a: {app: 1, key: ['" + uri + "', 'yubikey:slot-id=9a;pin-value=4711-canary']}}"},
		"variable": {env: map[string]string{"GHAPP_APP": "1", "GHAPP_KEY": uri}},
	} {
		c, err, _ := w.load(t)
		testkit.OK(t, err)
		a := testkit.Must(c.App(Selector{}))(t)
		if a.Key.Reveal() != uri || !a.Key.HasSecret() {
			t.Errorf("%s: the URI is lost: %s", name, a.Key.Text)
		}
		asJSON := testkit.Must(json.Marshal([]any{a, c.List()}))(t)
		all := string(asJSON)
		for _, v := range []any{c, *c, a, &a, a.Key, c.List()} {
			all += fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v)
		}
		if strings.Contains(all, "canary") {
			t.Errorf("%s: the PIN is printed: %s", name, all)
		}
		if !strings.Contains(all, "pin-source=file:/pin") {
			t.Errorf("%s: what is no secret is not printed", name)
		}
	}
}

func TestKeyTimeout(t *testing.T) {
	for text, ok := range map[string]bool{"1s": true, "1m": true, "90s": true, "0s": false, "91s": false, "5": false,
		"soon": false, "-1s": false} {
		_, err, home := world{flags: map[string]string{"app": "1", "key-timeout": text}}.load(t)
		testkit.Equal(t, (err == nil), ok, "%s: %v", text, short(err, home))
	}
}
