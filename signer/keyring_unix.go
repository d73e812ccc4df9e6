//go:build unix && !darwin

package signer

import (
	"context"
	"errors"
	"os/exec"
)

// fromKeyring asks the Secret Service (https://specifications.freedesktop.org/secret-service)
// for the item that secret-tool, and other keyring libraries, store with the attributes
// service and username.
func (o Options) fromKeyring(ctx context.Context, service, account string) (string, error) {
	path, err := exec.LookPath("secret-tool")
	if err != nil {
		return "", &KeyError{
			Problem: ErrNoProgram, Err: errors.New("secret-tool is not on PATH"),
			cure: "install it: apt-get install libsecret-tools, dnf install libsecret",
		}
	}
	found, err := o.keyringProgram(ctx, path, "lookup", "service", service, "username", account)
	switch {
	case err == nil && len(found.output) > 0:
		return string(found.output), nil
	case errors.Is(err, errTooMuch):
		return "", err
	case found.last != "":
		return "", &KeyError{
			Problem: ErrUnavailable, Err: errors.New(found.last),
			cure: "unlock the keyring, and run ghapp in the session that it belongs to (DBUS_SESSION_BUS_ADDRESS)",
		}
	}
	return "", &KeyError{
		Problem: ErrNoKey,
		cure:    "store it: secret-tool store --label='GitHub App' service " + shellQuote(service) + " username " + shellQuote(account) + " <app.pem",
	}
}
