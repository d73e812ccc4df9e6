package cli

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keystore"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// keyFlag is --key, which may be given twice.
type keyFlag []string

// Set implements [pflag.Value].
func (k *keyFlag) Set(text string) error {
	*k = append(*k, text)
	return nil
}

// String has a line for each value, as [config.Options] wants them.
func (k *keyFlag) String() string { return strings.Join(*k, "\n") }

// Type is what help shows for the value.
func (k *keyFlag) Type() string { return "string" }

func (c *command) keys() *cobra.Command {
	keys := &cobra.Command{
		Use:   "keys",
		Short: "Look at the App's private key, move it, replace it",
		Args:  noArguments,
		RunE:  help,
	}
	keys.AddCommand(c.keysFingerprint(), c.keysCheck(), c.keysImport(), c.keysRotate())
	return keys
}

func (c *command) keysFingerprint() *cobra.Command {
	return &cobra.Command{
		Use:   "fingerprint [KEY]",
		Short: "Print the key's fingerprint as GitHub's settings page shows it, offline",
		Long: `Prints the fingerprint of a private key as the App's settings page shows it under
Private keys. Nothing is asked of GitHub. KEY is a file or a key URI; without it, the
key in use is taken.`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := keystore.OpenKey(cmd.Context(), c.apps(), argument(args))
			if err != nil {
				return err
			}
			if c.json {
				return term.JSON(c.Stdout, map[string]string{"fingerprint": key.Fingerprint()})
			}
			_, err = fmt.Fprintln(c.Stdout, key.Fingerprint())
			return err
		},
	}
}

func (c *command) keysCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FINGERPRINT | KEY]",
		Short: "Check that a key belongs to the App",
		Long: `Has the key in use sign, and asks GitHub which App it belongs to. With a KEY, a file or
a key URI, that one is asked about, as if the App had it: so a key can be proved before
it is used. With a FINGERPRINT, as the App's settings page shows it (SHA256:…), the key in
use is compared with it, offline.

A file whose name looks like a fingerprint is named ./NAME.`,
		Example: `  ghapp keys check
  ghapp keys check ssh-agent:deploy
  ghapp keys check SHA256:uSLtbNTPDNbIdWXqjnpNaUlY7qUGjNHi4DfUzsmSGnE=`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 0 {
				session, err := c.apps().Open(ctx, ghapp.RepositoryName{})
				if err != nil {
					return err
				}
				return c.checkKey(ctx, session)
			}
			if fingerprint, ok := fingerprintOf(args[0]); ok {
				return c.compareFingerprint(ctx, fingerprint)
			}
			session, err := keystore.OpenApp(ctx, c.apps(), args[0])
			if err != nil {
				return err
			}
			return c.checkKey(ctx, session)
		},
	}
}

// fingerprintOf reads a fingerprint of a key, with or without "SHA256:", which is a
// scheme of no key URI. What is not one names a key.
func fingerprintOf(text string) (fingerprint string, ok bool) {
	text = strings.TrimSpace(text)
	if keyuri.Scheme(text) == "sha256" {
		return "SHA256:" + text[len("sha256:"):], true
	}
	// The part after the colon is what GitHub's documentation compares.
	sum, err := base64.StdEncoding.DecodeString(text)
	return "SHA256:" + text, err == nil && len(sum) == sha256.Size
}

// argument is the one argument of a command, or "".
func argument(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// checkKey has the key sign, and tells whose it is.
func (c *command) checkKey(ctx context.Context, session *apps.Session) error {
	info, err := session.App.Info(ctx)
	if err != nil {
		return err
	}
	if c.json {
		return term.JSON(c.Stdout, map[string]any{
			"fingerprint": session.App.Status().Fingerprint, "app_id": info.ID, "client_id": info.ClientID, "slug": info.Slug,
			"name": info.Name, "owner": info.Owner, "permissions": info.Permissions,
		})
	}
	_, err = fmt.Fprintf(c.Stdout, "The key %s belongs to %s (App ID %d) of %s.\n", session.App.Status().Fingerprint,
		text.OneLine(info.Name), info.ID, text.OneLine(info.Owner))
	return err
}

func (c *command) compareFingerprint(ctx context.Context, wanted string) error {
	key, err := keystore.OpenKey(ctx, c.apps(), "")
	if err != nil {
		return err
	}
	if wanted != key.Fingerprint() {
		return &fault.SettingError{
			Err:  errors.New("the key is another one: its fingerprint is " + key.Fingerprint()),
			Hint: "find the key whose fingerprint is on the App's settings page, or generate a new one there",
		}
	}
	if c.json {
		return term.JSON(c.Stdout, map[string]any{"fingerprint": key.Fingerprint(), "matches": true})
	}
	_, err = fmt.Fprintln(c.Stdout, "The fingerprints are the same.")
	return err
}
