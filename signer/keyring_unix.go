//go:build unix && !darwin

package signer

import (
	"context"
	"errors"
	"os/exec"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// The Secret Service (https://specifications.freedesktop.org/secret-service) is asked for
// the item that secret-tool, and other keyring libraries, store with the attributes
// service and username.

// secretTool runs secret-tool, which reads what it stores from its standard input to the
// end (secret-tool(1)).
func (o Options) secretTool(ctx context.Context, input, verb string, words ...string) (answer, error) {
	path, err := exec.LookPath("secret-tool")
	if err != nil {
		return answer{}, &KeyError{
			Problem: errNoProgram, Err: errors.New("secret-tool is not on PATH"),
			hint: "install it: apt-get install libsecret-tools, dnf install libsecret",
		}
	}
	found, err := o.keyringProgram(ctx, input, path, append([]string{verb}, words...)...)
	if err != nil && found.last != "" {
		err = closedKeyring(found.last)
	}
	return found, err
}

// closedKeyring is a keyring that cannot be used.
func closedKeyring(why string) error {
	return &KeyError{
		Problem: ErrUnavailable, Err: errors.New(why),
		hint: "unlock the keyring, and run ghapp in the session that it belongs to (DBUS_SESSION_BUS_ADDRESS)",
	}
}

// hasItem reports whether there is an item, which may be locked.
func (o Options) hasItem(ctx context.Context, item item) bool {
	o.Notice = nil // it tells the attributes
	found, err := o.secretTool(ctx, "", "search", item.attributes()...)
	return err == nil && len(found.output) > 0
}

func (o Options) fromKeyring(ctx context.Context, item item) (string, error) {
	found, err := o.secretTool(ctx, "", "lookup", item.attributes()...)
	_, known := errors.AsType[*KeyError](err)
	switch {
	case err == nil && len(found.output) > 0:
		return string(found.output), nil
	case errors.Is(err, errTooMuch), known:
		return "", err
	}
	// Where nobody is there to be asked for a password, a locked item is silence too.
	if o.hasItem(ctx, item) {
		return "", closedKeyring("it is locked")
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return "", &KeyError{
		Problem: ErrNoKey,
		hint: "store it: ghapp keys import app.pem --to keyring:NAME, " +
			"or secret-tool store --label='GitHub App' " + item.words() + " <app.pem",
	}
}

func (o Options) intoKeyring(ctx context.Context, item item, text string) error {
	_, err := o.secretTool(ctx, text, "store",
		append([]string{"--label=GitHub App " + item.account}, item.attributes()...)...)
	return err
}

func (o Options) outOfKeyring(ctx context.Context, item item) error {
	_, err := o.secretTool(ctx, "", "clear", item.attributes()...)
	return err
}

func (i item) attributes() []string { return []string{"service", i.service, "username", i.account} }

// words are the attributes for a shell.
func (i item) words() string {
	return "service " + text.ShellWord(i.service) + " username " + text.ShellWord(i.account)
}

func (i item) takenHint() string {
	return "take another name, or take that key away first: secret-tool clear " + i.words()
}
