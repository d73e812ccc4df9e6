package refs_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const (
	oid1 = "1111111111111111111111111111111111111111"
	oid2 = "2222222222222222222222222222222222222222"
)

// names are those of branches that may be hostile, and whether they are taken.
var names = map[string]bool{
	"main": true, "deploy/eu-1": true, "v1.0": true, "@": true, "a@b": true, "größe": true, "x.lock.y": true, "HEAD": true,
	"-x": false, "--upload-pack=x": false, "": true /* the default branch */, "a..b": false, "a b": false,
	"a~1": false, "a^": false, "a:b": false,
	"a?": false, "a*": false, "a[": false, `a\b`: false, "a@{1}": false, ".a": false, "a/.b": false,
	"a.lock": false, "a.lock/b": false,
	"a//b": false, "/a": false, "a/": false, "a.": false, "a\nb": false, "a\x00b": false, "a\x7f": false,
	"\x1b[31m": false, "a\u202eb": false, "\xff": false,
	strings.Repeat("x", 1001): false,
}

func TestNamesGitWouldNotHaveAreRefused(t *testing.T) {
	for name, ok := range names {
		for _, w := range []refs.Revision{{Branch: name}, {Tag: name}} {
			err := w.Validate()
			if (err == nil) != ok || err != nil && ghapp.KindOf(err) != ghapp.ErrInvalid {
				t.Errorf("%q: %v", name, err)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\n\x00\u202e") {
				t.Errorf("%q is told as it is: %q", name, err)
			}
		}
		// Whatever is taken git has to take too.
		if ok && name != "" {
			if out, err := exec.CommandContext(t.Context(), "git", "check-ref-format",
				"refs/heads/"+name).CombinedOutput(); err != nil {
				t.Errorf("git refuses %q: %v %s", name, err, out)
			}
		}
	}
}

func TestWantsThatCannotBeMeantAreRefused(t *testing.T) {
	for text, w := range map[string]refs.Revision{
		"decide on one":            {Branch: "a", Tag: "b"},
		"not the ID of a commit":   {Commit: "abc123"},
		"40 hex digits":            {Commit: strings.Repeat("0", 40)}, // git's word for no object
		"not a constraint":         {Version: "newest"},
		"longer than 200 bytes":    {Version: strings.Repeat(">=1 ", 100)},
		"more than one of branch,": {Version: "*", Commit: oid1},
	} {
		if err := w.Validate(); err == nil || !strings.Contains(err.Error(), text) || ghapp.KindOf(err) != ghapp.ErrInvalid {
			t.Errorf("%+v: %v", w, err)
		}
	}
	for _, w := range []refs.Revision{{}, {Commit: oid1}, {Commit: strings.Repeat("aB", 32)}, {Version: "*"},
		{Version: ">=2, <3 || ^1.4"}} {
		testkit.OK(t, w.Validate(), "%+v", w)
	}
}

func TestMatchesThePushesThatMayChangeTheAnswer(t *testing.T) {
	for _, test := range []struct {
		want refs.Revision
		ref  string
		ok   bool
	}{
		{refs.Revision{Branch: "deploy"}, "refs/heads/deploy", true},
		{refs.Revision{Branch: "deploy"}, "refs/heads/deploy-2", false},
		{refs.Revision{Branch: "deploy"}, "refs/heads/Deploy", false},
		{refs.Revision{Branch: "deploy"}, "refs/tags/deploy", false},
		{refs.Revision{Tag: "v1"}, "refs/tags/v1", true},
		{refs.Revision{Tag: "v1"}, "refs/heads/v1", false},
		{refs.Revision{Commit: oid1}, "refs/heads/main", false},
		{refs.Revision{Version: "^1.4"}, "refs/tags/v1.5.0", true},
		{refs.Revision{Version: "^1.4"}, "refs/tags/v2.0.0", false},
		{refs.Revision{Version: "^1.4"}, "refs/tags/v1.5", false},
		{refs.Revision{Version: "^1.4"}, "refs/tags/v1.5.0-rc.1", false},
		{refs.Revision{Version: "^1.4"}, "refs/heads/v1.5.0", false},
		{refs.Revision{Version: "nonsense"}, "refs/tags/v1.5.0", false},
		{refs.Revision{}, "refs/heads/any", true},
		{refs.Revision{}, "refs/tags/any", false},
	} {
		testkit.Equal(t, test.want.Matches(test.ref), test.ok, "%s, %s", test.want, test.ref)
	}
}

func TestErrorsSayWhatIsMissing(t *testing.T) {
	for text, e := range map[string]*refs.RefError{
		"acme/site has no branch x":                     {Revision: refs.Revision{Branch: "x"}},
		"acme/site has no tag x":                        {Revision: refs.Revision{Tag: "x"}},
		"acme/site has no tag that fits version ^2":     {Revision: refs.Revision{Version: "^2"}},
		"the default branch of acme/site has no commit": {},
		"acme/site is empty: it has no commit yet, and so no branch x": {
			Revision: refs.Revision{Branch: "x"}, Empty: true},
		"acme/site is empty: it has no commit yet, and so no default branch": {Empty: true},
	} {
		e.Repository = site
		testkit.Equal(t, e.Error(), text, "%q", e)
	}
}
