package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

const handwritten = `# What runs on this machine.

default:   deploy     # the one for everything

apps:
    # For the web site.
    # Ask Ada before you change it.
    deploy:
        app:  Iv23liABCDEFGHIJKLMN   # the client ID
        key: "deploy.pem"

        owners: [ acme, 'octo' ]
    # For the mirrors.
    mirror:
        app: 1234
        key: mirror.pem
        repositories:
            acme/site: {contents: write}   # it pushes

# The end.
`

// draftOf makes a change and returns the text.
func draftOf(t *testing.T, text string, change func(*Draft) error) string {
	t.Helper()
	d := &Draft{path: "c.yaml", home: "/home/ada", text: []byte(text)}
	testkit.OK(t, change(d))
	if _, problems := parse(d.path, d.text, d.home); len(problems) > 0 {
		t.Fatalf("%v in\n%s", problems, d.text)
	}
	return string(d.Bytes())
}

func set(value any, path ...string) func(*Draft) error {
	return func(d *Draft) error { return d.Set(value, path...) }
}

func unset(path ...string) func(*Draft) error {
	return func(d *Draft) error {
		found, err := d.Unset(path...)
		if err == nil && !found {
			err = errors.New("nothing to take out")
		}
		return err
	}
}

func TestAChangeLeavesAllElseAsItIsWritten(t *testing.T) {
	replaced := func(old, new string) string {
		t.Helper()
		if strings.Count(handwritten, old) != 1 {
			t.Fatalf("%q stands there %d times", old, strings.Count(handwritten, old))
		}
		return strings.Replace(handwritten, old, new, 1)
	}
	for name, test := range map[string]struct {
		change func(*Draft) error
		want   string
	}{
		"a value": {set("web.pem", "apps", "deploy", "key"),
			replaced(`        key: "deploy.pem"`, `        key: web.pem`)},
		"one with comments": {set("mirror", "default"),
			replaced("default:   deploy     # the one for everything", "default: mirror # the one for everything")},
		"a new key": {set("ghe.example.com", "apps", "deploy", "host"),
			replaced("'octo' ]\n", "'octo' ]\n        host: ghe.example.com\n")},
		"a list": {set([]string{"acme"}, "apps", "deploy", "owners"), replaced("[ acme, 'octo' ]", "[acme]")},
		"an ID":  {set("42", "apps", "mirror", "app"), replaced("app: 1234", "app: 42")},
		"a map": {set(map[string]string{"contents": "read"}, "apps", "mirror", "repositories", "acme/site"),
			replaced("acme/site: {contents: write}   # it pushes", "acme/site: {contents: read} # it pushes")},
		"a value on the way": {set("read", "apps", "mirror", "repositories", "octo/*", "contents"),
			replaced("# it pushes\n", "# it pushes\n            octo/*:\n                contents: read\n")},
		"nothing new": {set("1234", "apps", "mirror", "app"), handwritten},
		"a key taken out": {unset("apps", "deploy", "owners"),
			replaced("        key: \"deploy.pem\"\n\n        owners: [ acme, 'octo' ]\n", "        key: \"deploy.pem\"\n\n")},
		"with its comment": {unset("default"), replaced("# What runs on this machine.\n\n"+
			"default:   deploy     # the one for everything\n\n", "# What runs on this machine.\n\n")},
		"with the mapping it empties": {unset("apps", "mirror", "repositories", "acme/site"),
			replaced("        repositories:\n            acme/site: {contents: write}   # it pushes\n", "")},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Diff(t, draftOf(t, handwritten, test.change), test.want)
		})
	}
}

func newApp(d *Draft) error {
	return errors.Join(d.Set("Iv23liNEWNEWNEWNEWNE", "apps", "new", "app"), d.Set("new.pem", "apps", "new", "key"),
		d.Set([]string{"umbrella"}, "apps", "new", "owners"))
}

// handFiles are files as people write them.
var handFiles = map[string]string{
	"nothing":          "",
	"comments alone":   "# Nothing yet.\n\n# apps:\n",
	"no end of line":   "apps:\n  a:\n    app: 1",
	"two blanks":       "apps:\n  a:\n    app: 1 # one\n    owners: [acme]\ndefault: a\n",
	"four blanks":      handwritten,
	"one blank":        "apps:\n a:\n  app: 1\n",
	"a marker":         "---\n# top\napps:\n  a: {app: 1, key: a.pem}\n",
	"lists":            "apps:\n  a:\n    app: 1\n    owners:\n      - acme # one\n      - octo\n",
	"compact lists":    "apps:\n  a:\n    app: 1\n    owners:\n    - acme # one\n    - octo\n",
	"CRLF":             "# top\r\napps:\r\n  a:\r\n    app: 1\r\n\r\n# end\r\n",
	"nothing in apps":  "# top\napps:\n# end\n",
	"empty apps":       "apps: {} # none yet\n",
	"flow":             "# top\napps: {a: {app: 1, key: a.pem}}\n",
	"flow, broken":     "apps:\n  a: {app: 1,\n      key: a.pem}  # two lines\n",
	"blanks of all":    "apps:\n    a:\n      app: 1\n      key: a.pem\n    b:\n            app: 2 # deep\n",
	"apps, then more":  "apps:\n  a:\n    app: 1\n\n\n# The one.\ndefault: a\n",
	"quotes":           "\"apps\":\n  'a':\n    app: \"1\"\n    key: 'a b.pem'\n",
	"long":             "apps:\n  a:\n    app: 1\n    key: " + strings.Repeat("long name ", 30) + ".pem\n",
	"comments between": "# 1\napps: # 2\n  # 3\n  a: # 4\n    # 5\n    app: 1 # 6\n    # 7\n  # 8\n# 9\n",
}

func comments(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if _, comment, ok := strings.Cut(line, "#"); ok {
			list = append(list, strings.TrimSpace(comment))
		}
	}
	return list
}

// Every file keeps its comments in their order, and its other Apps, when one is added,
// and is as before, word for word, when that is taken out again, unless its form is one
// that the encoder does not write.
func TestAnAppIsAddedToEveryFile(t *testing.T) {
	reformed := map[string]bool{"flow, broken": true, "blanks of all": true, "nothing in apps": true, "one blank": true,
		"comments between": true, "empty apps": true, "nothing": true, "comments alone": true, "no end of line": true}
	for name, text := range handFiles {
		t.Run(name, func(t *testing.T) {
			before, problems := parse("c.yaml", []byte(text), "")
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			added := draftOf(t, text, newApp)
			after, _ := parse("c.yaml", []byte(added), "")
			app, ok := after.app("new")
			if !ok || app.values["app"].Text != "Iv23liNEWNEWNEWNEWNE" ||
				app.values["key"].Text != "new.pem" || !app.isFor("umbrella") {
				t.Errorf("the new App is %+v in\n%s", app, added)
			}
			if diff := cmp.Diff(names(before.apps), names(after.apps[:len(after.apps)-1])); diff != "" ||
				before.def.Text != after.def.Text {
				t.Errorf("the Apps that were there (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(comments(text), comments(added)); diff != "" {
				t.Errorf("the comments (-want +got):\n%s\n%s", diff, added)
			}
			if !reformed[name] {
				if removed := draftOf(t, added, unset("apps", "new")); removed != text {
					t.Errorf("after taking it out again (-want +got):\n%s", cmp.Diff(text, removed))
				}
				if returns := strings.Count(added, "\r\n"); name == "CRLF" && returns != strings.Count(added, "\n") ||
					name != "CRLF" && returns != 0 {
					t.Errorf("ends of lines: %q", added)
				}
			}
		})
	}
}

func TestDraftRefusesWhatItCannotChange(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		change func(*Draft) error
		want   string
	}{
		"a value where a mapping is needed": {"apps:\n  a:\n    app: 1\n", set("x", "apps", "a", "app", "b"),
			"set apps.a.app.b: apps.a.app is not a mapping"},
		"no YAML":             {"apps: [\n", set("x", "default"), "the file is not YAML"},
		"a list":              {"- a\n", set("x", "default"), "c.yaml:1: the file: want keys and values"},
		"two documents":       {"apps:\n---\napps:\n", set("x", "default"), "a second YAML document"},
		"no key":              {"", set("x"), "no key"},
		"nothing to take out": {"apps:\n  a:\n    app: 1\n", unset("apps", "b"), "nothing to take out"},
		"no key to take out":  {"", unset(), "no key"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Draft{path: "c.yaml", text: []byte(test.text)}
			err := test.change(d)
			testkit.ErrorContains(t, err, test.want)
			testkit.Equal(t, string(d.Bytes()), test.text, "the text has become %q", d.Bytes())
		})
	}
}

func TestHas(t *testing.T) {
	d := &Draft{text: []byte(handwritten)}
	for path, want := range map[string]bool{"apps": true, "apps deploy key": true, "apps nobody": false,
		"apps deploy key x": false, "default": true} {
		testkit.Equal(t, d.Has(strings.Fields(path)...), want, "Has(%s)", path)
	}
	if (&Draft{}).Has("apps") || (&Draft{text: []byte("a: [")}).Has("a") {
		t.Error("an empty file, or one that is no YAML, has a key")
	}
}

// Whatever the file is, a change of it is read as it was meant, or refused.
func FuzzDraft(f *testing.F) {
	for _, text := range handFiles {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		before, problems := parse("c.yaml", []byte(text), "")
		if len(problems) > 0 {
			return
		}
		d := &Draft{path: "c.yaml", text: []byte(text)}
		if err := newApp(d); err != nil {
			return
		}
		after, problems := parse("c.yaml", d.Bytes(), "")
		for _, p := range problems {
			if !strings.Contains(p.Text, "claimed") && !strings.Contains(p.Text, "twice") {
				t.Fatalf("%q became\n%s\n%v", text, d.Bytes(), p)
			}
		}
		if len(problems) > 0 {
			return
		}
		if _, ok := after.app("new"); !ok {
			t.Fatalf("%q became\n%s", text, d.Bytes())
		}
		for _, app := range before.apps {
			now, ok := after.app(app.name)
			if app.name != "new" && (!ok || len(now.values) != len(app.values)) {
				t.Fatalf("%q became\n%s", text, d.Bytes())
			}
		}
	})
}
