package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

type tokenOptions struct {
	all         bool
	permissions []string
	minLife     time.Duration
	format      string
	output      string
	identity    bool
}

func (c *command) token() *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use:   "token REPO... | token --all-repositories OWNER",
		Short: "Print an installation access token",
		Long: `Prints an installation access token for the repositories named, which all belong
to one owner. It may read their contents and no more, unless --permissions says
otherwise. A token that another process minted is used again while it lives.`,
		Example: `  ghapp token acme/site
  ghapp token acme/site acme/web --permissions contents:write,pull_requests:write
  ghapp token --all-repositories acme --permissions metadata:read --json
  ghapp token acme/site --format env --output /run/deploy/token.env`,
		Args: usage(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.json {
				o.format = "json"
			}
			return c.runToken(cmd, args, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.all, "all-repositories", false, "for every repository of the installation of OWNER")
	flags.StringSliceVar(&o.permissions, "permissions", nil,
		"what the token may do, `NAME:read|write`, or all (default contents:read)")
	flags.DurationVar(&o.minLife, "min-life", 0, "how long it must live at least, up to 59m (default a minute)")
	choose(flags, &o.format, "format", "`text`, json, or env (GH_TOKEN=… lines, as exec sets them)", "text", "json", "env")
	flags.BoolVar(&o.identity, "identity", false,
		"tell as well who the App is in commits, in json and env: two requests more")
	flags.StringVarP(&o.output, "output", "o", "",
		"write to `FILE`, atomically, readable by you alone; a device or a pipe is written to")
	return cmd
}

func (c *command) runToken(cmd *cobra.Command, args []string, o tokenOptions) error {
	if o.identity && o.format == "text" {
		return &fault.UsageError{Err: errors.New("--identity is told in --format json and env")}
	}
	request := ghapp.TokenRequest{MinLife: o.minLife}
	var err error
	if request.Permissions, request.AllPermissions, err = parsePermissions(o.permissions); err != nil {
		return err
	}
	var owner ghapp.RepositoryName
	if o.all {
		if len(args) != 1 {
			return &fault.UsageError{Err: errors.New("--all-repositories takes one owner")}
		}
		request.AllRepositories, request.Installation, owner.Owner = true, args[0], args[0]
	} else {
		request.Repositories = args
		if owner, err = ghapp.ParseRepository(args[0]); err != nil {
			return ownerAlone(args, err)
		}
	}
	session, err := c.apps().Open(cmd.Context(), owner)
	if err != nil {
		return err
	}
	if id := session.Installation(); id != "" {
		request.Installation = id
	}
	token, err := session.App.Token(cmd.Context(), request)
	if err != nil {
		return err
	}
	identity, err := identityOf(cmd.Context(), o.identity, session.App, token)
	if err != nil {
		return err
	}
	print := func(w io.Writer) error { return printToken(w, session.App, token, identity, o.format) }
	if o.output == "" {
		return print(c.Stdout)
	}
	if err := term.WriteSecret(cmd.Context(), o.output, []io.Writer{c.Stdout, c.Stderr}, print); err != nil {
		return notOutput(o.output, err)
	}
	return nil
}

// notOutput is the failure of [term.WriteSecret], with what to do about the directory.
func notOutput(path string, err error) error {
	of, dir := err, filepath.Dir(path)
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Path == path {
		of = e.Err // the path is named once
	}
	failed := fmt.Errorf("write %s: %w", path, of)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint := "its directory is not there: mkdir -p " + text.ShellWord(dir)
		return &fault.ExitError{Code: fault.Failed, Err: failed, Hint: hint}
	case errors.Is(err, fs.ErrPermission):
		hint := "this user may not write there: look at who owns " + dir + ", or name a file elsewhere"
		return &fault.ExitError{Code: fault.Failed, Err: failed, Hint: hint}
	}
	return failed
}

// ownerAlone adds what may be meant where an owner stands in the place of a repository.
func ownerAlone(args []string, err error) error {
	owner, rest, _ := strings.Cut(args[0], "/")
	if _, invalid := ghapp.ParseRepository(owner + "/x"); len(args) > 1 || rest != "" || invalid != nil {
		return err
	}
	hint := "for every repository of an owner: ghapp token --all-repositories " + owner
	return &fault.ExitError{Code: fault.Usage, Err: err, Hint: hint}
}

// parsePermissions reads --permissions. The error is a [*fault.UsageError].
func parsePermissions(list []string) (ghapp.Permissions, bool, error) {
	permissions, all, err := config.ParsePermissions(list)
	if e, ok := errors.AsType[*config.PermissionError](err); ok {
		return nil, false, &fault.UsageError{Err: fmt.Errorf("--permissions: %w", e), Hint: spelling.DidYouMean(e.Meant)}
	}
	return permissions, all, err
}

// identityJSON is who the App is in commits, for programs.
type identityJSON struct {
	Name   string `json:"name"`
	Email  string `json:"email"`
	UserID int64  `json:"user_id"`
}

// tokenJSON is a token for a program that asked for it.
type tokenJSON struct {
	Token        string            `json:"token"`
	ExpiresAt    time.Time         `json:"expires_at"`
	Installation int64             `json:"installation_id"`
	Permissions  ghapp.Permissions `json:"permissions"`
	Repositories []string          `json:"repositories"` // null: all of the installation's
	API          string            `json:"api_url"`
	Identity     *identityJSON     `json:"identity,omitempty"` // with --identity
}

func printToken(w io.Writer, app *ghapp.App, t *ghapp.Token, identity *ghapp.Identity, format string) error {
	switch format {
	case "env":
		// For a shell to read, with eval or source.
		variables := gitsession.TokenVariables(app, t)
		if identity != nil {
			variables = append(variables, gitsession.IdentityVariables(identity, childenv.Lookup(nil))...)
		}
		for _, variable := range variables {
			name, value, _ := strings.Cut(variable, "=")
			if _, err := fmt.Fprintf(w, "%s=%s\n", name, text.ShellWord(value)); err != nil {
				return err
			}
		}
		return nil
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		told := tokenJSON{t.Secret.Reveal(), t.ExpiresAt, t.Installation, t.Permissions, t.Repositories, t.API, nil}
		if identity != nil {
			told.Identity = &identityJSON{identity.Name, identity.Email, identity.UserID}
		}
		return encoder.Encode(told)
	}
	_, err := fmt.Fprintln(w, t.Secret.Reveal())
	return err
}

// identityOf asks for the identity where it is wanted; it is nil where not.
func identityOf(ctx context.Context, wanted bool, app *ghapp.App, token *ghapp.Token) (*ghapp.Identity, error) {
	if !wanted {
		return nil, nil
	}
	return app.Identity(ctx, token)
}
