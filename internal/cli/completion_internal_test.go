package cli

import (
	"testing"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Nobody waits for the offers of a prompt but who is at one.
func TestOffersAreMadeWhereAShellAsksForThem(t *testing.T) {
	for word, want := range map[string]bool{
		"": false, "token": false, "completion": false,
		cobra.ShellCompRequestCmd: true, cobra.ShellCompNoDescRequestCmd: true,
	} {
		c := &command{}
		if word != "" {
			c.args = []string{word, "token", ""}
		}
		for _, cmd := range c.root().Commands() {
			if cmd.Name() == "token" {
				_, ofFlag := cmd.GetFlagCompletionFunc("permissions")
				testkit.Equal(t, cmd.ValidArgsFunction != nil, want, "after %q, for arguments", word)
				testkit.Equal(t, ofFlag, want, "after %q, for a flag", word)
			}
		}
	}
}
