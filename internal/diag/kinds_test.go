package diag_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// Programs branch on a kind, so it is a code and no sentence: a sentence is made a better
// one some day.
func TestEveryKindIsAShortCode(t *testing.T) {
	causes := map[string]bool{}
	for _, kind := range kinds(t) {
		causes[string(kind)] = true
	}
	for _, reason := range gitcmd.Reasons() {
		causes[string(reason)] = true
	}
	for _, problem := range deploy.Problems() {
		causes[string(problem)] = true
	}
	for _, problem := range barerepo.Problems() {
		causes[string(problem)] = true
	}
	for _, text := range constants(t, "causes.go", "Trouble", 20) {
		causes[text] = true
	}
	short := regexp.MustCompile(`^[a-z]+(-[a-z]+){0,4}$`)
	for cause := range causes {
		if code := diag.Code(cause); !short.MatchString(code) || len(code) > 32 {
			t.Errorf("%q has the code %q: give it a short one", cause, code)
		}
	}
	for cause := range diag.Codes() {
		if !causes[cause] {
			t.Errorf("%q has a code and is no cause", cause)
		}
	}
}

func TestEveryErrorHasAKind(t *testing.T) {
	for want, err := range map[string]error{
		"failed":                  errors.New("anything"),
		"usage":                   &fault.UsageError{Err: errors.New("no such flag")},
		"configuration":           &fault.SettingError{Err: errors.New("no host")},
		"repository-not-selected": fmt.Errorf("clone: %w", &ghapp.Error{Kind: ghapp.ErrRepositoryNotSelected}),
		"key-encrypted":           &fault.ExitError{Code: 3, Err: &signer.KeyError{Problem: signer.ErrEncrypted}},
		"refused":                 &fault.ExitError{Code: fault.Refused, Err: errors.New("of another owner")},
	} {
		testkit.Equal(t, diag.Explain(err).Kind, want, "%v is of the kind", err)
	}
}

func TestErrorsStayWithTheirHints(t *testing.T) {
	several := &config.Error{Problems: []config.Problem{
		{File: "c.yaml", Line: 3, Text: "unknown key", Hint: "did you mean app?"}, {Text: "no host"},
		{Text: "no key", Hint: "pass --key"},
	}}
	left := fmt.Errorf("remove /tmp/x: %w", os.ErrPermission)
	for name, test := range map[string]struct {
		err  error
		want []string // message, and hint after a bar
		exit int
	}{
		"one": {&config.Error{Problems: several.Problems[:1]}, nil, fault.Configuration},
		"of a file": {several, []string{"c.yaml:3: unknown key|did you mean app?", "no host|", "no key|pass --key"},
			fault.Configuration},
		"joined": {errors.Join(left, &ghapp.Error{Kind: ghapp.ErrSuspended, Op: "mint"}), []string{
			"remove /tmp/x: permission denied|", "cannot mint: installation suspended|an owner of the account can lift the " +
				"suspension: Settings, GitHub Apps, Configure, Unsuspend",
		}, fault.Refused},
		"one sentence": {fmt.Errorf("%w: %w", left, errors.New("why")), nil, fault.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			report := diag.Explain(test.err)
			var got []string
			for _, part := range report.Errors {
				got = append(got, part.Message+"|"+part.Hint)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) || report.ExitCode != test.exit {
				t.Errorf("got %q (exit code %d), want %q (%d)", got, report.ExitCode, test.want, test.exit)
			}
			text := testkit.Must(json.Marshal(report))(t)
			testkit.Equal(t, strings.Contains(string(text), `"errors"`), (test.want != nil))
		})
	}
}
