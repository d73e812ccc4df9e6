package signer

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
)

// securityNotFound is the exit code of security for an item that is not there
// (errSecItemNotFound, -25300, of which a shell sees the last byte).
const securityNotFound = 44

// fromKeyring asks the login keychain for a generic password.
func (o Options) fromKeyring(ctx context.Context, service, account string) (string, error) {
	found, err := o.keyringProgram(ctx, "/usr/bin/security", "find-generic-password", "-s", service, "-a", account, "-w")
	if exit, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok && exit.ExitCode() == securityNotFound {
		return "", &KeyError{
			Problem: ErrNoKey,
			cure:    `store it: printf 'add-generic-password -s %s -a %s -w %s\n' ` + shellQuote(service) + " " + shellQuote(account) + ` "$(base64 <app.pem | tr -d '\n')" | security -i`,
		}
	}
	if err != nil {
		if found.last != "" {
			err = errors.New(found.last)
		}
		return "", &KeyError{Problem: ErrUnavailable, Err: err, cure: "unlock the keychain: security unlock-keychain"}
	}
	text := strings.TrimSpace(string(found.output))
	// Text of several lines is shown in hexadecimal.
	if plain, err := hex.DecodeString(text); err == nil {
		text = string(plain)
	}
	return text, nil
}
