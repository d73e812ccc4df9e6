//go:build !unix

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/fault"
)

func (c *command) sync() *cobra.Command {
	return &cobra.Command{
		Use:   "sync",
		Short: "Keep a directory at a branch, a tag or a version",
		RunE: func(*cobra.Command, []string) error {
			return &fault.UsageError{Err: errors.New("sync needs a system with atomic renames, " +
				"and runs on Linux, macOS and their like")}
		},
	}
}
