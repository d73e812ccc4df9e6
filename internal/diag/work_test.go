package diag

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// No cure is that of a clone where something else was being done.
func TestNoWorkHasTheCureOfAClone(t *testing.T) {
	for _, work := range []Work{Mirroring, Bundling, Restoring} {
		for _, reason := range gitcmd.Reasons() {
			err := During(work, "/srv/there", fmt.Errorf("git: %w", &gitcmd.Error{Op: "fetch", Reason: reason, ExitCode: 128}))
			report := Explain(err)
			testkit.Equal(t, report.Kind, code(string(reason)))
			if hint, ok := workHints()[work][reason]; ok {
				testkit.Equal(t, report.Hint, strings.ReplaceAll(hint, "%s", "/srv/there"))
			}
			for _, wrong := range []string{"--depth", "clone less", "ghapp sync --fsck-ignore"} {
				if strings.Contains(report.Hint, wrong) && (work == Mirroring || reason == gitcmd.DiskFull) {
					t.Errorf("%s, %s: %s", work, reason, report.Hint)
				}
			}
		}
	}
}

func TestADiskThatIsFullHasTheCureOfTheWork(t *testing.T) {
	for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		full := &fs.PathError{Op: "write", Path: "/srv/m/x", Err: errno}
		for work, cure := range map[Work]string{
			Mirroring: "--exclude", Bundling: "the bundles of before are whole", Restoring: "what was begun was taken away",
		} {
			for _, err := range []error{full, &barerepo.Error{Op: "bring it up to date", Err: full},
				&gitcmd.Error{Op: "fetch", Reason: gitcmd.DiskFull, ExitCode: 128}} {
				report := Explain(During(work, "/srv/there", err))
				testkit.Equal(t, report.Kind, "disk-full")
				testkit.Equal(t, report.ExitCode, fault.Failed)
				testkit.Contains(t, report.Hint, cure, "/srv/there")
				testkit.Equal(t, report.Message, err.Error())
			}
		}
	}
}

// What knows its own cure keeps it.
func TestACureOfItsOwnStays(t *testing.T) {
	own := &fault.ExitError{Code: fault.Usage, Err: syscall.ENOSPC, Hint: "mine"}
	testkit.Equal(t, Explain(During(Mirroring, "/m", own)).Hint, "mine")
	damaged := &barerepo.Error{Problem: barerepo.ErrBundle, Op: "read",
		Err: &gitcmd.Error{Reason: gitcmd.Killed, ExitCode: 1}}
	report := Explain(During(Restoring, "/m", damaged))
	testkit.Equal(t, report.Kind, "bundle-damaged")
	testkit.Contains(t, report.Hint, "ghapp mirror bundle --full")
	testkit.Equal(t, During(Bundling, "/m", nil), nil)
	testkit.Equal(t, Explain(During(Bundling, "/m", errors.New("x"))).Kind, "failed")
}
