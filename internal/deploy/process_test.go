//go:build unix

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/tracer"
)

// roleVariable tells the test binary that it is another process, which does one thing to
// a directory, and what.
const roleVariable = "DEPLOY_TEST_ROLE"

func TestMain(m *testing.M) {
	if text := os.Getenv(roleVariable); text != "" {
		os.Exit(play(text))
	}
	os.Exit(m.Run())
}

// role is what such a process does, with a target as that of a world is.
type role struct {
	Dir      string
	Mode     Mode
	Keep     int
	Scope    gitcmd.Scope
	Environ  []string
	Want     Request
	Rollback bool // in the place of publishing
	Traced   bool
	Native   bool   // without git fetch
	Exec     string // a command line
}

// played is what it says of itself.
type played struct {
	Changed bool
	Error   string
	Said    string // git's own words, where it has failed
}

func (w *world) role(want Request) role {
	return role{Dir: w.target.Dir, Mode: w.target.Mode, Keep: w.target.Keep, Scope: w.target.Scope,
		Environ: w.target.Environ, Want: want, Native: w.native}
}

// environ is the environment of the process.
func (r role) environ(t testing.TB) []string {
	t.Helper()
	text := testkit.Must(json.Marshal(r))(t)
	// The race detector would sleep for a second at the end of each.
	return []string{roleVariable + "=" + string(text), "PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
}

// plays has another process play a role, and waits for its end.
func (w *world) plays(r role) played {
	w.t.Helper()
	self := testkit.Must(os.Executable())(w.t)
	cmd := exec.CommandContext(w.t.Context(), self)
	cmd.Env = r.environ(w.t)
	text, err := cmd.Output()
	var p played
	testkit.OK(w.t, errors.Join(err, json.Unmarshal(text, &p)))
	return p
}

func play(text string) int {
	var r role
	var p played
	err := json.Unmarshal([]byte(text), &r)
	if err == nil && r.Traced {
		err = tracer.Ask()
	}
	target := &Target{Dir: r.Dir, Mode: r.Mode, Keep: r.Keep, Scope: r.Scope, Environ: r.Environ,
		Git: gitcmd.Runner{Environ: r.Environ}, Exec: Command{Line: r.Exec}}
	if r.Native {
		r.Want.Fetch = fetchFrom(r.Scope.Origin)
	}
	if err == nil && r.Rollback {
		_, err = target.Rollback(context.Background(), "", Refuse)
		p.Changed = err == nil
	} else if err == nil {
		var outcome *Outcome
		outcome, err = target.Publish(context.Background(), r.Want)
		p.Changed = outcome != nil && outcome.Changed
	}
	if err != nil {
		p.Error = err.Error()
		if e, ok := errors.AsType[*gitcmd.Error](err); ok {
			p.Said = e.Stderr
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
