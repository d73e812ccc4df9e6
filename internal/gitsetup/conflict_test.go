package gitsetup

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

func TestParseEntries(t *testing.T) {
	out := "global\x00file:/home/me/.gitconfig\x00a.b\nx\x00" +
		"global\x00file:/home/me/.gitconfig\x00a.b\ny\nz\x00" +
		"local\x00file:.git/config\x00a.b\n\x00" +
		"command\x00command line:\x00c.d\x00"
	got, err := ParseEntries([]byte(out))
	want := []Entry{
		{Global, "/home/me/.gitconfig", "a.b", "x", 0},
		{Global, "/home/me/.gitconfig", "a.b", "y\nz", 1},
		{Local, ".git/config", "a.b", "", 0},
		{Command, "", "c.d", "true", 0},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := ParseEntries(nil); got != nil || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	if _, err := ParseEntries([]byte("global\x00file:x\x00")); err == nil {
		t.Error("a list with a piece missing is taken")
	}
}

// The helper stands in the global scope.
func TestConflicts(t *testing.T) {
	const (
		header   = "git sends this header"
		led      = "addresses of https://github.com are replaced"
		pushed   = "a push to https://github.com goes"
		forgets  = "makes git forget"
		behind   = "stands behind ghapp"
		pathless = "which repository"
		login    = "git sends the login"
		anybody  = "git takes any certificate"
	)
	basic := "AUTHORIZATION: basic canary"
	for _, test := range []struct {
		key, value string
		scope      Scope
		want       string // how it begins; "" where there is no conflict
	}{
		{"http.extraheader", basic, Global, header},
		{"http.https://github.com/.extraheader", basic, System, header},
		{"http.https://github.com/acme/.extraheader", basic, Local, header},
		{"http.https://GitHub.com:443.extraheader", basic, Local, header},
		{"http.https://*.com/.extraheader", basic, Local, header},
		{"http.https://me@github.com/.extraheader", basic, Local, header},
		{"http.https://github.com/.extraheader", "X-Trace: 1", Local, ""},
		{"http.https://github.com/.extraheader", "", Local, ""},
		{"http.https://github.com.evil.example/.extraheader", basic, Local, ""},
		{"http.https://api.github.com/.extraheader", basic, Local, ""},
		{"http.http://github.com/.extraheader", basic, Local, ""},
		{"http.https://github.com:8443/.extraheader", basic, Local, ""},
		{"http.proxy", "http://canary@proxy", Global, ""},

		{"url.git@github.com:.insteadof", "https://github.com/", Global, led},
		{"url.ssh://git@github.com/.insteadof", "https://github.com/acme/", Global, led},
		{"url.https://mirror.example/.insteadof", "https://", Global, led},
		{"url.https://canary@github.com/.insteadof", "https://github.com/", Global, led},
		{"url.https://github.com/.insteadof", "git@github.com:", Global, ""},
		{"url.https://github.com/.insteadof", "https://github.com/", Global, ""},
		{"url.https://github.com/acme/new.insteadof", "https://github.com/acme/old", Global, ""},
		{"url.git@gitlab.com:.insteadof", "https://gitlab.com/", Global, ""},
		{"url.git@github.com:.pushinsteadof", "https://github.com/", Global, pushed},

		{"credential.helper", "store", System, ""},
		{"credential.helper", "store", Global, ""},
		{"credential.https://github.com.helper", "", Global, ""},
		{"credential.helper", "store", Local, behind},
		{"credential.helper", "", Local, forgets},
		{"credential.https://github.com.helper", "", Worktree, forgets},
		{"credential.https://github.com/acme.helper", "", Command, forgets},
		{"credential.github.com.helper", "cache", Local, behind},
		{"credential.https://.helper", "cache", Local, behind},
		{"credential.https://gitlab.com.helper", "", Local, ""},
		{"credential.helper", "/usr/bin/git-credential-ghapp", Local, ""},
		{"credential.usehttppath", "false", Local, pathless},
		{"credential.https://github.com.usehttppath", "no", Command, pathless},
		{"credential.https://github.com.usehttppath", "false", System, ""},
		{"credential.usehttppath", "true", Local, ""},
		{"user.name", "canary", Local, ""},

		{"remote.origin.url", "https://x-access-token:canary@github.com/acme/site", Local, login},
		{"remote.origin.pushurl", "https://u:canary@GitHub.com:443/acme/site", Local, login},
		{"submodule.a.b.url", "https://u:canary@github.com/acme/site", Local, login},
		{"remote.origin.url", "https://x-access-token@github.com/acme/site", Local, ""},
		{"remote.origin.url", "https://u:canary@github.com.evil.example/acme/site", Local, ""},
		{"remote.origin.url", "http://u:canary@github.com/acme/site", Local, ""},
		{"remote.origin.url", "git@github.com:acme/site", Local, ""},
		{"remote.origin.fetch", "https://u:canary@github.com/", Local, ""},

		{"http.sslverify", "false", System, anybody},
		{"http.https://github.com.sslverify", "0", Global, anybody},
		{"http.https://github.com/acme/.sslverify", "no", Local, anybody},
		{"http.https://gitlab.com/.sslverify", "false", Global, ""},
		{"http.sslverify", "true", Global, ""},
	} {
		t.Run(test.key+" "+test.value, func(t *testing.T) {
			entry := Entry{Scope: test.scope, File: "/f", Key: test.key, Value: test.value}
			got := Conflicts([]Entry{entry}, origin, Global, func(string) ([]byte, error) { return nil, errors.New("no file") })
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("got %+v", got)
			case test.want != "" && (len(got) != 1 || !strings.Contains(got[0].Text, test.want)):
				t.Errorf("got %+v, want %s", got, test.want)
			}
			for _, c := range got {
				if strings.Contains(c.Place()+c.Key+c.Text+c.Hint, "canary") {
					t.Errorf("a secret is told: %+v", c)
				}
			}
		})
	}
}

func TestCertificatesThatALaterEntryHasCheckedAreNoConflict(t *testing.T) {
	entries := []Entry{{Scope: Global, Key: "http.sslverify", Value: "false"},
		{Scope: Local, Key: "http.sslverify", Value: "true"}}
	if got := Conflicts(entries, origin, Global, nil); got != nil {
		t.Errorf("got %+v", got)
	}
	slices.Reverse(entries)
	if got := Conflicts(entries, origin, Global,
		func(string) ([]byte, error) { return nil, errors.New("no file") }); len(got) != 1 {
		t.Errorf("the other way round: %+v", got)
	}
}

func TestVariables(t *testing.T) {
	for _, test := range []struct {
		name, value string
		want        bool
	}{
		{"GIT_TRACE_REDACT", "0", true}, {"GIT_TRACE_REDACT", "", true}, {"GIT_TRACE_REDACT", "false", true},
		{"GIT_TRACE_REDACT", "1", false},
		{"LFS_DEBUG_HTTP", "1", true}, {"LFS_DEBUG_HTTP", "True", true}, {"LFS_DEBUG_HTTP", "0", false},
		{"LFS_DEBUG_HTTP", "/tmp/trace", false},
		{"GIT_SSL_NO_VERIFY", "1", true}, {"GIT_SSL_NO_VERIFY", "", true},
		{"GIT_TRACE", "1", false},
	} {
		lookup := func(name string) (string, bool) {
			if name == test.name {
				return test.value, true
			}
			return "", false
		}
		got := Variables(lookup)
		if test.want != (len(got) == 1 && got[0].Key == test.name && got[0].Hint == "unset "+test.name) ||
			!test.want && got != nil {
			t.Errorf("%s=%s: %+v", test.name, test.value, got)
		}
	}
}

func TestAnEntryThatALaterOneEmptiesIsNone(t *testing.T) {
	key := "http.https://github.com/.extraheader"
	entries := []Entry{{Scope: Global, Key: key, Value: "Authorization: x"}, {Scope: Local, Key: key}}
	if got := Conflicts(entries, origin, Global, nil); got != nil {
		t.Errorf("got %+v", got)
	}
	helper := "credential.https://github.com.helper"
	own := []Entry{{Scope: Local, Key: helper}, {Scope: Local, Key: helper, Value: "ghapp --app 1"}}
	if got := Conflicts(own, origin, Global, nil); got != nil {
		t.Errorf("a clone of ghapp's: %+v", got)
	}
}

func TestCuresCanBeRun(t *testing.T) {
	read := func(string) ([]byte, error) { return []byte("[http]\nextraHeader=Authorization: x\n"), nil }
	for _, test := range []struct {
		entry Entry
		want  Conflict
	}{
		{Entry{Scope: Local, File: "/it's/config", Key: "http.extraheader", Value: "Authorization: x"},
			Conflict{File: "/it's/config", Line: 2, Key: "http.extraheader",
				Hint: `git config --file '/it'\''s/config' --unset-all http.extraheader`}},
		{Entry{Scope: Command, Key: "http.extraheader", Value: "Authorization: x"},
			Conflict{Key: "http.extraheader", Hint: "unset GIT_CONFIG_COUNT and GIT_CONFIG_PARAMETERS, or what sets them"}},
		{Entry{Scope: Local, File: "/f", Key: "url.https://u:canary@x/.insteadof", Value: "https://github.com/"},
			Conflict{File: "/f", Key: "url.https://…@x/.insteadof", Hint: "delete the line"}},
		{Entry{Scope: Local, File: "/f", Key: "remote.origin.url", Value: "https://u:canary@github.com/acme/site.git"},
			Conflict{File: "/f", Key: "remote.origin.url",
				Hint: `git config --file /f remote.origin.url https://github.com/acme/site.git`}},
	} {
		got := Conflicts([]Entry{test.entry}, origin, Global, read)
		if len(got) != 1 {
			t.Errorf("got %+v", got)
			continue
		}
		got[0].Text = ""
		testkit.Diff(t, got[0], test.want)
	}
	for want, c := range map[string]Conflict{"/f:3": {File: "/f", Line: 3}, "/f": {File: "/f"},
		"the environment, or git -c": {}} {
		testkit.Equal(t, c.Place(), want, "place")
	}
}

func TestLineOf(t *testing.T) {
	const text = "\ufeff[user]\n\tname = a\n# [http]\n[HTTP \"https://x/\"] extraHeader = one\n" +
		"\textraheader = \"two\" \\\nextraHeader = three\n" +
		"; extraHeader\n\n  ExtraHeader\n[http \"https://X/\"]\nextraHeader = four\n[http]\n\textraHeader=five\n[alias]\n" +
		"\tx = a \\\\\n\ty = \"[http]\"\n\ty = c\n[sub \"a\\\"b\\\\\"]\nz=1\n"
	for _, test := range []struct {
		key  string
		nth  int
		want int
	}{
		{"user.name", 0, 2},
		{"http.https://x/.extraheader", 0, 4},
		{"http.https://x/.extraheader", 1, 5},
		{"http.https://x/.extraheader", 2, 9},
		{"http.https://x/.extraheader", 3, 0},
		{"http.https://X/.extraheader", 0, 11},
		{"http.extraheader", 0, 13},
		{"alias.y", 0, 16},
		{"alias.y", 1, 17},
		{`sub.a"b\.z`, 0, 19},
		{"none.such", 0, 0},
	} {
		if got := LineOf([]byte(text), Entry{Key: test.key, Nth: test.nth}); got != test.want {
			t.Errorf("%s, after %d others: line %d, want %d", test.key, test.nth, got, test.want)
		}
	}
}

func TestNetrc(t *testing.T) {
	for _, test := range []struct {
		text string
		want int
	}{
		{"", 0},
		{"machine github.com login a password b\n", 1},
		{"machine example.com login a\n  password b\nmachine GitHub.com\nlogin a\n", 3},
		{"machine\n\"github.com\" login a", 2},
		{"machine example.com login a\ndefault login a password b\n", 2},
		{"machine example.com login github.com password github.com\n", 0},
		{"machine github.com.evil.example login a\n", 0},
		{"# machine github.com\n", 0},
		{"machine default login a\n", 0},
	} {
		testkit.Equal(t, Netrc([]byte(test.text), "github.com"), test.want, "%q: line", test.text)
	}
}

func FuzzLineOf(f *testing.F) {
	f.Add([]byte("[http \"https://x/\"] extraHeader = one\n\textraheader = \"two\" \\\n"),
		"http.https://x/.extraheader", 1)
	f.Add([]byte("[a]b\n"), "a.b", 0)
	f.Fuzz(func(t *testing.T, text []byte, key string, nth int) {
		if line := LineOf(text, Entry{Key: key, Nth: nth}); line < 0 || line > strings.Count(string(text), "\n")+1 {
			t.Errorf("line %d", line)
		}
		Netrc(text, key)
	})
}
