//go:build !unix

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/fault"
)

func (c *command) mirror() *cobra.Command {
	return &cobra.Command{
		Use:   "mirror",
		Short: "Keep all repositories that the App reaches, and their history",
		RunE: func(*cobra.Command, []string) error {
			return &fault.UsageError{Err: errors.New("mirror needs a system with atomic renames of directories, " +
				"and runs on Linux, macOS and their like")}
		},
	}
}
