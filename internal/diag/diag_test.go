package diag_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// kinds reads the library's own list from its source, so that a new Kind cannot
// be forgotten here.
func kinds(t *testing.T) []ghapp.Kind {
	t.Helper()
	var list []ghapp.Kind
	for _, text := range constants(t, "../../errors.go", "Kind", 15) {
		list = append(list, ghapp.Kind(text))
	}
	return list
}

func TestEveryKindHasAHintAndAnExitCode(t *testing.T) {
	for _, kind := range kinds(t) {
		report := diag.Explain(fmt.Errorf("wrapped: %w", &ghapp.Error{Kind: kind, Op: "try"}))
		if report.Kind != diag.Code(string(kind)) || report.ExitCode == fault.Failed || report.ExitCode == fault.Done {
			t.Errorf("%s: %+v", kind, report)
		}
		// What is wrong with a request, its own message says.
		if report.Hint == "" && kind != ghapp.ErrInvalid {
			t.Errorf("%s has no hint", kind)
		}
	}
}

func TestEveryReasonOfGitHasAHint(t *testing.T) {
	for _, reason := range gitcmd.Reasons() {
		report := diag.Explain(&gitcmd.Error{Op: "clone", Reason: reason, ExitCode: 128})
		if report.Kind != diag.Code(string(reason)) || report.ExitCode == fault.Done {
			t.Errorf("%s: %+v", reason, report)
		}
		if report.Hint == "" && reason != gitcmd.Unknown && reason != gitcmd.Stopped {
			t.Errorf("%s has no hint", reason)
		}
	}
}

func TestWhatARepositoryLacksHasAHintOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range []*refs.RefError{
		{Empty: true}, {Revision: refs.Revision{Branch: "x"}}, {Revision: refs.Revision{Tag: "x"}},
		{Revision: refs.Revision{Version: "*"}}, {},
	} {
		report := diag.Explain(e)
		if report.Hint == "" || seen[report.Hint] || report.Kind == "" || report.ExitCode != fault.GitFailed {
			t.Errorf("%v: %+v", e, report)
		}
		seen[report.Hint] = true
	}
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), fault.Failed},
		{&fault.UsageError{Err: errors.New("no such flag")}, fault.Usage},
		{fmt.Errorf("sync: %w", &refs.RefError{}), fault.GitFailed},
		{fmt.Errorf("sync: %w", refs.ErrUnsupported), fault.Unreachable},
		{fmt.Errorf("mirror: %w", &gitwire.TooLargeError{}), fault.GitFailed},
		{&gitcmd.OptionError{Option: "-c"}, fault.Usage},
		{&fault.SettingError{Err: errors.New("no host")}, fault.Configuration},
		{&config.Error{Problems: []config.Problem{{Text: "no App"}}}, fault.Configuration},
		{&signer.KeyError{Problem: signer.ErrEncrypted}, fault.Configuration},
		{&signer.KeyError{Problem: signer.ErrPIN}, fault.Configuration},
		{&signer.KeyError{Problem: signer.ErrUnavailable}, fault.Unreachable},
		{&ghapp.Error{Kind: ghapp.ErrKey, Err: &signer.KeyError{Problem: signer.ErrTimeout}}, fault.Unreachable},
		{&ghapp.Error{Kind: ghapp.ErrKey, Err: &signer.KeyError{Problem: signer.ErrEncrypted}}, fault.Configuration},
		{&ghapp.Error{Kind: ghapp.ErrNotInstalled}, fault.Refused},
		{&ghapp.Error{Kind: ghapp.ErrRateLimited}, fault.Unreachable},
		{context.DeadlineExceeded, fault.Unreachable},
		{&gitcmd.Error{Reason: gitcmd.BranchNotFound}, fault.GitFailed},
		{&fault.ExitError{Code: 42, Err: errors.New("the program's own")}, 42},
	} {
		testkit.Equal(t, diag.Explain(test.err).ExitCode, test.want, "%v: exit code", test.err)
	}
}

func TestHintsSayWhatTheErrorKnows(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&ghapp.Error{Kind: ghapp.ErrPermission, Detail: &ghapp.PermissionError{
			Wanted: ghapp.Permissions{"contents": "write"}, Granted: ghapp.Permissions{"contents": "read"}}},
			"wanted contents:write, granted contents:read"},
		{&ghapp.Error{Kind: ghapp.ErrPermission, Detail: &ghapp.PermissionError{
			Wanted: ghapp.Permissions{"contents": "write"}, Granted: ghapp.Permissions{}}}, "granted nothing"},
		{&ghapp.Error{Kind: ghapp.ErrPermission,
			Detail: &ghapp.PermissionError{Wanted: ghapp.Permissions{"contents": "write"}}}, "granted unknown"},
		{&ghapp.Error{Kind: ghapp.ErrClockOff, Detail: &ghapp.ClockError{Offset: -15 * time.Minute}}, "15m0s off"},
		{&ghapp.Error{Kind: ghapp.ErrRateLimited,
			Detail: &ghapp.RateLimitError{Until: time.Now().Add(90 * time.Minute)}}, "in 1h"},
		{&ghapp.Error{Kind: ghapp.ErrRateLimited}, "at least a minute"},
		{&signer.KeyError{Problem: signer.ErrEncrypted}, "openssl pkey"},
		{&ghapp.Error{Kind: ghapp.ErrKey, Err: &signer.KeyError{Problem: signer.ErrEncrypted}}, "openssl pkey"},
		{&config.Error{Problems: []config.Problem{{Text: "a"}, {Text: "b", Hint: "do b"}}}, "do b"},
	} {
		if got := diag.Explain(test.err).Hint; !strings.Contains(got, test.want) {
			t.Errorf("%v: hint %q, want %q in it", test.err, got, test.want)
		}
	}
}

func TestProblemsOfTheConfigurationAreALineEach(t *testing.T) {
	report := diag.Explain(&config.Error{Problems: []config.Problem{
		{File: "c.yaml", Line: 3, Text: "unknown key", Hint: "did you mean app?"}, {Text: "no key"},
	}})
	if want := "c.yaml:3: unknown key\nno key"; report.Message != want {
		t.Errorf("message %q, want %q", report.Message, want)
	}
}
