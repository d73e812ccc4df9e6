package diag

import (
	"fmt"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestEveryProblemOfAMirrorHasAHint(t *testing.T) {
	for _, problem := range barerepo.Problems() {
		report := Explain(fmt.Errorf("mirror: %w", &barerepo.Error{Problem: problem, Op: "check what came"}))
		if report.Hint == "" || report.ExitCode == fault.Done || report.Kind != code(string(problem)) {
			t.Errorf("%s: %+v", problem, report)
		}
	}
	testkit.Equal(t, len(barerepoMeanings()), len(barerepo.Problems()), "there is a hint for a problem that there is not")
}
