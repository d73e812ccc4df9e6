package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/secret"
)

// BenchmarkAsk asks which commit a branch is at, over a kept connection, beside `git
// ls-remote` for the same, from start to end of the process. The server is the real git
// http-backend, over loopback.
//
// The processor's time is that of the client alone, which for this is a process of its
// own that asks many times; its start is counted in.
func BenchmarkAsk(b *testing.B) {
	a := newAsking(b)
	race(b, 10, 1, contestant{"ask", timed(a.ask)}, contestant{"ls-remote", timed(a.lsRemote)})
	const times = 200
	ours, err := a.spent(build(b, "testdata/asker"), times)
	if err != nil {
		b.Fatal(err)
	}
	var theirs []time.Duration
	for range 10 {
		spent, err := a.spentByGit()
		if err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, spent)
	}
	b.ReportMetric(float64(ours)/times, "ask-cpu-ns/op")
	b.ReportMetric(median(theirs), "ls-remote-cpu-ns/op")
	b.ReportMetric(float64(ours)/times/median(theirs), "ask/ls-remote-cpu")
}

// TestRequestsOfAsking counts what BenchmarkAsk times.
func TestRequestsOfAsking(t *testing.T) {
	a := newAsking(t)
	for _, step := range []struct {
		name string
		ask  func() error
		want []string
	}{
		{"ask", a.ask, []string{"POST /acme/site.git/git-upload-pack"}},
		{"git ls-remote", a.lsRemote, []string{"GET /acme/site.git/info/refs", "GET /acme/site.git/info/refs",
			"POST /acme/site.git/git-upload-pack"}},
	} {
		if err := step.ask(); err != nil { // so that all is warm
			t.Fatal(err)
		}
		a.ResetRequests()
		if err := step.ask(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range a.Requests() {
			got = append(got, r.Method+" "+r.Path)
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}

func timed(ask func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		start := time.Now()
		err := ask()
		return time.Since(start), err
	}
}

// asking asks for the branch main of acme/site in two ways.
type asking struct {
	*cloner
	asker  *refs.Asker
	commit string
}

func newAsking(tb testing.TB) *asking {
	tb.Helper()
	c := newCloner(tb, map[string]string{"index.html": "hello\n"})
	commit, err := c.Repository("acme/site").Head("main")
	if err != nil {
		tb.Fatal(err)
	}
	token := &ghapp.Token{Secret: secret.New(c.token), MintedAt: time.Now().Add(-time.Minute),
		ExpiresAt: time.Now().Add(time.Hour), API: c.url + "/api/v3"}
	return &asking{cloner: c, commit: commit, asker: &refs.Asker{
		Origin: c.url, Transport: c.transport,
		Token: func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return token, nil },
	}}
}

func (a *asking) ask() error {
	found, err := a.asker.Ask(context.Background(), ghapp.RepositoryName{Owner: "acme", Name: "site"},
		refs.Revision{Branch: "main"})
	if err == nil && found.Commit != a.commit {
		err = fmt.Errorf("the branch is at %s, want %s", found.Commit, a.commit)
	}
	return err
}

func (a *asking) lsRemote() error {
	_, err := a.spentByGit()
	return err
}

// spentByGit is the processor's time of `git ls-remote` and of the processes that it
// starts.
func (a *asking) spentByGit() (time.Duration, error) {
	address := strings.Replace(a.url, "://", "://x-access-token:"+a.token+"@", 1) + "/acme/site.git"
	return a.spends(exec.CommandContext(context.Background(), "git", "ls-remote", address, "refs/heads/main"))
}

// spent is that of a program which asks many times.
func (a *asking) spent(program string, times int) (time.Duration, error) {
	cmd := exec.CommandContext(context.Background(), program, a.url, fmt.Sprint(times))
	cmd.Stdin = strings.NewReader(a.token)
	return a.spends(cmd)
}

func (a *asking) spends(cmd *exec.Cmd) (time.Duration, error) {
	cmd.Env, cmd.Dir, cmd.Stderr = a.env, a.base, os.Stderr
	apart(cmd)
	out, err := cmd.Output()
	if err == nil && !strings.HasPrefix(string(out), a.commit) {
		err = errors.New("the answer is not the commit: " + string(out))
	}
	if err != nil {
		return 0, err
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
