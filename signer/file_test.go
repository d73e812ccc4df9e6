//go:build unix

package signer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func write(t testing.TB, name, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	testkit.OK(t, os.WriteFile(path, []byte(text), mode))
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func TestFile(t *testing.T) {
	path := write(t, "my app.pem", pemPKCS1(rsaKey()), 0o600)
	link := filepath.Join(t.TempDir(), "link")
	testkit.OK(t, os.Symlink(path, link))
	for _, path := range []string{path, link} {
		key := testkit.Must(File(path))(t)
		if want := Fingerprint(&rsaKey().PublicKey); key.Fingerprint() != want {
			t.Errorf("fingerprint %s, want %s", key.Fingerprint(), want)
		}
	}
}

type fileMistake struct {
	name, path string
	want       Problem
}

func fileMistakes(t testing.TB) []fileMistake {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	testkit.OK(t, syscall.Mkfifo(pipe, 0o600))
	socket := filepath.Join(dir, "socket")
	listener := testkit.Must(net.Listen("unix", socket))(t)
	t.Cleanup(func() { listener.Close() })
	loop := filepath.Join(dir, "loop")
	testkit.OK(t, os.Symlink(loop, loop))
	dangling := filepath.Join(dir, "dangling")
	testkit.OK(t, os.Symlink(filepath.Join(dir, "absent"), dangling))
	deep := filepath.Join(dir, strings.Repeat("Production2026", 6))
	testkit.OK(t, os.Mkdir(deep, 0o700))
	text := pemPKCS1(rsaKey())
	oneLine := strings.ReplaceAll(strings.TrimSpace(text), "\n", " ")
	body := strings.Split(text, "\n")[3]
	return []fileMistake{
		{"missing", filepath.Join(dir, "absent.pem"), ErrMissing},
		{"missing, client ID in its name", "Iv23liAbCdEfGhIjKlMn", ErrMissing},
		{"dangling link", dangling, ErrMissing},
		{"directory", dir, errDirectory},
		{"pipe", pipe, errNotRegular},
		{"socket", socket, errNotRegular},
		{"device", os.DevNull, errNotRegular},
		{"loop", loop, errUnreadable},
		{"under a file", filepath.Join(write(t, "file", "", 0o600), "app.pem"), errUnreadable},
		{"empty", write(t, "app.pem", "", 0o600), errEmpty},
		{"large", write(t, "app.pem", text+strings.Repeat("\n", maxSize), 0o600), errTooLarge},
		{"encrypted", write(t, "app.pem", string(testdata(t)["encrypted.pkcs8"]), 0o600), ErrEncrypted},
		{"no path", "", errNotPath},
		{"key as path", text, errNotPath},
		{"key as path, one line", oneLine, errNotPath},
		{"key as path, escaped", lineBreaks.Replace(text), errNotPath},
		{"key as path, base64", base64.StdEncoding.EncodeToString([]byte(text)), errNotPath},
		{"key as path, no armour",
			strings.ReplaceAll(strings.Join(strings.Split(text, "\n")[1:5], ""), "/", "a"), errNotPath},
		{"line of a key as path", strings.ReplaceAll(body, "/", "a"), errNotPath},
		{"line of a key in a directory", filepath.Join(dir, body), errNotPath},
		{"missing, in directories of long names", filepath.Join(deep, "githubapp"), ErrMissing},
		{"client secret as path", strings.Repeat("0a1b2c3d", 5), errNotPath},
		{"token as path", "ghs_" + strings.Repeat("aB3", 12), errNotPath},
	}
}

func TestFileNamesTheMistake(t *testing.T) {
	for _, row := range fileMistakes(t) {
		t.Run(row.name, func(t *testing.T) {
			var key *Key
			var err error
			done := make(chan struct{})
			go func() {
				key, err = File(row.path)
				close(done)
			}()
			select {
			case <-done:
			case <-time.After(5 * time.Second):
				t.Fatal("File waits")
			}
			if key != nil || !errors.Is(err, row.want) {
				t.Fatalf("File = %v, %v; want the problem %q", key, err, row.want)
			}
			if row.want == errNotPath {
				wantSafe(t, row.path, err)
				return
			}
			if got := err.Error(); strings.Count(got, row.path) != 1 || strings.Contains(got, "\n") {
				t.Errorf("%q should name the file, once, on one line", got)
			}
		})
	}
}

func TestEveryProblemIsProvoked(t *testing.T) {
	provoked := map[Problem]bool{}
	for _, row := range textMistakes(t) {
		provoked[row.want] = true
	}
	for _, row := range fileMistakes(t) {
		provoked[row.want] = true
	}
	for _, row := range misbehaving {
		provoked[row.want] = true
	}
	for _, row := range agentMistakes {
		provoked[row.want] = true
	}
	for _, problem := range openMistakes {
		provoked[problem] = true
	}
	for _, problem := range kinds {
		provoked[problem] = true // TestEveryKindOfFailureIsAProblem
	}
	for _, row := range importMistakes {
		provoked[row.want] = true
	}
	provoked[ErrChanged] = true   // TestRememberedKeyThatIsAnotherByNow
	provoked[errNoProgram] = true // TestProgramThatCannotBeStarted
	provoked[ErrExists] = true    // TestKeyringStoresOverNoOtherKey
	for _, p := range problems(t) {
		if !provoked[p] {
			t.Errorf("no test meets %q", p)
		}
	}
}

func TestFileTellsTheSystemsError(t *testing.T) {
	for err, want := range map[error]Problem{
		fs.ErrNotExist:   ErrMissing,
		syscall.ENOENT:   ErrMissing,
		fs.ErrPermission: errUnreadable,
		syscall.EACCES:   errUnreadable,
		syscall.EIO:      errUnreadable,
	} {
		got := fileError("app.pem", &fs.PathError{Op: "open", Path: "app.pem", Err: err})
		if got.Problem != want || !errors.Is(got, err) {
			t.Errorf("%v becomes %v", err, got)
		}
		if text := fmt.Sprintf("cannot use the private key in file app.pem: %s: %v", want, err); got.Error() != text {
			t.Errorf("error %q, want %q", got, text)
		}
	}
}
