package gitsetup

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const origin = "https://github.com"

// sections are those of an origin, with values that need quoting.
func sections(origin string) []Section {
	return []Section{
		{Name: "credential", Subsection: origin, Settings: []Setting{{"helper", ""},
			{"helper", `!'/a b/ghapp' credential --key "C:\k" # ; x`}, {"useHttpPath", "true"}}},
		{Name: "url", Subsection: origin + "/", Settings: []Setting{{"insteadOf", "git@github.com:"}}},
		{Name: "committer", Origin: origin, Settings: []Setting{{"name", "deployer[bot]"},
			{"email", "1+deployer[bot]@users.noreply.github.com"}}},
	}
}

// texts are files that were there before.
func texts() map[string]string {
	return map[string]string{
		"empty":                 "",
		"a section":             "[user]\n\tname = Octo\n",
		"no end of line":        "[user]\n\tname = Octo",
		"a line end alone":      "\n",
		"CRLF":                  "[user]\r\n\tname = Octo\r\n",
		"CRLF, no end of line":  "[user]\r\n\tname = Octo\r",
		"comments":              "# mine\n[user] ; too\n\tname = Octo # ghapp git-setup, I think\n\n",
		"the same section":      "[credential \"https://github.com\"]\n\thelper = store\n",
		"the mark in a value":   "[alias]\n\tx = \"!echo # ghapp git-setup\"\n",
		"a value that goes on":  "[alias]\n\tx = a \\\n\tb\n",
		"a section without end": "[user",
		"no configuration":      "\x00\xff]]]\n\"",
	}
}

func TestUndoRestoresByteForByte(t *testing.T) {
	for name, text := range texts() {
		t.Run(name, func(t *testing.T) {
			set := Apply([]byte(text), []string{origin}, sections(origin))
			if bytes.Equal(set, []byte(text)) {
				t.Fatal("nothing was written")
			}
			if again := Apply(set, []string{origin}, sections(origin)); !bytes.Equal(again, set) {
				t.Errorf("applied twice:\n%s\nand not\n%s", again, set)
			}
			for _, origins := range [][]string{nil, {origin}} {
				if got := Remove(set, origins); string(got) != text || got == nil {
					t.Errorf("undone for %q: %q, was %q", origins, got, text)
				}
			}
			other := "https://ghe.example.com"
			both := Apply(set, []string{other}, sections(other))
			if got := Remove(both, []string{other}); !bytes.Equal(got, set) {
				t.Errorf("without %s:\n%q\nwant\n%q", other, got, set)
			}
			if got := Remove(Remove(both, []string{origin}), []string{other}); string(got) != text {
				t.Errorf("one after the other: %q, was %q", got, text)
			}
			testkit.Equal(t, string(Remove(both, nil)), text, "both at once")
		})
	}
}

func TestUndoOfAFileThatWasNotThereIsNoFile(t *testing.T) {
	set := Apply(nil, []string{origin}, sections(origin))
	if got := Remove(set, nil); got != nil {
		t.Errorf("left: %q", got)
	}
	if got := Remove(append(bytes.Clone(set), "[user]\n\tname = Octo\n"...),
		nil); string(got) != "[user]\n\tname = Octo\n" {
		t.Errorf("left of what others wrote: %q", got)
	}
	if again := Apply(set, []string{origin}, sections(origin)); !bytes.Equal(again, set) {
		t.Errorf("applied twice: %q", again)
	}
	other := Apply(set, []string{"https://ghe.example.com"}, sections("https://ghe.example.com"))
	if got := Remove(other, []string{origin}); !bytes.HasPrefix(got, []byte(begun)) ||
		bytes.Contains(got, []byte(origin)) {
		t.Errorf("left for another host: %q", got)
	}
}

func TestOnlyTheOriginsOwnSectionsAreReplaced(t *testing.T) {
	lookalike := "https://github.com.evil.example"
	set := Apply([]byte{}, []string{lookalike}, sections(lookalike))
	if got := Remove(set, []string{origin}); !bytes.Equal(got, set) {
		t.Errorf("undone for %s: %q", origin, got)
	}
}

func FuzzUndo(f *testing.F) {
	if len(texts()) == 0 {
		f.Fatal("no seeds")
	}
	for _, text := range texts() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte(mark)) || bytes.HasPrefix(text, []byte(begun)) {
			return // it has been edited before
		}
		text = append([]byte{}, text...) // not nil
		set := Apply(text, []string{origin}, sections(origin))
		if again := Apply(set, []string{origin}, sections(origin)); !bytes.Equal(again, set) {
			t.Errorf("applied twice: %q, then %q", set, again)
		}
		if got := Remove(set, nil); !bytes.Equal(got, text) {
			t.Errorf("undone: %q", got)
		}
	})
}

// git runs git config on a file.
func git(t *testing.T, file string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"config", "--file", file}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	testkit.OK(t, err, "git %q, %s", cmd.Args, out)
	return string(out)
}

func TestGitReadsWhatIsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	testkit.OK(t, os.WriteFile(file, Apply([]byte("[user]\n\tname = Octo"), []string{origin}, sections(origin)), 0o600))
	want := "user.name\nOcto\x00"
	for _, s := range sections(origin) {
		for _, setting := range s.Settings {
			key := s.Name + "." + s.Subsection + "."
			if s.Subsection == "" {
				key = s.Name + "."
			}
			want += key + strings.ToLower(setting.Name) + "\n" + setting.Value + "\x00"
		}
	}
	testkit.Diff(t, git(t, file, "--null", "--list"), want)
}

// What others do with git config between setup and undo stays.
func TestUndoKeepsWhatOthersHaveChanged(t *testing.T) {
	const before = "[user]\n\tname = Octo\n"
	for _, test := range []struct {
		name string
		do   [][]string
		want string
	}{
		{"nothing", nil, before},
		{"another section", [][]string{{"core.pager", "less"}}, before + "[core]\n\tpager = less\n"},
		{"a value before ours", [][]string{{"user.name", "Cat"}}, "[user]\n\tname = Cat\n"},
		{"a value in our section", [][]string{{"credential.https://github.com.username", "me"}},
			before + "[credential \"https://github.com\"]\n\tusername = me\n"},
		{"a value in each of our sections", [][]string{{"credential.https://github.com.username", "me"},
			{"--add", "url.https://github.com/.insteadOf", "gh:"}},
			before + "[credential \"https://github.com\"]\n\tusername = me\n[url \"https://github.com/\"]\n\tinsteadOf = gh:\n"},
		{"our helper replaced, as gh auth setup-git does", [][]string{
			{"--replace-all", "credential.https://github.com.helper", ""},
			{"--add", "credential.https://github.com.helper", "!gh auth git-credential"},
		}, before + "[credential \"https://github.com\"]\n\thelper = \n\thelper = !gh auth git-credential\n"},
		{"our helper taken away", [][]string{{"--unset-all", "credential.https://github.com.helper"}}, before},
		{"our section taken away", [][]string{{"--remove-section", "credential.https://github.com"}}, before},
		{"our section renamed", [][]string{{"--rename-section", "credential.https://github.com",
			"credential.https://example.com"}},
			before + "[credential \"https://example.com\"]\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "config")
			testkit.OK(t, os.WriteFile(file, Apply([]byte(before), []string{origin}, sections(origin)), 0o600))
			for _, args := range test.do {
				git(t, file, args...)
			}
			text := testkit.Must(os.ReadFile(file))(t)
			testkit.Diff(t, string(Remove(text, nil)), test.want)
			// And set up anew, it is ours again.
			testkit.OK(t, os.WriteFile(file, Apply(text, []string{origin}, sections(origin)), 0o600))
			helpers := strings.Split(git(t, file, "--null", "--get-all", "credential.https://github.com.helper"), "\x00")
			if n := len(helpers); n < 3 || helpers[n-3] != "" || !strings.Contains(helpers[n-2], "ghapp") {
				t.Errorf("helpers %q", helpers)
			}
		})
	}
}
