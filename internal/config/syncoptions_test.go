package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// What one of flags, variables and file takes or refuses, all of them do.
func TestFlagsVariablesAndFileOfSyncTakeTheSameValues(t *testing.T) {
	values := map[OptionKind][]string{
		TextOption:     {"link", "dir", "other"},
		NumberOption:   {"0", "-1", "1", "7", "1000000", "1000001", "9999999999999999999", "1.5", "x"},
		DurationOption: {"99ms", "100ms", "500ms", "1s", "8784h", "8785h", "-1s", "0", "5", "2562047h47m16.854775808s"},
		SwitchOption:   {"true", "false", "maybe"},
	}
	for _, o := range SyncOptions() {
		if o.Process || o.Own || o.Kind == TextOption && o.Values == nil {
			continue
		}
		for _, value := range values[o.Kind] {
			var s Sync
			byFlag := o.Assign(s.Field(o.Key), value) == nil
			_, err := o.FromVariable(func(name string) (string, bool) { return value, name == o.Variable() }, s.Field(o.Key))
			byVariable := err == nil
			text := "sync:\n  site: {repository: acme/site, to: /srv/site, " + o.Key + ": " + value + "}\n"
			_, problems := parse("/config.yaml", []byte(text), "")
			_, common := parse("/config.yaml", []byte("sync_defaults: {"+o.Key+": "+value+"}\n"), "")
			if byFile := len(problems) == 0; byFlag != byVariable || byFlag != byFile || byFlag != (len(common) == 0) {
				t.Errorf("%s=%s: flag %t, variable %t (%v), file %t (%v), defaults %v", o.Key, value, byFlag, byVariable, err, byFile, problems, common)
			}
		}
	}
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
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{Flags: map[string]string{"config": path}})
	if err != nil {
		t.Fatal(err)
	}
	one, two := c.Syncs()[0], c.Syncs()[1]
	if one.Branch != "deployment" || one.Keep != 5 || !one.LFS || one.Period != 30*time.Second || strings.Join(one.Sparse, " ") != "docs" ||
		one.AllowedSigners != filepath.Join(filepath.Dir(path), "signers") {
		t.Errorf("%+v", one)
	}
	if two.Branch != "" || two.Tag != "v1" || two.LFS || two.Keep != 9 || strings.Join(two.Sparse, " ") != "other" || two.Period != 30*time.Second {
		t.Errorf("%+v", two)
	}
	found := false
	for _, e := range c.List() {
		found = found || e.Key == "sync.one.keep" && e.Value == "5" && e.Source.Line == 6
	}
	if !found {
		t.Errorf("%+v", c.List())
	}
	for _, wrong := range []string{"{to: /srv/x}", "{repository: acme/x}", "{branch: a, tag: b}", "[keep]", "{watch: true}"} {
		if _, problems := parse("/config.yaml", []byte("sync_defaults: "+wrong+"\n"), ""); len(problems) == 0 {
			t.Errorf("sync_defaults: %s was taken", wrong)
		}
	}
}
