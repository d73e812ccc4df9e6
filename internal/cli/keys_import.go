package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/keystore"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/spf13/cobra"
)

func (c *command) keysImport() *cobra.Command {
	var o keystore.ImportOptions
	cmd := &cobra.Command{
		Use:   "import [KEY] --to URI",
		Short: "Move a downloaded key to where it only signs",
		Long: `Puts a private key where the key URI says, has it sign there, and prints the line of the
config file that names it. KEY is the file that GitHub's settings page has downloaded;
without it, the key in use is taken.

URI is keyring:NAME for the keyring of the system; ssh-agent:COMMENT for an ssh-agent,
which forgets its keys when it ends; exec:PROGRAM for a program that takes keys in; or
pkcs11:, tpmkms:, yubikey:, hashivault:, awskms:, gcpkms: or azurekms: for what the
program ghapp-signer-kms reaches, where the service can import. What is there already is
not overwritten: another key there is an error, and this one is used as it is. The key
goes through pipes and sockets alone, and never through an argument or a variable.

With --use the config file names the URI from then on. With --shred the file of the key
is overwritten and removed, once the key has signed at its new place; on a terminal it
is asked for. Overwriting reaches the blocks of a file on a disk. ` + keystore.ShredLimits,
		Example: `  ghapp keys import ~/Downloads/acme.private-key.pem --to keyring:deploy --use --shred
  ghapp keys import app.pem --to ssh-agent:deploy --confirm --lifetime 8h
  ghapp keys import app.pem --to 'pkcs11:token=Card;object=app?pin-source=file:/run/secrets/pin'`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.importKey(cmd.Context(), argument(args), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.To, "to", "", "the key URI of the place for the key")
	flags.BoolVar(&o.Use, "use", false, "have the config file name the URI in the place of KEY")
	flags.BoolVar(&o.Shred, "shred", false, "overwrite and remove the file of the key in the end")
	flags.BoolVar(&o.Confirm, "confirm", false, "have the ssh-agent ask you before each signature")
	flags.DurationVar(&o.Lifetime, "lifetime", 0, "have the ssh-agent forget the key after this time")
	return cmd
}

// importKey moves a key, and says where it is and what is left where it was.
func (c *command) importKey(ctx context.Context, name string, o keystore.ImportOptions) error {
	i, err := keystore.PrepareImport(ctx, c.apps(), name, o)
	if err != nil {
		return err
	}
	put, err := i.Put(ctx)
	if err != nil {
		return err
	}
	if put {
		c.progress("The key %s is at %s, and has signed there.", i.Fingerprint(), i.Place.Text)
	} else {
		c.progress("The key %s is at %s already, and has signed there. Nothing was put there.", i.Fingerprint(), i.Place.Text)
	}
	if i.InAgent() {
		c.progress("An ssh-agent forgets its keys when it ends: import it again at the next login.")
	}
	if o.Use {
		if err := i.Name(); err != nil {
			return fmt.Errorf("the key is at %s, and the config file does not name it: %w", i.Place.Text, err)
		}
		app, path := i.User()
		c.progress("%s names it as the key of %s.", path, app)
	}
	shredded, err := c.removeImported(ctx, i, o.Shred)
	if err != nil {
		return fmt.Errorf("the key is at %s, and its file %s is still there: %w", i.Place.Text, i.File, err)
	}
	if c.json {
		return term.JSON(c.Stdout, map[string]any{
			"fingerprint": i.Fingerprint(), "key": i.Place.Text, "imported": put, "used": o.Use, "shredded": shredded,
		})
	}
	if !o.Use {
		_, err = fmt.Fprintf(c.Stdout, "key: %s\n", yamlText(i.Place.Text))
	}
	return err
}

// removeImported removes the file of a key, if that was asked for, or if a person says so.
func (c *command) removeImported(ctx context.Context, i *keystore.Import, asked bool) (removed bool, err error) {
	if i.File == "" || i.InAgent() {
		return false, nil
	}
	if !asked {
		agreed := false
		if i.MayShred() == nil {
			question := fmt.Sprintf("%s\nOverwrite and remove %s?", keystore.ShredLimits, i.File)
			agreed, err = c.person().Agrees(ctx, question, false)
		}
		if err != nil || !agreed {
			c.progress("Its file is still there: %s", i.File)
			return false, err
		}
	}
	if err := i.RemoveFile(); err != nil {
		return false, err
	}
	c.progress("Its file %s was overwritten and removed.", i.File)
	if asked {
		c.progress("%s", term.Paragraph(keystore.ShredLimits))
	}
	return true, nil
}

// yamlText is a key URI as the config file has it: as it is where YAML reads it so, and
// else in double quotes, which know every escape of Go's.
func yamlText(uri string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
			strings.ContainsRune("/._%=?&;@+~:-", r)
	}
	if strings.IndexFunc(uri, func(r rune) bool { return !plain(r) }) < 0 && !strings.HasSuffix(uri, ":") {
		return uri
	}
	return strconv.Quote(uri)
}
