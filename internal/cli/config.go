package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/configedit"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

func (c *command) config() *cobra.Command {
	parent := &cobra.Command{
		Use:   "config",
		Short: "Look at the configuration, and change it",
		Args:  noArguments,
		RunE:  help,
	}
	parent.AddCommand(
		&cobra.Command{
			Use:   "show",
			Short: "Show every value and where it came from",
			Args:  noArguments,
			RunE:  func(*cobra.Command, []string) error { return c.configShow() },
		},
		&cobra.Command{
			Use:   "path",
			Short: "Print the path of the config file",
			Args:  noArguments,
			RunE:  func(*cobra.Command, []string) error { return c.configPath() },
		},
		c.configSet(), c.configUnset(), c.configEdit(),
	)
	return parent
}

func (c *command) configShow() error {
	loaded, err := c.apps().Load()
	if err != nil {
		return err
	}
	entries := loaded.List()
	if c.json {
		return term.JSON(c.Stdout, entries)
	}
	rows := [][]string{{"APP", "KEY", "VALUE", "FROM"}}
	for _, e := range entries {
		rows = append(rows, []string{term.OrDash(e.App), e.Key, term.OrDash(e.Value), term.OrDash(e.Source.String())})
	}
	return term.Table(c.Stdout, rows)
}

func (c *command) configPath() error {
	loaded, err := c.apps().Load()
	if err != nil {
		return err
	}
	path, found := loaded.Path()
	if path.Text == "" {
		return configedit.NoPlace()
	}
	if c.json {
		return term.JSON(c.Stdout, map[string]any{"path": path.Text, "exists": found, "source": path.Source})
	}
	shown := path.Text // a program opens the file by it
	if term.Is(c.Stdout) {
		shown = text.OneLine(shown)
	}
	_, err = fmt.Fprintln(c.Stdout, shown)
	return err
}
