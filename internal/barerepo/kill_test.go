package barerepo_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// victim is what a process of its own needs to know to be killed in an update.
type victim struct {
	Origin, Dir, Temp string
	Step              string // after which it ends; "": it says each
	ByGit             bool
}

const victimVariable = "BAREREPO_VICTIM"

func TestMain(m *testing.M) {
	text := os.Getenv(victimVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var v victim
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	w := &world{origin: v.Origin, repo: &barerepo.Repository{Dir: v.Dir, Temp: v.Temp,
		Git: gitcmd.Runner{Environ: os.Environ()}}}
	w.remote = &remote{w: w}
	if v.ByGit {
		w.remote.refused = gitwire.ErrUnsupported
	}
	w.repo.SetFault(func(step string) {
		if v.Step == "" {
			os.Stdout.WriteString(step + "\n")
		} else if step == v.Step {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
	})
	w.now = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	if _, err := w.tryUpdate(barerepo.Options{Head: "main"}); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// run runs an update in a process of its own, and returns the steps it says.
func (v victim) run(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command(testkit.Must(os.Executable())(t))
	cmd.Env = append(os.Environ(), victimVariable+"="+string(testkit.Must(json.Marshal(v))(t)))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if v.Step == "" {
		testkit.OK(t, err)
	} else if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != -1 {
		t.Fatalf("it was not killed after %q: %v", v.Step, err)
	}
	return strings.Fields(strings.ReplaceAll(string(out), " ", "_"))
}

// Killed after any step, every ref resolves, and the next update goes on as though nothing had been.
func TestKilledAnywhere(t *testing.T) {
	testkit.Long(t)
	for _, byGit := range []bool{false, true} {
		t.Run(map[bool]string{false: "native", true: "git"}[byGit], func(t *testing.T) {
			w := newWorld(t)
			v := victim{w.origin, w.repo.Dir, w.repo.Temp, "", byGit}
			base := w.chain(5, "base")
			w.set("refs/heads/main", base)
			w.set("refs/heads/a", base)
			w.set("refs/heads/side", w.chain(2, "side", base))
			walk(t, w, v, func() { testkit.OK(t, os.RemoveAll(w.repo.Dir)) })

			before := filepath.Join(t.TempDir(), "before")
			w.git(t.TempDir(), "clone", "--quiet", "--bare", "--mirror", w.origin, before) // there is something of git's
			testkit.OK(t, os.RemoveAll(before))
			testkit.OK(t, os.CopyFS(before, os.DirFS(w.repo.Dir)))
			old := w.refs(w.origin)
			w.set("refs/heads/main", w.chain(2, "next", base))
			w.set("refs/heads/side", w.chain(2, "rewritten", base))
			w.set("refs/heads/a", "")
			w.set("refs/heads/a/b", base)
			w.git(w.origin, "symbolic-ref", "HEAD", "refs/heads/side")
			walk(t, w, v, func() {
				testkit.OK(t, os.RemoveAll(w.repo.Dir))
				testkit.OK(t, os.CopyFS(w.repo.Dir, os.DirFS(before)))
			})
			kept := w.kept()
			testkit.Equal(t, kept["heads/side"], old["refs/heads/side"])
			testkit.Equal(t, kept["heads/a"], base)
		})
	}
}

// walk kills an update after each of its steps, each time from the beginning.
func walk(t *testing.T, w *world, v victim, begin func()) {
	t.Helper()
	begin()
	steps := v.run(t)
	if len(steps) < 5 {
		t.Fatalf("it has the steps %q", steps)
	}
	head := func(o *barerepo.Options) {
		if v.ByGit {
			o.Head = strings.TrimPrefix(w.refs(w.origin)["HEAD"], "refs/heads/")
			w.remote.refused = gitwire.ErrUnsupported
		}
	}
	for _, step := range steps {
		begin()
		v.Step = strings.ReplaceAll(step, "_", " ")
		v.run(t)
		if _, err := os.Stat(w.repo.Dir); err == nil {
			_, err := w.tryGit(w.repo.Dir, nil, "fsck", "--full", "--no-dangling")
			testkit.OK(t, err, "after %s", step)
		}
		// And what a git leaves that is killed with it in the middle of a transaction.
		if step == "noted" {
			for _, name := range []string{"refs/heads/main.lock", "refs/tags/t.lock", "packed-refs.lock", "packed-refs.new",
				"HEAD.lock"} {
				name = filepath.Join(w.repo.Dir, name)
				testkit.OK(t, os.MkdirAll(filepath.Dir(name), 0o700))
				testkit.OK(t, os.WriteFile(name, nil, 0o600))
			}
		}
		var o barerepo.Options
		head(&o)
		_, err := w.tryUpdate(o)
		testkit.OK(t, err, "after %s", step)
		w.equal()
		if t.Failed() {
			t.Fatalf("after %s", step)
		}
	}
}
