package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Every row of the table has a field that its kind fits, in exactly one of the two structs.
func TestEveryOptionOfSyncHasAField(t *testing.T) {
	for _, o := range SyncOptions() {
		field, other := new(Sync).Field(o.Key), new(SyncProcess).Field(o.Key)
		if o.Process {
			field, other = other, field
		}
		fits := false
		switch field.(type) {
		case *string:
			fits = o.Kind == TextOption || o.Kind == PathOption
		case *int:
			fits = o.Kind == NumberOption && o.Least > 0 && o.Most > o.Least
		case *time.Duration:
			fits = o.Kind == DurationOption && o.Least > 0 && o.Most > o.Least
		case *bool:
			fits = o.Kind == SwitchOption
		case *[]string:
			fits = o.Kind == ListOption || o.Kind == PathsOption
		}
		if !fits || other != nil || o.Help == "" {
			t.Errorf("%s: field %T, other %T, kind %d", o.Key, field, other, o.Kind)
		}
	}
}

// What an option refuses, and in which words; that the others of its kind do, too, and every
// front of each, the next test says.
func TestOptionsOfSyncHaveBounds(t *testing.T) {
	const period, number = "want a time from 100ms on, such as 30s or 5m", "want a number from 1 on"
	for _, test := range []struct{ key, value, want string }{
		{"period", "99ms", period}, {"period", "0", period}, {"period", "-1s", period}, {"period", "5", period},
		{"period", "100ms", ""}, {"period", "8784h", ""}, {"period", "8785h", "want a time up to 8784h"},
		{"check_timeout", "1ns", period}, {"exec_timeout", "1ns", period},
		{"keep", "0", number}, {"keep", "-1", number}, {"keep", "1.5", number}, {"keep", "1", ""},
		{"keep", "1000000", ""}, {"keep", "1000001", "want a number up to 1000000"},
		{"depth", "0", number}, {"exec_tries", "0", number}, {"jobs", "0", number},
		{"mode", "copy", "want link or dir"}, {"mode", "", "want link or dir"}, {"mode", "dir", ""},
		{"share", "copy", "want reflink or link or none"}, {"log_format", "xml", "want text or json"},
		{"lfs", "maybe", "want true or false"}, {"lfs", "TRUE", ""},
	} {
		options := SyncOptions()
		o := options[slices.IndexFunc(options, func(o Option) bool { return o.Key == test.key })]
		field := new(Sync).Field(o.Key)
		if o.Process {
			field = new(SyncProcess).Field(o.Key)
		}
		said := ""
		if err := o.Assign(field, test.value); err != nil {
			said = err.Error()
		}
		testkit.Equal(t, said, test.want, "%s=%s", test.key, test.value)
	}
}

// A variable that is set to nothing is not set, as everywhere.
func TestEmptyVariableOfSyncSaysNothing(t *testing.T) {
	for _, o := range SyncOptions() {
		field := new(Sync).Field(o.Key)
		if o.Process {
			field = new(SyncProcess).Field(o.Key)
		}
		if set, err := o.FromVariable(func(string) (string, bool) { return " ", true }, field); set || err != nil {
			t.Errorf("%s: set %t, error %v", o.Variable(), set, err)
		}
	}
}

// "" in one directory takes away what the defaults say; the defaults have nothing to take away.
func TestDefaultsOfSyncSayNothingByLeavingAKeyOut(t *testing.T) {
	testkit.Equal(t, refusedByFile(t, "sync:\n  site: {repository: acme/site, to: /srv/site, exec: ''}\n"), "")
	_, problems := parse("/config.yaml", []byte("sync_defaults: {exec: ''}\n"), "")
	if len(problems) != 1 || problems[0].Text != "sync_defaults.exec has no value" {
		t.Errorf("%v", problems)
	}
}

// valuesToTry are texts of which a kind of option takes some and refuses the others.
func valuesToTry(o Option) []string {
	switch o.Kind {
	case NumberOption:
		return []string{"0", "-1", "1", "7", "1000000", "1000001", "9999999999999999999", "1.5", "x"}
	case DurationOption:
		return []string{
			"99ms", "100ms", "500ms", "1s", "8784h", "8785h", "-1s", "0", "5", "2562047h47m16.854775808s",
		}
	case SwitchOption:
		return []string{"true", "false", "maybe", "1x"}
	case TextOption:
		if o.Values != nil {
			return append([]string{"other"}, o.Values...)
		}
		return []string{"^1.4"}
	default:
		return []string{"/a"}
	}
}

// What one of flag, variable, config file and sync_defaults takes, all of them take, and what
// one refuses, all of them refuse in the same words.
func TestEveryFrontOfSyncTakesAndRefusesTheSameValues(t *testing.T) {
	for _, o := range SyncOptions() {
		for _, value := range valuesToTry(o) {
			said := map[string]string{}
			field := func() any {
				if o.Process {
					return new(SyncProcess).Field(o.Key)
				}
				return new(Sync).Field(o.Key)
			}
			if err := o.Assign(field(), value); err != nil {
				said["flag"] = err.Error()
			} else {
				said["flag"] = ""
			}
			said["variable"] = ""
			lookup := func(name string) (string, bool) { return value, name == o.Variable() }
			if _, err := o.FromVariable(lookup, field()); err != nil {
				said["variable"] = strings.TrimPrefix(err.Error(), o.Variable()+": ")
			}
			written := value
			if o.Kind == ListOption {
				written = "[" + value + "]"
			}
			if !o.Process && !o.Own {
				said["file"] = refusedByFile(t, "sync:\n  site: {repository: acme/site, to: /srv/site, "+o.Key+": "+written+"}\n")
				said["sync_defaults"] = refusedByFile(t, "sync_defaults: {"+o.Key+": "+written+"}\n")
			}
			for front, text := range said {
				testkit.Equal(t, text, said["flag"], "%s=%s: the %s", o.Key, value, front)
			}
		}
	}
}

// refusedByFile is what a config file is refused for, without the name of the key; "" where it
// is taken.
func refusedByFile(t *testing.T, text string) string {
	t.Helper()
	_, problems := parse("/config.yaml", []byte(text), "")
	if len(problems) == 0 {
		return ""
	}
	_, why, found := strings.Cut(problems[0].Text, ": ")
	if !found || len(problems) > 1 {
		t.Errorf("%s is refused for %v", text, problems)
	}
	return why
}

func TestDirectoriesInheritTheDefaultsThatTheyDoNotReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := `sync:
  one: {repository: acme/one, to: /srv/one}
  two: {repository: acme/two, to: /srv/two, tag: v1, lfs: false, sparse: [other], keep: 9}
sync_defaults:
  branch: deployment
  keep: 5
  lfs: true
  period: 30s
  sparse: [docs]
  allowed_signers: signers
`
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
	c := testkit.Must(Load(Options{Flags: map[string]string{"config": path}}))(t)
	one, two := c.Syncs()[0], c.Syncs()[1]
	if one.Branch != "deployment" || one.Keep != 5 || !one.LFS || one.Period != 30*time.Second ||
		strings.Join(one.Sparse, " ") != "docs" ||
		one.AllowedSigners != filepath.Join(filepath.Dir(path), "signers") {
		t.Errorf("%+v", one)
	}
	if two.Branch != "" || two.Tag != "v1" || two.LFS || two.Keep != 9 || strings.Join(two.Sparse, " ") != "other" ||
		two.Period != 30*time.Second {
		t.Errorf("%+v", two)
	}
	found := false
	for _, e := range c.List() {
		found = found || e.Key == "sync.one.keep" && e.Value == "5" && e.Source.Line == 6
	}
	if !found {
		t.Errorf("%+v", c.List())
	}
	for _, wrong := range []string{"{to: /srv/x}", "{repository: acme/x}",
		"{branch: a, tag: b}", "[keep]", "{watch: true}"} {
		if _, problems := parse("/config.yaml", []byte("sync_defaults: "+wrong+"\n"), ""); len(problems) == 0 {
			t.Errorf("sync_defaults: %s was taken", wrong)
		}
	}
}
