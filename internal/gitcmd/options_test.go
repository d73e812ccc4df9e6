package gitcmd

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

func TestOptionsOfGitCloneArePassedOn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		words []string
		want  flags
	}{
		{nil, flags{}},
		{[]string{"--filter=blob:none", "--filter", "tree:0", "--no-tags", "--single-branch", "--sparse"}, flags{}},
		{[]string{"-nqv", "-b", "main", "-bmain", "-o", "up", "-j4", "-4"}, flags{}},
		{[]string{"--bare"}, flags{bare: true}},
		{[]string{"--mirror", "--no-mirror"}, flags{}},
		{[]string{"--recurse-submodules"}, flags{submodules: true}},
		{[]string{"--recurse-submodules=lib", "--shallow-submodules"}, flags{submodules: true}},
		{[]string{"--recursive"}, flags{submodules: true}},
		{[]string{"--recurse-sub"}, flags{submodules: true}},
		{[]string{"--recurse-submodules", "--no-recurse-submodules"}, flags{}},
		{[]string{"--separate-git-dir", "--bare"}, flags{separateGitDir: "--bare"}},
		{[]string{"--separate-git-dir=x"}, flags{separateGitDir: "x"}},
		{[]string{"--branch", "--upload-pack=x"}, flags{}},
		{[]string{"-c", "core.autocrlf=true", "--config=http.proxy=http://p", "-ccore.x=y"}, flags{}},
		{[]string{"--reference", "/mirror", "--template=/t", "--server-option=x"},
			flags{read: []readFrom{{"--reference", "/mirror", false}, {"--template=/t", "/t", true}}}},
		{[]string{"--reference-if", "m", "--no-template", "--template="},
			flags{read: []readFrom{{"--reference-if", "m", false}}}},
		{[]string{"--no-upload-pack"}, flags{}},
		{[]string{"--of-a-newer-git", "--and-its=value"}, flags{}},
	}
	for _, test := range tests {
		got, err := parseOptions(test.words)
		testkit.OK(t, err, "%q", test.words)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(flags{}, readFrom{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.words, diff)
		}
	}
}

func TestOptionsThatLeadElsewhereAreRefused(t *testing.T) {
	t.Parallel()
	tests := [][]string{
		{"--upload-pack=touch x"}, {"--upload-pack", "touch x"}, {"--upload-p=x"}, {"--up=x"},
		{"-u", "x"}, {"-utouch"}, {"-nqu", "x"},
		{"--bundle-uri=https://evil/x"}, {"--bundle", "https://evil/x"},
		{"-c", "credential.helper=store"}, {"-ccredential.https://github.com.helper=x"}, {"--config=Credential.Helper=x"},
		{"--conf", "credential.helper=x"},
		{"-c", "http.extraHeader=Authorization: x"}, {"-c", "http.https://github.com/.EXTRAHEADER=x"},
		{"-c", "url.https://evil/.insteadOf=https://github.com/"}, {"-nc", "url.x.pushInsteadOf=y"},
		{"-c", " credential.helper=x"}, {"-c", "credential.helper =x"},
		{"-c", "credential.helper\t= x"}, {"-c\ncredential.helper=x"},
		{"-c", "http.sslVerify=false"}, {"-c", "http.https://github.com.sslVerify=0"},
		{"-c", "remote.origin.url=x"}, {"-c", "remote.o.pushURL=x"},
		{"-c", "include.path=/f"}, {"-c", "includeIf.gitdir:/.path=/f"}, {"-c", ""}, {"-c", "nosection=x"},
		{"-c", "credential .helper=x"},
		{"--"}, {"-"}, {"https://evil/x"}, {"--bare", "dir"}, {"--quiet", "--", "x"}, {"--of-a-newer-git", "value"}, {""},
		{"--branch"}, {"-b"}, {"--no"}, {"--s"}, {"-x"}, {"-h"}, {"--help"}, {"--depth\x00"},
	}
	for _, words := range tests {
		_, err := parseOptions(words)
		if _, ok := errors.AsType[*OptionError](err); !ok {
			t.Errorf("%q: %v", words, err)
		}
	}
}

// The table of options holds against the git at hand: an option that takes a value
// there and not here would let a word through unread.
func TestOptionsAreThoseOfGit(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("git", "clone", "-h")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	out, _ := cmd.Output() // it exits with 129
	line := regexp.MustCompile(`^ +(?:-(\w), )?--(\[no-\])?([a-z0-9-]+)(\[=<| <)?`)
	count := 0
	for text := range strings.Lines(string(out)) {
		m := line.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		count++
		at := slices.IndexFunc(cloneOptions(), func(o option) bool { return o.long == m[3] })
		if at < 0 {
			t.Errorf("--%s is not known", m[3])
			continue
		}
		o := cloneOptions()[at]
		if want := map[string]takes{"": nothing, " <": value, "[=<": perhaps}[m[4]]; o.takes != want {
			t.Errorf("--%s takes %d, want %d", o.long, o.takes, want)
		}
		if m[1] != "" && string(o.short) != m[1] {
			t.Errorf("--%s is -%c, want -%s", o.long, o.short, m[1])
		}
	}
	if count < 30 {
		t.Fatalf("%d options read from:\n%s", count, out)
	}
}

func TestCloneRefusesNamesThatAreOptions(t *testing.T) {
	t.Parallel()
	tests := map[string]CloneOptions{
		"branch":         {Branch: "--upload-pack=x"},
		"branch, escape": {Branch: "x\x1b[2J"},
		"directory":      {Dir: "--bare"},
		"directory, NUL": {Dir: "a\x00b"},
		"depth":          {Depth: -1},
	}
	for name, o := range tests {
		o.Scope, o.URL = Scope{Origin: "https://github.com", Helper: "h"}, "https://github.com/acme/site"
		err := (&Runner{Git: "/nonexistent/git", Dir: t.TempDir()}).Clone(t.Context(), o)
		if _, ok := errors.AsType[*OptionError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	for _, seed := range []string{"--bare", "-nqu x", "--upload-pack=x", "--config credential.helper=x",
		"--filter blob:none -- x", "--no-", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		if _, err := parseOptions(words); err != nil {
			return
		}
		// What is let through begins with an option, and is none of the refused.
		if !strings.HasPrefix(words[0], "-") || words[0] == "--" {
			t.Errorf("%q begins with no option", words)
		}
		for _, long := range []string{"--upload-pack=", "--bundle-uri="} {
			if strings.HasPrefix(words[0], long) {
				t.Errorf("%q was let through", words)
			}
		}
	})
}
