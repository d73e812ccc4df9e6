package cli_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// endless is a pack that says to have so many objects that git believes it, and goes on for as long as somebody
// reads it.
func endless(ctx context.Context, w io.Writer) error {
	var object bytes.Buffer
	p, err := githubtest.NewPackWriter(&object, "sha1", 100_000)
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	if err == nil {
		err = p.Object(githubtest.GitObject{Kind: "blob", Content: noise})
	}
	text := object.Bytes()
	for err == nil && ctx.Err() == nil {
		_, err = w.Write(text)
		text = object.Bytes()[12:] // without the pack's head
	}
	return errors.Join(err, ctx.Err())
}

// endlessNames are names of branches that come without an end.
func endlessNames(yield func(string) bool) {
	for n := 0; yield(fmt.Sprintf("refs/heads/a-branch-of-many-%d", n)); n++ {
	}
}

// refsOf are refs that a hostile server tells of, at the commit that its default pack has.
func refsOf(names iter.Seq[string]) iter.Seq[githubtest.GitRef] {
	history := githubtest.History("sha1", 1)
	tip := history[len(history)-1].ID("sha1")
	return func(yield func(githubtest.GitRef) bool) {
		if !yield(githubtest.GitRef{Name: "HEAD", ID: tip, Target: "refs/heads/main"}) {
			return
		}
		for name := range names {
			if !yield(githubtest.GitRef{Name: name, ID: tip}) {
				return
			}
		}
	}
}

// hostileMirrors are servers that a mirror cannot be made of. fetched says that one fails where there is something to
// fetch alone.
func hostileMirrors() map[string]http.Handler {
	history := githubtest.History("sha1", 1)
	blob, tip := history[0].ID("sha1"), history[len(history)-1].ID("sha1")
	honest := githubtest.Pack("sha1", history...)
	at := func(id string) iter.Seq[githubtest.GitRef] {
		return slices.Values([]githubtest.GitRef{{Name: "refs/heads/main", ID: id}})
	}
	return map[string]http.Handler{
		"an endless pack":                 &githubtest.GitServer{Pack: endless},
		"an endless pack, by git":         &githubtest.GitServer{Pack: endless, Version: githubtest.Oldest},
		"an endless pack of four billion": &githubtest.GitServer{Pack: githubtest.EndlessPack("sha1")},
		"a bomb of deltas":                &githubtest.GitServer{Pack: githubtest.DeltaBomb("sha1", 4<<30, history...)},
		"a bomb of deltas, by git": &githubtest.GitServer{
			Pack: githubtest.DeltaBomb("sha1", 4<<30, history...), Version: githubtest.Oldest},
		"a bomb of zeros, by git": &githubtest.GitServer{
			Pack: githubtest.ZlibBomb("sha1", 100<<30, history...), Version: githubtest.Oldest},
		"a byte a second, by git":         &githubtest.GitServer{Pack: dripping(honest), Version: githubtest.Oldest},
		"a wrong hash of the pack":        &githubtest.GitServer{Pack: honest.Flipped(-1)},
		"a wrong bit":                     &githubtest.GitServer{Pack: honest.Flipped(40)},
		"an object that is not there":     &githubtest.GitServer{Pack: githubtest.Pack("sha1", history[1:]...)},
		"a ref without an object":         &githubtest.GitServer{Refs: at(strings.Repeat("1", 40))},
		"a branch that is a blob":         &githubtest.GitServer{Refs: at(blob)},
		"a branch that is a blob, by git": &githubtest.GitServer{Refs: at(blob), Version: githubtest.Oldest},
		"a pack that stalls, by git": &githubtest.GitServer{
			Pack: honest.After(60, githubtest.ErrStall), Version: githubtest.Oldest},
		"a pack that ends":        &githubtest.GitServer{Pack: honest.After(60, githubtest.ErrEnd)},
		"a pack that is cut off":  &githubtest.GitServer{Pack: honest.After(60, errors.New("cut"))},
		"an error after the pack": &githubtest.GitServer{Fatal: "out of memory" + poison},
		"an error":                &githubtest.GitServer{Errors: map[string]string{"ls-refs": "no" + poison}},
		"too many refs":           &githubtest.GitServer{Refs: refsOf(endlessNames)},
		"too many refs, by git":   &githubtest.GitServer{Version: githubtest.Oldest, Refs: refsOf(endlessNames)},
		"HTML with 200": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>Welcome to the hotel's network</html>")
		}),
		"HTML in the pack's place": htmlAfter(&githubtest.GitServer{Refs: at(tip)}),
	}
}

// dripping sends a pack a byte a second.
func dripping(pack githubtest.PackSource) githubtest.PackSource {
	return func(ctx context.Context, w io.Writer) error {
		var whole bytes.Buffer
		if err := pack(ctx, &whole); err != nil {
			return err
		}
		for _, b := range whole.Bytes() {
			if _, err := w.Write([]byte{b}); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
		}
		return nil
	}
}

// htmlAfter answers a fetch with a page.
func htmlAfter(s *githubtest.GitServer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && len(s.Asked()) > 0 {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>Welcome to the hotel's network</html>")
			return
		}
		s.ServeHTTP(w, r)
	})
}

// Whatever a server sends for one repository: the run ends with a cause and a cure, within bounds of memory and
// disk; its
// mirror is as it was, nothing of it is left, and the others are made.
func TestHostileServerOfOneMirror(t *testing.T) {
	t.Parallel()
	e := newEvil(t)
	e.open(t)
	tests := hostileMirrors()
	tests["redirect to another host"] = movedTo(e.url)
	for name, server := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.environ["GIT_HTTP_LOW_SPEED_TIME"] = "5"
			bad := m.github.AddRepository("acme/bad", githubtest.RepositoryOptions{})
			m.app.Install("acme", githubtest.InstallOptions{All: true})
			for _, first := range []bool{true, false} {
				m.github.ClearFaults()
				dir := map[bool]string{true: "first", false: "later"}[first]
				was := ""
				if !first {
					testkit.Must(bad.Commit("main", "Begin", map[string]string{"a": dir}))(t)
					m.must("mirror", "--to", dir)
					was = refsIn(t, filepath.Join(m.work, dir, "acme/bad.git"))
					testkit.Must(m.github.Repository("acme/web").Commit("main", "Change", map[string]string{"a": dir}))(t)
				}
				testkit.OK(t, m.github.Fault(githubtest.Fault{Match: "* /acme/bad.git/**", Handler: server}))
				m.hostileRun(t, dir, name)
				for _, other := range []string{"acme/site", "acme/web"} {
					head := testkit.Must(m.github.Repository(other).Head("main"))(t)
					testkit.Contains(t, refsIn(t, filepath.Join(m.work, dir, other+".git")), head+" commit\trefs/heads/main\n")
				}
				if mirror := filepath.Join(m.work, dir, "acme/bad.git"); first {
					if _, err := os.Stat(mirror); err == nil {
						t.Error("there is a mirror of what is none")
					}
				} else {
					testkit.Equal(t, refsIn(t, mirror), was, "refs")
					out, err := gitIn(mirror, "fsck", "--full", "--strict")
					testkit.OK(t, err, "%s", out)
					left := testkit.Must(filepath.Glob(filepath.Join(mirror, "objects", "incoming*")))(t)
					testkit.Equal(t, len(left), 0, "%v is left", left)
				}
				left, _ := os.ReadDir(filepath.Join(m.work, dir, ".ghapp/incoming"))
				testkit.Equal(t, len(left), 0, "%v is left", left)
			}
			e.sentNothing(m)
			m.noSecretOnDisk()
		})
	}
}

// refsIn are all refs of a repository.
func refsIn(t *testing.T, dir string) string {
	t.Helper()
	out, err := gitIn(dir, "for-each-ref")
	testkit.OK(t, err, "%s", out)
	return strings.ReplaceAll(string(out), "\r", "")
}

// mostMemory is the most of memory, in bytes, that a process or one of its children was seen to have.
// What the kernel tells at the end of a process (getrusage(2)) begins with the memory of its parent,
// which is this test's.
func mostMemory(pid int, ended <-chan struct{}) (most int) {
	for {
		all, _ := filepath.Glob("/proc/[0-9]*/status")
		for _, path := range all {
			var parent, kilobytes int
			status, _ := os.ReadFile(path)
			_, after, _ := strings.Cut(string(status), "PPid:")
			_, _ = fmt.Sscan(after, &parent)
			if parent == pid || path == fmt.Sprintf("/proc/%d/status", pid) {
				_, after, _ = strings.Cut(after, "VmHWM:")
				_, _ = fmt.Sscan(after, &kilobytes)
			}
			most = max(most, kilobytes<<10)
		}
		select {
		case <-ended:
			return most
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hostileRun is one run in which acme/bad alone fails.
func (m *machine) hostileRun(t *testing.T, dir, what string) {
	t.Helper()
	const room, memory, patience = 96 << 20, 400 << 20, 3 * time.Minute
	var disk unix.Statfs_t
	testkit.OK(t, unix.Statfs(m.work, &disk))
	free := int64(disk.Bavail)*int64(disk.Bsize) - room
	began := time.Now()
	cmd, out := m.command("mirror", "--to", dir, "--json", "--full", "--min-free", fmt.Sprint(free>>10, "K"))
	testkit.OK(t, cmd.Start())
	most := make(chan int)
	ended := make(chan struct{})
	go func() { most <- mostMemory(cmd.Process.Pid, ended) }()
	_ = cmd.Wait() // its exit code is in the result
	close(ended)
	used := <-most
	r := out.result(cmd)
	harmless(t, "stdout", r.stdout)
	harmless(t, "stderr", r.stderr)
	m.noSecretIn("the output", r.stdout+r.stderr)
	took := time.Since(began)
	var list []struct {
		Failed []struct {
			Repository string
			Error      struct{ Message, Hint, Kind string } `json:"error"`
		}
	}
	testkit.OK(t, json.Unmarshal([]byte(r.stdout), &list), "%s%s", r.stdout, r.stderr)
	if r.code != 1 || len(list) != 1 || len(list[0].Failed) != 1 || list[0].Failed[0].Repository != "acme/bad" {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		return
	}
	failed := list[0].Failed[0].Error
	t.Logf("%s, %s: %d MB, %s: %s | %s | %s", what, dir, used>>20, took.Round(10*time.Millisecond), failed.Kind,
		failed.Message, failed.Hint)
	unknown := cmp.Or(failed.Kind, "failed") == "failed" && !strings.Contains(failed.Message, "disk")
	if failed.Message == "" || failed.Hint == "" || unknown {
		t.Errorf("no cause or no cure: %+v", failed)
	}
	if used > memory || took > patience {
		t.Errorf("%d MB in %s", used>>20, took)
	}
}

// Names of refs that would escape, or that nobody can have beside another, are told of, and the others are mirrored.
func TestHostileRefNamesAreNotMirrored(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.github.AddRepository("acme/bad", githubtest.RepositoryOptions{})
	m.app.Install("acme", githubtest.InstallOptions{All: true})
	names := append(githubtest.HostileRefNames(), "refs/heads/main", "refs/tags/v1")
	testkit.OK(t, m.github.Fault(githubtest.Fault{Match: "* /acme/bad.git/**", Handler: &githubtest.GitServer{
		Refs: refsOf(slices.Values(names)), Unfiltered: true,
	}}))
	r := m.must("mirror", "--to", "m")
	harmless(t, "stderr", r.stderr)
	refs := refsIn(t, filepath.Join(m.work, "m/acme/bad.git"))
	testkit.Contains(t, refs, "\trefs/heads/main\n", "\trefs/tags/v1\n")
	testkit.Lacks(t, refs, "..", "refs/ghapp", "refs/replace", "config", "\x1b", ".lock")
	out, err := gitIn(filepath.Join(m.work, "m/acme/bad.git"), "fsck", "--full", "--strict")
	testkit.OK(t, err, "%s", out)
	for _, escaped := range []string{"m/x", "x", "m/acme/bad.git/refs/x", "m/acme/bad.git/hooks/post-update"} {
		if _, err := os.Lstat(filepath.Join(m.work, escaped)); err == nil {
			t.Errorf("there is %s", escaped)
		}
	}
	m.must("mirror", "--to", "m", "--full")
}
