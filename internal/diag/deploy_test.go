package diag

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestEveryProblemOfADirectoryHasAHint(t *testing.T) {
	for _, problem := range deploy.Problems() {
		err := fmt.Errorf("sync: %w", &deploy.Error{Problem: problem, Op: "publish in /srv/site", Output: "last words"})
		report := Explain(err)
		if report.Hint == "" || report.ExitCode == fault.Done || report.Kind != code(string(problem)) ||
			!strings.Contains(report.Message, "last words") {
			t.Errorf("%s: %+v", problem, report)
		}
	}
	testkit.Equal(t, len(deployMeanings()), len(deploy.Problems()), "there is a hint for a problem that there is not")
}

func TestFullDiskIsTold(t *testing.T) {
	report := Explain(&deploy.Error{Op: "publish in /srv/site", Err: syscall.ENOSPC})
	testkit.Contains(t, report.Hint, "make room")
	testkit.Equal(t, report.ExitCode, fault.Failed)
}

func TestHeldCommitSaysHowToGoOn(t *testing.T) {
	testkit.Contains(t, Explain(&deploy.HeldError{Dir: "/srv/site", Commit: "abc"}).Hint, "ghapp sync resume /srv/site")
}
