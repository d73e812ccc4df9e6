package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// masking is a filter that replaces the token, and counts its ends.
type masking struct {
	w      io.Writer
	closed *int
}

func (m masking) Write(b []byte) (int, error) {
	_, err := m.w.Write(bytes.ReplaceAll(b, []byte(token), []byte("[redacted]")))
	return len(b), err
}

func (m masking) Close() error { *m.closed++; return nil }

func TestOutputIsFiltered(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, func(o *origin) {
		o.answer = func(w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "you sent "+token+"\x1b[2J", http.StatusForbidden)
			return true
		}
	})
	m := newMachine(t)
	closed := 0
	r := m.runner()
	r.Filter = func(w io.Writer) io.Writer { return masking{w, &closed} }
	e := asError(t, r.Clone(t.Context(), m.options(o, "acme/site")))
	want := `you sent [redacted]\x1b[2J`
	if e.Remote != want || !strings.Contains(e.Stderr, want) || !strings.Contains(m.stderr.String(), want) {
		t.Errorf("remote %q\nkept %q\nshown %q", e.Remote, e.Stderr, m.stderr.String())
	}
	mustNotHold(t, "the output", fmt.Sprintf("%#v", e)+m.stderr.String(), token)
	testkit.Equal(t, closed, 2, "filters were closed")
}

func TestProgressIsShownWhenAsked(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	for _, progress := range []bool{true, false} {
		m := newMachine(t)
		r := m.runner()
		r.Progress = progress
		testkit.OK(t, r.Clone(t.Context(), m.options(o, "acme/site")))
		if got := strings.Contains(m.stderr.String(), "Receiving objects: 100%"); got != progress {
			t.Errorf("%v:\n%s", progress, m.stderr.String())
		}
	}
}

func TestFiltersOfTheUserGoOnWorking(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	m := newMachine(t)
	write(t, filepath.Join(m.home, "attributes"), "*.html filter=loud\n")
	m.config(t, "core.attributesFile", filepath.Join(m.home, "attributes"))
	m.config(t, "filter.loud.smudge", "tr a-z A-Z")
	m.config(t, "filter.loud.required", "true")
	testkit.OK(t, m.runner().Clone(t.Context(), m.options(o, "acme/site")), "%s", m.stderr.String())
	testkit.Equal(t, read(t, filepath.Join(m.dir, "site", "index.html")), "THE REAL ONE\n")
}

// asking is what makes git ask a helper for an origin.
func asking(origin, helper string) []gitsetup.Section {
	return []gitsetup.Section{{Name: "credential", Subsection: origin, Settings: []gitsetup.Setting{
		{Name: "helper"}, {Name: "helper", Value: helper}, {Name: "useHttpPath", Value: "true"},
	}}}
}

func TestCloneOptionsReachGit(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	m := newMachine(t)
	options := m.options(o, "acme/site")
	options.Dir, options.Branch, options.Depth = "www", "deployment", 1
	const helper = "!'/opt/my ghapp' credential"
	options.Persist = asking(o.URL, helper)
	options.Extra = []string{"--origin", "upstream", "-c", "core.autocrlf=input", "--no-tags"}
	testkit.OK(t, m.runner().Clone(t.Context(), options), "%s", m.stderr.String())
	dir := filepath.Join(m.dir, "www")
	for question, want := range map[string]string{
		"branch --show-current":                                    "deployment",
		"rev-parse --is-shallow-repository":                        "true",
		"remote":                                                   "upstream",
		"remote get-url upstream":                                  o.URL + "/acme/site.git",
		"config --local core.autocrlf":                             "input",
		"config --local remote.upstream.tagOpt":                    "--no-tags",
		"config --local --get-all credential." + o.URL + ".helper": "\n" + helper,
		"config --local credential." + o.URL + ".useHttpPath":      "true",
	} {
		testkit.Equal(t, strings.TrimSuffix(plainGit(t, dir, strings.Fields(question)...), "\n"), want, "%s", question)
	}
}

func TestCloneWithoutPersistLeavesNoHelper(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	m := newMachine(t)
	testkit.OK(t, m.runner().Clone(t.Context(), m.options(o, "acme/site")), "%s", m.stderr.String())
	for line := range strings.Lines(plainGit(t, filepath.Join(m.dir, "site"), "config", "--local", "--list")) {
		for _, section := range []string{"credential.", "http.", "url.", "hook.", "core.hookspath", "core.fsmonitor"} {
			if strings.HasPrefix(line, section) {
				t.Errorf("%s", line)
			}
		}
	}
}

func TestMirrorClone(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	m := newMachine(t)
	options := m.options(o, "acme/site")
	options.Extra, options.Persist = []string{"--mirror"}, asking(o.URL, "ghapp")
	testkit.OK(t, m.runner().Clone(t.Context(), options), "%s", m.stderr.String())
	dir := filepath.Join(m.dir, "site.git")
	if got := plainGit(t, dir, "for-each-ref", "--format=%(refname)"); got != "refs/heads/deployment\nrefs/heads/main\n" {
		t.Errorf("%q", got)
	}
	testkit.Equal(t, plainGit(t, dir, "config", "--get-all", "credential."+o.URL+".helper"), "\nghapp\n")
}

// Where git can send the credential with the first request, it does.
func TestFirstRequestCarriesTheToken(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	m := newMachine(t)
	r := m.runner()
	version := testkit.Must(r.Version(t.Context()))(t)
	testkit.OK(t, r.Clone(t.Context(), m.options(o, "acme/site")))
	want := 4 // the first is refused
	if version.AtLeast(2, 46) {
		want = 3
	}
	testkit.Equal(t, len(o.seen()), want, "git %s made", version)
}

// From git 2.54 on a short wait is git's own.
func TestShortRateLimitIsWaitedOut(t *testing.T) {
	t.Parallel()
	refused := false
	o := newOrigin(t)
	o.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if _, password, _ := r.BasicAuth(); refused || password != token {
			return false
		}
		refused = true
		w.Header().Set("Retry-After", "1")
		http.Error(w, "", http.StatusTooManyRequests)
		return true
	}
	m := newMachine(t)
	r := m.runner()
	version, err := r.Version(t.Context())
	testkit.OK(t, err)
	err = r.Clone(t.Context(), m.options(o, "acme/site"))
	if version.AtLeast(2, 54) {
		testkit.OK(t, err, "%s", m.stderr.String())
	} else if e := asError(t, err); e.Reason != RateLimited {
		t.Errorf("%v", err)
	}
}

func TestEndedContextStartsNoGit(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	options := CloneOptions{Scope: Scope{Origin: "https://github.com", Helper: "h"}, URL: "https://github.com/a/b"}
	if err := m.runner().Clone(ctx, options); !errors.Is(err, context.DeadlineExceeded) ||
		asError(t, err).Reason != Stopped {
		t.Errorf("%v", err)
	}
	mustBeEmpty(t, m.dir)
}

// What a call of ours relies on holds whatever the user has configured.
func TestSettingsOfTheUserAreOverruled(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	overruled := map[string]string{
		"color.ui": "always", "color.remote": "always", "transfer.bundleURI": "true", "core.fsmonitor": "true",
		"core.hooksPath": "/hooks", "credential.interactive": "true",
	}
	for key, value := range overruled {
		m.config(t, key, value)
	}
	m.config(t, "core.autocrlf", "input")
	for key, want := range map[string]string{
		"color.ui": "false", "color.remote": "false", "transfer.bundleURI": "false", "core.fsmonitor": "false",
		"core.hooksPath": os.DevNull, "credential.interactive": "0", "core.autocrlf": "input",
	} {
		out, err := m.runner().Output(t.Context(), Scope{}, "config", "--get", key)
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s is %q: %v", key, got, err)
		}
	}
}

// A named repository is pushed to where it was named, too.
func TestPushGoesWhereItWasNamed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	const address = "https://github.com/acme/site.git"
	m.config(t, "url.git@github.com:.pushInsteadOf", "https://github.com/")
	plainGit(t, m.dir, "init", "--quiet")
	plainGit(t, m.dir, "remote", "add", "origin", address)
	scope := Scope{Origin: "https://github.com", Helper: "h", URLs: []string{address}}
	out := testkit.Must(m.runner().Output(t.Context(), scope, "remote", "get-url", "--push", "origin"))(t)
	testkit.Equal(t, strings.TrimSpace(string(out)), address)
}
