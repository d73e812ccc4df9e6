package servercli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
)

func newAudit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Look at the audit", Args: cobra.NoArgs}
	c.AddCommand(newAuditVerify())
	return c
}

func newAuditVerify() *cobra.Command {
	var asJSON bool
	var noted string
	c := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Look whether the audit is as it was written",
		Long: `Looks whether records were changed, removed, put elsewhere or cut since they were written.

Several files of one audit, as logrotate leaves them, are named with the oldest first. The
hash of the newest record is printed: noted elsewhere, it tells later, with --hash, that all
records up to it are the same ones.`,
		Example: `  ghapp-server audit verify /var/log/ghapp-server/audit.jsonl.1 /var/log/ghapp-server/audit.jsonl`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			report, err := audit.Verify(noted, files...)
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				encoder.Encode(report)
			} else {
				printReport(cmd.OutOrStdout(), report)
			}
			if n := len(report.Faults); n > 0 {
				return &fault.ExitError{
					Code: fault.Failed, Err: fmt.Errorf("the audit is not as it was written: %s", count(n, "fault")),
					Hint: "compare it with a copy elsewhere, such as of a backup or of syslog",
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&noted, "hash", "", "a hash that was noted, of a record that is to be among them")
	return c
}

func printReport(w io.Writer, r *audit.Report) {
	for _, f := range r.Faults {
		fmt.Fprintf(w, "%s:%d: %s\n", text.OneLine(f.File), f.Line, f.What)
	}
	for _, f := range r.Notes {
		fmt.Fprintf(w, "%s:%d: note: %s\n", text.OneLine(f.File), f.Line, f.What)
	}
	fmt.Fprintf(w, "%s read, %s\n", count(r.Records, "record"), count(len(r.Faults), "fault"))
	for _, chain := range slices.Sorted(maps.Keys(r.Last)) {
		fmt.Fprintf(w, "newest of %s: record %d, hash %s\n", text.OneLine(chain), r.Last[chain].Sequence, r.Last[chain].Hash)
	}
}

// count is a number of things, in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
