package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func mirrorField(o Option) any {
	if o.Process {
		return new(MirrorProcess).Field(o.Key)
	}
	return new(Mirror).Field(o.Key)
}

// Every row of the table has a field that its kind fits, in exactly one of the two structs.
func TestEveryOptionOfMirrorHasAField(t *testing.T) {
	for _, o := range MirrorOptions() {
		field, other := new(Mirror).Field(o.Key), new(MirrorProcess).Field(o.Key)
		if o.Process {
			field, other = other, field
		}
		fits := false
		switch field.(type) {
		case *string:
			fits = o.Kind == TextOption || o.Kind == PathOption
		case *int:
			fits = o.Kind == NumberOption && o.Most > o.Least
		case *int64:
			fits = o.Kind == SizeOption
		case *time.Duration:
			fits = o.Kind == DurationOption && o.Least > 0 && o.Most > o.Least
		case *bool:
			fits = o.Kind == SwitchOption
		case *[]string:
			fits = o.Kind == ListOption || o.Kind == PathsOption
		}
		if !fits || other != nil || o.Help == "" || !strings.HasPrefix(o.Variable(), "GHAPP_") {
			t.Errorf("%s: field %T, other %T, kind %d, variable %s", o.Key, field, other, o.Kind, o.Variable())
		}
	}
}

// What one of flag, variable and config file takes, all of them take, and what one refuses, all
// of them refuse in the same words.
func TestEveryFrontOfMirrorTakesAndRefusesTheSameValues(t *testing.T) {
	for _, test := range []struct{ key, value, want string }{
		{"keep_history", "90d", ""}, {"keep_history", "forever", ""}, {"keep_history", "1d12h", ""},
		{"keep_history", "9x", "want a time from 100ms on, such as 90d, or forever"},
		{"keep_history", "1d-1h", "want a time from 100ms on, such as 90d, or forever"},
		{"prune_after", "30d", ""}, {"prune_after", "forever", "want a time from 100ms on, such as 30s or 5m"},
		{"full_every", "1s", "want a time from 1m0s on, such as 12h or 7d"}, {"full_every", "7d", ""},
		{"leave", "0", ""}, {"leave", "-1", "want a number from 0 on"}, {"jobs", "0", "want a number from 1 on"},
		{"min_free", "0", ""}, {"min_free", "20G", ""}, {"min_free", "1.5G", "want a size, such as 500M or 2G"},
		{"min_free", "-1", "want a size, such as 500M or 2G"},
		{"min_free", "99999999999T", "want a size, such as 500M or 2G"},
		{"include", "acme/*", ""}, {"include", "acme/[", "want a pattern for owner/name or name, such as 'acme/web-*'"},
		{"exclude", "a/b/c", "want a pattern for owner/name or name, such as 'acme/web-*'"},
		{"visibility", "private", ""}, {"visibility", "secret", "want public or private or internal"},
		{"owners", "acme", ""}, {"owners", "acme/site", "want owners, found a repository or a URL"},
		{"prune", "maybe", "want true or false"},
	} {
		table := MirrorOptions()
		o := table[slices.IndexFunc(table, func(o Option) bool { return o.Key == test.key })]
		said := map[string]string{"flag": "", "variable": ""}
		if err := o.Assign(mirrorField(o), test.value); err != nil {
			said["flag"] = err.Error()
		}
		lookup := func(name string) (string, bool) { return test.value, name == o.Variable() }
		if _, err := o.FromVariable(lookup, mirrorField(o)); err != nil {
			said["variable"] = strings.TrimPrefix(err.Error(), o.Variable()+": ")
		}
		written := "'" + test.value + "'"
		switch o.Kind {
		case ListOption:
			written = "[" + written + "]"
		case NumberOption, SwitchOption:
			written = test.value
		}
		_, problems := parse("/config.yaml", []byte("mirror:\n  all: {to: /srv/m, "+o.Key+": "+written+"}\n"), "")
		said["file"] = ""
		for _, p := range problems {
			said["file"] += strings.TrimPrefix(p.Text, "mirror.all."+o.Key+": ")
		}
		for front, text := range said {
			testkit.Equal(t, text, test.want, "%s=%s: the %s", o.Key, test.value, front)
		}
	}
}

func TestMirrorsOfTheFile(t *testing.T) {
	f, problems := parse("/etc/ghapp/config.yaml", []byte(`mirror:
  all: {to: ../mirrors, owners: [acme, octo], keep_history: forever, min_free: 2G, leave: 0, prune: true}
  web: {to: /srv/web, include: ['acme/web-*']}
`), "")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	all, web := f.mirrors[0], f.mirrors[1]
	if all.To != "/etc/mirrors" || all.KeepHistory != Forever || all.MinFree != 2<<30 || all.Leave != 0 || !all.Prune ||
		len(all.Owners) != 2 {
		t.Errorf("%+v", all)
	}
	if web.KeepHistory != 90*24*time.Hour || web.Leave != 1000 || web.Jobs != 4 || web.FullEvery != 24*time.Hour {
		t.Errorf("%+v", web)
	}
	for text, want := range map[string]string{
		"mirror:\n  all: {}\n":                             "mirror.all has no to",
		"mirror:\n  a: {to: /srv/m}\n  b: {to: /srv/m/}\n": "mirror.b and mirror.a (line 2) keep one directory",
		"mirror:\n  a: {to: /srv/m, watch: true}\n":        `unknown key "watch" in mirror.a`,
		"mirror:\n  a/b: {to: /srv/m}\n":                   "this cannot be the name of a mirror",
	} {
		_, problems := parse("/config.yaml", []byte(text), "")
		if len(problems) != 1 || problems[0].Text != want {
			t.Errorf("%q: %v", text, problems)
		}
	}
}
