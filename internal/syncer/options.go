//go:build unix

package syncer

import (
	"log/slog"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
)

// Options are what a [Syncer] is made with. What is not said to be optional is required.
type Options struct {
	// Opener opens the Apps. A process that watches takes a fresh one when it reads the
	// configuration anew.
	Opener *apps.Opener
	// Entries are the directories that are kept, by the configuration of an Opener.
	Entries func(*apps.Opener) ([]config.Sync, error)
	// Process is what was said of the process.
	Process config.SyncProcess
	// Output is where git reports its progress to. Where it does not, nothing is shown of it.
	Output gitsession.Output
	// Version is ghapp's.
	Version string
	// Log is told of each step.
	Log *slog.Logger
	// Show shows a person a line of the command after a release, in one pass, and reports
	// whether it was shown. Nil: nobody is there.
	Show func(line string) bool
}
