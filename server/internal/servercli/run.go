package servercli

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/server/internal/serve"
	"github.com/ghapp-dev/ghapp/server/internal/settings"
)

func newRun(env Env) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "run",
		Short: "Hand out tokens, until a signal to end",
		Long: `Answers callers that prove who they are, as the settings and the policy say. The policy is read
anew when its file changes, all of it or nothing; SIGHUP has the file of the audit opened anew.`,
		Example: `  ghapp-server run --config /etc/ghapp-server/ghapp-server.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := settings.Read(path)
			if err != nil {
				return err
			}
			return serve.Run(cmd.Context(), serve.Options{
				Settings: s, Environ: os.Environ(), Stdout: cmd.OutOrStdout(), Version: env.version(),
				Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
			})
		},
	}
	c.Flags().StringVar(&path, "config", "/etc/ghapp-server/ghapp-server.yaml", "the settings of the server")
	return c
}
