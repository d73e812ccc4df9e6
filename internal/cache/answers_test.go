//go:build unix

package cache

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/credcache"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

const token = "ghs_canary_of_no_value"

// openForAnswers opens a store of its own, where answers are kept.
func openForAnswers(t *testing.T) *Files {
	t.Helper()
	if !credcache.Supported {
		t.Skip("answers are kept on Linux and macOS")
	}
	return open(t, newDir(t))
}

// answerFor is an answer with the token to a question for a repository.
func answerFor(repository string) credcache.Answer {
	asked := &credential.Credential{Protocol: "https", Host: "github.com", Path: repository}
	question, ok := credcache.Ask(nil, nil, asked)
	if !ok {
		panic("it is no question")
	}
	expiry := time.Now().Add(time.Hour)
	return credcache.Answer{
		Question: question, From: time.Now().Add(-time.Minute), Until: expiry,
		Credential: credential.Answer(asked, "x-access-token", secret.New(token), expiry),
	}
}

// holdsToken is what [Files.KeepAnswer] asks about an entry.
func holdsToken(entry []byte) bool { return bytes.Contains(entry, []byte(token)) }

func keepAnswer(t *testing.T, f *Files, key string, a credcache.Answer) {
	t.Helper()
	testkit.OK(t, f.KeepAnswer(t.Context(), key, holdsToken, a))
}

// answered reports whether the answer is found.
func answered(f *Files, a credcache.Answer) bool {
	found := credcache.Find(f.Dir(), a.Question, time.Now())
	return found != nil && found.Password.Reveal() == token
}

func TestAnswerIsKeptBesideItsEntry(t *testing.T) {
	f := openForAnswers(t)
	put(t, f, keyOf("token"), token)
	a := answerFor("acme/site")
	keepAnswer(t, f, keyOf("token"), a)
	if !answered(f, a) {
		t.Error("it is not found")
	}
	info := testkit.Must(os.Lstat(filepath.Join(f.Dir(), a.Question.Name())))(t)
	testkit.Equal(t, info.Mode(), 0o600)
	if answered(f, answerFor("acme/web")) {
		t.Error("so is one to another question")
	}
	if len(a.Files) > 0 {
		t.Errorf("the caller's answer was changed: %v", a.Files)
	}
}

func TestAnswerEndsWithItsEntry(t *testing.T) {
	for name, end := range map[string]func(f *Files, key string) error{
		"dropped": func(f *Files, key string) error {
			return f.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return nil, nil })
		},
		"renewed": func(f *Files, key string) error {
			return f.Update(t.Context(), key,
				func(context.Context, []byte) ([]byte, error) { return []byte("ghs_canarz_of_no_value"), nil })
		},
		"the same again": func(f *Files, key string) error {
			return errors.Join(
				f.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return nil, nil }),
				os.WriteFile(filepath.Join(f.Dir(), "takes its inode"), nil, 0o600),
				f.Put(t.Context(), key, []byte(token)),
			)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := openForAnswers(t)
			put(t, f, keyOf("token"), token)
			put(t, f, keyOf("other"), token)
			a, other := answerFor("acme/site"), answerFor("acme/web")
			keepAnswer(t, f, keyOf("token"), a)
			keepAnswer(t, f, keyOf("other"), other)
			testkit.OK(t, end(f, keyOf("token")))
			if answered(f, a) {
				t.Error("it is found still")
			}
			if !answered(f, other) {
				t.Error("so ended that of another entry")
			}
		})
	}
}

func TestAnswerIsNotKept(t *testing.T) {
	for name, tt := range map[string]struct {
		key  string
		harm func(f *Files) error
	}{
		"with a token that has been replaced": {keyOf("token"),
			func(f *Files) error { return f.Put(t.Context(), keyOf("token"), []byte("ghs_another")) }},
		"with one that is gone": {keyOf("none"), func(*Files) error { return nil }},
		"with an entry that others can read": {keyOf("token"),
			func(f *Files) error { return os.Chmod(filepath.Join(f.Dir(), keyOf("token")), 0o644) }},
		"with an entry that is a link": {keyOf("token"), func(f *Files) error {
			path := filepath.Join(f.Dir(), keyOf("token"))
			return errors.Join(os.Rename(path, path+"-real"), os.Symlink(path+"-real", path))
		}},
		"in a directory that others can enter": {keyOf("token"), func(f *Files) error { return os.Chmod(f.Dir(), 0o755) }},
		"in none":                              {keyOf("token"), func(f *Files) error { return os.RemoveAll(f.Dir()) }},
		"under a key that is none":             {"../x", func(*Files) error { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			f := openForAnswers(t)
			put(t, f, keyOf("token"), token)
			testkit.OK(t, tt.harm(f))
			a := answerFor("acme/site")
			testkit.Fails(t, f.KeepAnswer(t.Context(), tt.key, holdsToken, a), "it was kept")
			testkit.Fails(t, testkit.ErrorOf(os.Lstat(filepath.Join(f.Dir(), a.Question.Name()))), "there is a file")
			if left, _ := filepath.Glob(filepath.Join(f.Dir(), tempPrefix+"*")); len(left) > 0 {
				t.Errorf("unfinished files: %v", left)
			}
		})
	}
	t.Run("after the end of the context", func(t *testing.T) {
		f := openForAnswers(t)
		put(t, f, keyOf("token"), token)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.KeepAnswer(ctx, keyOf("token"), holdsToken, answerFor("acme/site")); !errors.Is(err, context.Canceled) {
			t.Errorf("KeepAnswer() = %v", err)
		}
	})
}

// What stands in an answer's place is replaced, and not followed or believed.
func TestAnswerReplacesWhatIsInItsPlace(t *testing.T) {
	f := openForAnswers(t)
	put(t, f, keyOf("token"), token)
	a := answerFor("acme/site")
	outside := filepath.Join(t.TempDir(), "outside")
	path := filepath.Join(f.Dir(), a.Question.Name())
	testkit.OK(t, errors.Join(os.WriteFile(outside, []byte("kept"), 0o644), os.Symlink(outside, path)))
	keepAnswer(t, f, keyOf("token"), a)
	if !answered(f, a) {
		t.Error("it is not found")
	}
	testkit.Equal(t, string(testkit.Must(os.ReadFile(outside))(t)), "kept", "the file outside")
}

func TestRefusedAnswersAreDropped(t *testing.T) {
	f := openForAnswers(t)
	put(t, f, keyOf("token"), token)
	answers := []credcache.Answer{answerFor("acme/site"), answerFor("acme/web")}
	for _, a := range answers {
		keepAnswer(t, f, keyOf("token"), a)
	}
	testkit.OK(t, f.DropAnswers())
	for _, a := range answers {
		if answered(f, a) {
			t.Error("one is there still")
		}
	}
	if left, err := filepath.Glob(filepath.Join(f.Dir(), "answer-*")); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	if get(t, f, keyOf("token")) == nil {
		t.Error("so is an entry")
	}
	testkit.OK(t, os.RemoveAll(f.Dir()))
	testkit.OK(t, f.DropAnswers(), "without a directory")
	testkit.OK(t, errors.Join(os.Mkdir(f.Dir(), 0o700), os.Chmod(f.Dir(), 0o755)))
	testkit.ErrorAs[*DirError](t, f.DropAnswers())
}

func TestOldAnswersArePruned(t *testing.T) {
	f := openForAnswers(t)
	put(t, f, keyOf("token"), token)
	old, young := answerFor("acme/site"), answerFor("acme/web")
	keepAnswer(t, f, keyOf("token"), old)
	keepAnswer(t, f, keyOf("token"), young)
	age := func(name string, by time.Duration) {
		t.Helper()
		at := time.Now().Add(-by)
		testkit.OK(t, os.Chtimes(filepath.Join(f.Dir(), name), at, at))
	}
	age(old.Question.Name(), answerLife)
	age(young.Question.Name(), answerLife-time.Minute)
	age(pruneMark, pruneEvery)
	keepAnswer(t, f, keyOf("token"), answerFor("acme/new"))
	left, err := filepath.Glob(filepath.Join(f.Dir(), "answer-*"))
	if err != nil || len(left) != 2 || strings.Contains(strings.Join(left, " "), old.Question.Name()) {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestAnswerOfAProcessKilledAnywhere kills processes that do nothing but keep answers.
func TestAnswerOfAProcessKilledAnywhere(t *testing.T) {
	f := openForAnswers(t)
	put(t, f, keyOf("token"), token)
	a := answerFor("acme/site")
	const kills = 20
	for range kills {
		p := start(t, os.Args[0], "answer without end", f.Dir(), keyOf("token"))
		for range 1 + rand.IntN(20) {
			p.line()
		}
		p.kill()
		if !answered(f, a) {
			t.Fatal("the answer is not whole")
		}
	}
	if left, err := filepath.Glob(filepath.Join(f.Dir(), tempPrefix+"*")); err != nil || len(left) > kills {
		t.Errorf("%d unfinished files after %d kills, %v", len(left), kills, err)
	}
}

// keepWithoutEnd is the program of such a process.
func keepWithoutEnd(f *Files, key string, kept func(n int)) error {
	a := answerFor("acme/site")
	for n := 0; ; n++ {
		a.Files = nil
		for range n % 100 {
			a.Files = append(a.Files, credcache.File{Path: "/" + strings.Repeat("x", 200)})
		}
		if err := f.KeepAnswer(context.Background(), key, holdsToken, a); err != nil {
			return err
		}
		kept(n)
	}
}
