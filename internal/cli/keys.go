package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/signer"
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
		Args:  usage(cobra.NoArgs),
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
			key, err := c.keyOf(cmd.Context(), args)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(c.Stdout, map[string]string{"fingerprint": key.Fingerprint()})
			}
			_, err = fmt.Fprintln(c.Stdout, key.Fingerprint())
			return err
		},
	}
}

func (c *command) keysCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FINGERPRINT]",
		Short: "Check that the key belongs to the App",
		Long: `Compares the key in use with the FINGERPRINT that the App's settings page shows
(SHA256:…), offline. Without one it asks GitHub, which takes the App's ID as well.`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return c.compareFingerprint(cmd.Context(), args[0])
			}
			session, err := c.open(cmd.Context(), ghapp.Repository{})
			if err != nil {
				return err
			}
			info, err := session.app.Info(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(c.Stdout, map[string]any{
					"fingerprint": session.app.Fingerprint(), "app_id": info.ID, "client_id": info.ClientID, "slug": info.Slug,
					"name": info.Name, "owner": info.Owner, "permissions": info.Permissions,
				})
			}
			_, err = fmt.Fprintf(c.Stdout, "The key %s belongs to %s (App ID %d) of %s.\n", session.app.Fingerprint(), info.Name, info.ID, info.Owner)
			return err
		},
	}
}

func (c *command) compareFingerprint(ctx context.Context, wanted string) error {
	key, err := c.keyOf(ctx, nil)
	if err != nil {
		return err
	}
	// The part after the colon is what GitHub's documentation compares.
	got := strings.TrimPrefix(key.Fingerprint(), "SHA256:")
	if strings.TrimPrefix(strings.TrimSpace(wanted), "SHA256:") != got {
		return &diag.SettingError{
			Err:  errors.New("the key is another one: its fingerprint is " + key.Fingerprint()),
			Hint: "find the key whose fingerprint is on the App's settings page, or generate a new one there",
		}
	}
	if c.json {
		return printJSON(c.Stdout, map[string]any{"fingerprint": key.Fingerprint(), "matches": true})
	}
	_, err = fmt.Fprintln(c.Stdout, "The fingerprints are the same.")
	return err
}

// keyOf opens the key named, or the key in use. What is remembered of it is not
// believed: whoever holds it is asked.
func (c *command) keyOf(ctx context.Context, args []string) (signer.Signer, error) {
	if len(args) == 1 {
		key, err := c.namedKey(args[0])
		if err != nil {
			return nil, err
		}
		var settings config.AppSettings
		if loaded, err := c.load(); err == nil { // else the key is all that is needed
			settings, _ = loaded.App(config.Selector{HostOnly: true})
		}
		return c.openKey(ctx, key, settings, nil)
	}
	loaded, err := c.load()
	if err != nil {
		return nil, err
	}
	settings, err := loaded.App(config.Selector{KeyOnly: true})
	if err != nil {
		return nil, err
	}
	return c.key(ctx, settings, nil)
}

// namedKey is a key that was named on the command line, good for every directory.
func (c *command) namedKey(name string) (config.Value, error) {
	if signer.HasSecret(name) {
		return config.Value{}, &diag.SettingError{
			Err:  errors.New("the key URI has a PIN or a password in it, and others can read a command line"),
			Hint: "say in it where that is (pin-source=file:/path in a pkcs11: URI); a key in use can be given in GHAPP_KEY",
		}
	}
	home, _ := c.lookup("HOME")
	key, err := config.CompleteKey(name, "", home)
	if err != nil {
		return config.Value{}, &diag.SettingError{Err: fmt.Errorf("read the key's name: %w", err)}
	}
	return absoluteKey(config.Value{Text: key, Source: config.Source{Kind: config.FromFlag, Name: "KEY"}}), nil
}
