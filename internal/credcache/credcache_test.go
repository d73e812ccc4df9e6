//go:build linux || darwin

package credcache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// canary is the token of all answers here.
const canary = "ghs_canary_of_no_value"

// nobody is a user that is neither root nor the one who runs the tests.
const nobody = 65534

// now is when all questions are asked here.
func now() time.Time { return time.Unix(1764000000, 0) }

func asked() *credential.Credential {
	return &credential.Credential{Protocol: "https", Host: "github.com", Path: "acme/site.git"}
}

func ask(t testing.TB, flags, environ []string, request *credential.Credential) Question {
	t.Helper()
	q, ok := Ask(flags, environ, request)
	if !ok {
		t.Fatal("it is no question")
	}
	return q
}

// kept is an answer in a directory of its own, and the files that it rests on.
type kept struct {
	Answer
	dir     string
	present string // a file
	absent  string // where none is
	path    string // of the answer
}

// keep writes an answer that is good now.
func keep(t *testing.T) *kept {
	t.Helper()
	dir := t.TempDir()
	k := &kept{dir: filepath.Join(dir, "cache"), present: filepath.Join(dir, "app.pem"),
		absent: filepath.Join(dir, "config.yaml")}
	testkit.OK(t, errors.Join(os.Mkdir(k.dir, 0o700), os.WriteFile(k.present, []byte("key"), 0o600)))
	stamp := testkit.Must(stat(k.present))(t)
	k.Answer = Answer{
		Question: ask(t, nil, nil, asked()),
		From:     now().Add(-time.Minute), Until: now().Add(time.Minute),
		Files:      []File{{k.present, stamp}, {k.absent, Stamp{}}},
		Credential: credential.Answer(asked(), "x-access-token", secret.New(canary), now().Add(time.Hour)),
	}
	k.path = filepath.Join(k.dir, k.Question.Name())
	k.write(t, k.text(t))
	return k
}

func (k *kept) text(t *testing.T) []byte {
	t.Helper()
	text := testkit.Must(k.Encode())(t)
	return text
}

func (k *kept) write(t *testing.T, text []byte) {
	t.Helper()
	testkit.OK(t, os.WriteFile(k.path, text, 0o600))
}

// found fails unless the answer is found.
func (k *kept) found(t *testing.T) {
	t.Helper()
	got := Find(k.dir, k.Question, now())
	if got == nil || got.Password.Reveal() != canary || got.Username != "x-access-token" ||
		!got.PasswordExpiry.Equal(now().Add(time.Hour)) {
		t.Errorf("found %v", got)
	}
}

// missed fails if an answer is found.
func (k *kept) missed(t *testing.T) {
	t.Helper()
	testkit.Equal(t, Find(k.dir, k.Question, now()), nil, "found")
}

func TestFileAsDocumented(t *testing.T) {
	request := asked()
	request.Capabilities = []string{"authtype"}
	a := Answer{
		Question: ask(t, []string{"--app", "deploy"},
			[]string{"GHAPP_KEY=/etc/ghapp/app.pem", "PATH=/bin", "HOME=/home/me", "GHAPP_APP="}, request),
		From: time.Unix(1764000010, 0), Until: time.Unix(1764003300, 1),
		Files: []File{
			{"/etc/ghapp/app .pem", Stamp{65024, 131, 1679, 1763000000000000000, 1763000000000000001}},
			{"/home/me/.config/ghapp/config.yaml", Stamp{}},
		},
		Credential: credential.Answer(asked(), "x-access-token", secret.New(canary), time.Unix(1764003600, 0)),
	}
	const want = `ghapp-answer/1
flag --app
flag deploy
env GHAPP_KEY=/etc/ghapp/app.pem
env HOME=/home/me
capability[]=authtype
protocol=https
host=github.com
path=acme/site.git

from 1764000010000000000
until 1764003300000000001
file 65024 131 1679 1763000000000000000 1763000000000000001 /etc/ghapp/app .pem
none /home/me/.config/ghapp/config.yaml

username=x-access-token
password=ghs_canary_of_no_value
password_expiry_utc=1764003600

end
`
	text := testkit.Must(a.Encode())(t)
	testkit.Equal(t, string(text), want)
	back, ok := parse(text, a.Question)
	if !ok || !back.From.Equal(a.From) || !back.Until.Equal(a.Until) || len(back.Files) != 2 ||
		back.Files[0] != a.Files[0] || back.Files[1] != a.Files[1] {
		t.Errorf("read %t, %v", ok, back)
	}
}

func TestAnswerIsFound(t *testing.T) {
	k := keep(t)
	k.found(t)
	testkit.Equal(t, Find("", k.Question, now()), nil, "found without a directory")
	testkit.Equal(t, Find(k.dir, ask(t, []string{"-q"}, nil, asked()), now()), nil, "another question found")
}

func TestAnswerIsGoodForItsTimeOnly(t *testing.T) {
	k := keep(t)
	for at, want := range map[time.Time]bool{
		k.From.Add(-1): false, k.From: true, k.Until.Add(-1): true, k.Until: false, {}: false,
	} {
		testkit.Equal(t, (Find(k.dir, k.Question, at) != nil), want, "at %v", at)
	}
}

func TestAnswerEndsWithWhatItRestsOn(t *testing.T) {
	for name, change := range map[string]func(k *kept) error{
		"other bytes": func(k *kept) error { return os.WriteFile(k.present, []byte("kez"), 0o600) },
		"more bytes":  func(k *kept) error { return os.WriteFile(k.present, []byte("keys"), 0o600) },
		"the same bytes in another file": func(k *kept) error {
			return errors.Join(os.WriteFile(k.present+".new", []byte("key"), 0o600), os.Rename(k.present+".new", k.present))
		},
		"other bytes and the old time": func(k *kept) error {
			info, err := os.Stat(k.present)
			return errors.Join(err, os.WriteFile(k.present, []byte("kez"), 0o600),
				os.Chtimes(k.present, info.ModTime(), info.ModTime()))
		},
		"another mode":       func(k *kept) error { return os.Chmod(k.present, 0o644) },
		"it is removed":      func(k *kept) error { return os.Remove(k.present) },
		"it is a directory":  func(k *kept) error { return errors.Join(os.Remove(k.present), os.Mkdir(k.present, 0o700)) },
		"one appears":        func(k *kept) error { return os.WriteFile(k.absent, nil, 0o600) },
		"an empty directory": func(k *kept) error { return os.Mkdir(k.absent, 0o700) },
		"it cannot be told":  func(k *kept) error { return os.Symlink(k.absent, k.absent) },
	} {
		t.Run(name, func(t *testing.T) {
			k := keep(t)
			// Times advance in steps.
			for old, err := stat(k.present); ; {
				testkit.OK(t, err)
				probe := filepath.Join(filepath.Dir(k.present), "probe")
				testkit.OK(t, os.WriteFile(probe, nil, 0o600))
				if stamp, err := stat(probe); err != nil || stamp.changed > old.changed {
					break
				}
			}
			testkit.OK(t, change(k))
			k.missed(t)
		})
	}
}

func TestLinkToAFileIsFollowed(t *testing.T) {
	k := keep(t)
	link := filepath.Join(filepath.Dir(k.present), "link")
	testkit.OK(t, os.Symlink(k.present, link))
	k.Files[0].Path = link
	k.write(t, k.text(t))
	k.found(t)
	testkit.OK(t, errors.Join(os.Remove(link), os.Symlink(k.dir, link)))
	k.missed(t)
}

// Whoever could have written it, it is not read.
func TestAnswerOfOthersIsNotRead(t *testing.T) {
	tests := map[string]func(k *kept) error{
		"readable by the group": func(k *kept) error { return os.Chmod(k.path, 0o640) },
		"writable by all":       func(k *kept) error { return os.Chmod(k.path, 0o602) },
		"a link": func(k *kept) error {
			return errors.Join(os.Rename(k.path, k.path+"x"), os.Symlink(k.path+"x", k.path))
		},
		"a dangling link": func(k *kept) error {
			return errors.Join(os.Remove(k.path), os.Symlink("nowhere", k.path))
		},
		"a directory": func(k *kept) error {
			return errors.Join(os.Remove(k.path), os.Mkdir(k.path, 0o700))
		},
		"a named pipe": func(k *kept) error {
			return errors.Join(os.Remove(k.path), syscall.Mkfifo(k.path, 0o600))
		},
		"not there":                       func(k *kept) error { return os.Remove(k.path) },
		"in a directory for all":          func(k *kept) error { return os.Chmod(k.dir, 0o755) },
		"in one that the group may enter": func(k *kept) error { return os.Chmod(k.dir, 0o710) },
		"in one behind a link": func(k *kept) error {
			return errors.Join(os.Rename(k.dir, k.dir+"-real"), os.Symlink(k.dir+"-real", k.dir))
		},
	}
	if os.Geteuid() == 0 {
		tests["another user's"] = func(k *kept) error { return os.Chown(k.path, nobody, nobody) }
		tests["in another user's directory"] = func(k *kept) error { return os.Chown(k.dir, nobody, nobody) }
	}
	for name, harm := range tests {
		t.Run(name, func(t *testing.T) {
			k := keep(t)
			k.found(t)
			testkit.OK(t, harm(k))
			k.missed(t)
			if _, ok := readPrivate(k.path); ok && !strings.HasPrefix(name, "in ") {
				t.Error("it was read")
			}
		})
	}
}

func TestStampIsOfTheFileItself(t *testing.T) {
	var st syscall.Stat_t
	path := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.WriteFile(path, []byte("12345"), 0o600), os.Chtimes(path, time.Unix(1, 2), time.Unix(3, 4)),
		syscall.Stat(path, &st)); err != nil {
		t.Fatal(err)
	}
	_, changed := times(&st)
	want := Stamp{int64(st.Dev), int64(st.Ino), 5, 3*int64(time.Second) + 4, changed.Nano()}
	if got, err := stat(path); got != want || err != nil || got.ino == 0 || got.changed < want.modified {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

// A power cut may leave the beginning of a file, or its length in zeros.
func TestDamagedAnswerIsNone(t *testing.T) {
	k := keep(t)
	whole := k.text(t)
	for end := range whole {
		k.write(t, whole[:end])
		k.missed(t)
	}
	k.write(t, make([]byte, len(whole)))
	k.missed(t)
	k.write(t, whole)
	k.found(t)
}

func TestOddAnswerIsNone(t *testing.T) {
	k := keep(t)
	whole := string(k.text(t))
	for name, odd := range map[string]string{
		"something after it":       whole + "\n",
		"another version":          strings.Replace(whole, "answer/1", "answer/2", 1),
		"another question":         strings.Replace(whole, "acme/site", "acme/sitf", 1),
		"no times":                 strings.Replace(whole, "from ", "since ", 1),
		"a time that is none":      strings.Replace(whole, "until 17", "until x17", 1),
		"a time written otherwise": strings.Replace(whole, "until 17", "until +17", 1),
		"times in another order": strings.Replace(strings.Replace(strings.Replace(whole, "from ", "F ", 1), "until ",
			"from ", 1), "F ", "until ", 1),
		"a third time":            strings.Replace(whole, "none ", "from 1\nnone ", 1),
		"a file of too few words": strings.Replace(whole, "file ", "file 1 ", 1),
		"a file without a number": strings.Replace(whole, "file ", "file x", 1),
		"a relative file":         strings.Replace(whole, "none /", "none ./", 1),
		"no files":                whole[:strings.Index(whole, "file ")] + whole[strings.Index(whole, "\nusername"):],
		"an unknown word":         strings.Replace(whole, "none ", "nine ", 1),
		"a carriage return":       strings.Replace(whole, "username=", "username=\r", 1),
		"an unknown attribute":    strings.Replace(whole, "username=", "user=", 1),
		"a refusal":               whole[:strings.Index(whole, "username")] + "quit=1\n\nend\n",
		"a token and a refusal":   strings.Replace(whole, "\n\nend", "\nquit=1\n\nend", 1),
		"nothing":                 whole[:strings.Index(whole, "username")] + "\nend\n",
		"too long":                strings.Replace(whole, "username=", "username="+strings.Repeat("x", maxFile), 1),
	} {
		if odd == whole {
			t.Fatalf("%s: it is not odd", name)
		}
		k.write(t, []byte(odd))
		testkit.Equal(t, Find(k.dir, k.Question, now()), nil, "%s: found", name)
	}
}

func TestQuestionHoldsEverythingThatDecides(t *testing.T) {
	environ := []string{"HOME=/h"}
	with := func(change func(*credential.Credential)) *credential.Credential {
		c := asked()
		change(c)
		return c
	}
	questions := map[string]Question{
		"as it is":      ask(t, nil, environ, asked()),
		"a flag":        ask(t, []string{"-q"}, environ, asked()),
		"two flags":     ask(t, []string{"--app", "x"}, environ, asked()),
		"one of both":   ask(t, []string{"--app x"}, environ, asked()),
		"in one word":   ask(t, []string{"--app=x"}, environ, asked()),
		"another home":  ask(t, nil, []string{"HOME=/g"}, asked()),
		"no home":       ask(t, nil, nil, asked()),
		"configuration": ask(t, nil, append(environ, "XDG_CONFIG_HOME=/c"), asked()),
		"protocol":      ask(t, nil, environ, with(func(c *credential.Credential) { c.Protocol = "http" })),
		"host":          ask(t, nil, environ, with(func(c *credential.Credential) { c.Host = "github.com:443" })),
		"path":          ask(t, nil, environ, with(func(c *credential.Credential) { c.Path = "acme/site" })),
		"user":          ask(t, nil, environ, with(func(c *credential.Credential) { c.Username = "x-access-token" })),
		"capability": ask(t, nil, environ,
			with(func(c *credential.Credential) { c.Capabilities = []string{"authtype"} })),
		"challenge": ask(t, nil, environ, with(func(c *credential.Credential) { c.WWWAuth = []string{"Basic"} })),
		"another of them": ask(t, nil, environ,
			with(func(c *credential.Credential) { c.WWWAuth = []string{`Basic realm="GitHub"`} })),
		"state": ask(t, nil, environ, with(func(c *credential.Credential) { c.State = []string{"ghapp=1"} })),
	}
	for _, name := range variables() {
		if name != "HOME" && name != "XDG_CONFIG_HOME" {
			questions[name] = ask(t, nil, append(environ, name+"=/x"), asked())
		}
	}
	names := map[string]string{}
	for what, q := range questions {
		if other, taken := names[q.Name()]; taken {
			t.Errorf("%s and %s are one question", what, other)
		}
		names[q.Name()] = what
		if !IsName(q.Name()) {
			t.Errorf("%s is no name of a file", q.Name())
		}
	}
	for what, q := range map[string]Question{
		"an empty variable":   ask(t, nil, append(environ, "GHAPP_APP=", "GHAPP_FUTURE="), asked()),
		"a variable of git's": ask(t, nil, append(environ, "GIT_DIR=/x", "PATH=/y"), asked()),
	} {
		testkit.Equal(t, q.Name(), questions["as it is"].Name(), "%s makes it another question", what)
	}
}

func TestNoQuestionWithASecretOrOfUnknownMeaning(t *testing.T) {
	secret := secret.New("s")
	for name, tt := range map[string]struct {
		flags, environ []string
		change         func(*credential.Credential)
	}{
		"the key itself":              {environ: []string{"GHAPP_PRIVATE_KEY=x"}},
		"a key with a PIN":            {environ: []string{"GHAPP_KEY=yubikey:slot-id=9a;pin-value=4711"}},
		"a variable of later days":    {environ: []string{"GHAPP_FUTURE=x"}},
		"a key in a relative path":    {flags: []string{"--key", "app.pem"}},
		"another, in one word":        {flags: []string{"--app", "1", "--key=../app.pem"}},
		"a relative CA file":          {flags: []string{"--ca-file", "ca.pem"}},
		"a flag without its value":    {flags: []string{"--config"}},
		"a relative path, variable":   {environ: []string{"GHAPP_CONFIG=config.yaml"}},
		"a flag of two lines":         {flags: []string{"a\nb"}},
		"a variable of two lines":     {environ: []string{"GHAPP_APP=a\nb"}},
		"a password":                  {change: func(c *credential.Credential) { c.Password = secret }},
		"a credential":                {change: func(c *credential.Credential) { c.Encoded = secret }},
		"a token to refresh one with": {change: func(c *credential.Credential) { c.OAuthRefreshToken = secret }},
		"what cannot be written":      {change: func(c *credential.Credential) { c.Host = "a\nb" }},
	} {
		request := asked()
		if tt.change != nil {
			tt.change(request)
		}
		if q, ok := Ask(tt.flags, tt.environ, request); ok {
			t.Errorf("%s: it is a question: %q", name, q.text)
		}
	}
}

func TestNamesOfOthers(t *testing.T) {
	for _, name := range []string{"", "answer-", "pruned", "lock-00", "answer-" + strings.Repeat("g", 32),
		"answer-" + strings.Repeat("A", 32),
		"answer-" + strings.Repeat("a", 33), "answer-" + strings.Repeat("a", 34), strings.Repeat("a", 64),
		"tmp-" + strings.Repeat("a", 32)} {
		if IsName(name) {
			t.Errorf("%q is taken for an answer's name", name)
		}
	}
}

func TestAnswerThatCannotBeKept(t *testing.T) {
	k := keep(t)
	for name, change := range map[string]func(a *Answer){
		"a relative path":          func(a *Answer) { a.Files = []File{{Path: "app.pem"}} },
		"a path of two lines":      func(a *Answer) { a.Files = []File{{Path: "/a\nb"}} },
		"an answer of two lines":   func(a *Answer) { a.Credential = &credential.Credential{Username: "a\nb"} },
		"paths longer than a file": func(a *Answer) { a.Files = []File{{Path: "/" + strings.Repeat("x", maxFile)}} },
	} {
		a := k.Answer
		change(&a)
		if text, err := a.Encode(); err == nil {
			t.Errorf("%s: wrote %q", name, text)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
}

// A file can change again within the step of its times, which would not show.
func TestFileThatHasJustChangedIsNothingToRestOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	testkit.OK(t, os.WriteFile(path, nil, 0o600))
	info := testkit.Must(os.Stat(path))(t)
	stamp, ok := StampOf(info)
	if now, err := stat(path); !ok || err != nil || now != stamp || stamp == (Stamp{}) {
		t.Errorf("stamps %v and %v", stamp, now)
	}
	begun := time.Unix(0, stamp.changed)
	for {
		file, ok := FileOf(path, info)
		if age := time.Since(begun); ok {
			if age <= coarse || file != (File{path, stamp}) {
				t.Errorf("after %v: %v", age, file)
			}
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatal("it never is")
		}
		time.Sleep(time.Millisecond)
	}
	if file, ok := FileOf(path, nil); !ok || file != (File{Path: path}) {
		t.Errorf("absent: %v, %t", file, ok)
	}
}

func TestDir(t *testing.T) {
	for _, tt := range []struct {
		environ map[string]string
		want    string
	}{
		{map[string]string{"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/ghapp"},
		{map[string]string{"XDG_CACHE_HOME": "c"}, ""},
		{map[string]string{"HOME": "h"}, ""},
		{nil, ""},
	} {
		got := Dir(func(name string) (string, bool) { v, ok := tt.environ[name]; return v, ok })
		testkit.Equal(t, got, tt.want, "%v", tt.environ)
	}
	home, err := os.UserCacheDir()
	if got := Dir(os.LookupEnv); err == nil && got != filepath.Join(home, "ghapp") {
		t.Errorf("%q, want it below %q", got, home)
	}
}

// What is read as an answer is what was written as one, whatever stands in the file.
func FuzzParse(f *testing.F) {
	q, ok := Ask([]string{"-q"}, []string{"HOME=/h"}, asked())
	if !ok {
		f.Fatal("it is no question")
	}
	a := Answer{
		Question: q, From: now(), Until: now().Add(time.Hour), Files: []File{{"/a b", Stamp{1, 2, 3, 4, 5}}, {"/c", Stamp{}}},
		Credential: credential.Answer(&credential.Credential{Capabilities: []string{"authtype"}},
			"u", secret.New(canary), now()),
	}
	text := testkit.Must(a.Encode())(f)
	for _, cut := range []int{0, len(q.text), len(text) / 2, len(text)} {
		f.Add(text[:cut])
	}
	f.Add([]byte(strings.Replace(string(text), "file 1", "file -1", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Most of what is made up would not even be the question.
		for _, data := range [][]byte{data, append(q.text[:len(q.text):len(q.text)], data...)} {
			a, ok := parse(data, q)
			if !ok {
				continue
			}
			text, err := a.Encode()
			if err != nil || string(text) != string(data) || len(a.Files) == 0 {
				t.Errorf("read %q, and wrote %q, %v", data, text, err)
			}
		}
	})
}
