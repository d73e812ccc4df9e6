package signer

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// securityNotFound is the exit code of security for an item that is not there
// (errSecItemNotFound, -25300, of which a shell sees the last byte).
const securityNotFound = 44

// longestSecurityLine is less than what security reads as one line, in bytes.
const longestSecurityLine = 4000

// security runs the program of the login keychain, whose items are generic passwords.
func (o Options) security(ctx context.Context, input string, args ...string) (answer, error) {
	found, err := o.keyringProgram(ctx, input, "/usr/bin/security", args...)
	if err == nil {
		return found, nil
	}
	if exit, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok && exit.ExitCode() == securityNotFound {
		return found, &KeyError{Problem: ErrNoKey}
	}
	if found.last != "" {
		err = errors.New(found.last)
	}
	return found, &KeyError{Problem: ErrUnavailable, Err: err, hint: "unlock the keychain: security unlock-keychain"}
}

func (o Options) fromKeyring(ctx context.Context, item item) (string, error) {
	found, err := o.security(ctx, "", "find-generic-password", "-s", item.service, "-a", item.account, "-w")
	if e, ok := errors.AsType[*KeyError](err); ok && e.Problem == ErrNoKey {
		e.hint = `store it: printf 'add-generic-password -s %s -a %s -w %s\n' ` + text.ShellWord(item.service) + " " +
			text.ShellWord(item.account) + ` "$(base64 <app.pem | tr -d '\n')" | security -i`
	}
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(found.output))
	// Text of several lines is shown in hexadecimal.
	if plain, err := hex.DecodeString(text); err == nil {
		text = string(plain)
	}
	return text, nil
}

// intoKeyring gives security a command on its standard input: its arguments can be read
// by other users. It refuses an item that is there.
func (o Options) intoKeyring(ctx context.Context, item item, text string) error {
	line := "add-generic-password -s " + securityQuote(item.service) + " -a " + securityQuote(item.account) +
		" -w " + base64.StdEncoding.EncodeToString([]byte(text)) + "\n"
	if len(line) > longestSecurityLine {
		return &KeyError{Problem: errTooLong, Err: errors.New("the program of the keychain takes no key of this length"),
			hint: "keep the key in a file that only you can read"}
	}
	_, err := o.security(ctx, line, "-i")
	return err
}

func (o Options) outOfKeyring(ctx context.Context, item item) error {
	_, err := o.security(ctx, "", "delete-generic-password", "-s", item.service, "-a", item.account)
	return err
}

// securityQuote is a word of a command that security reads.
func securityQuote(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

func (i item) takenHint() string {
	return "take another name, or take that key away first: security delete-generic-password -s " +
		text.ShellWord(i.service) + " -a " + text.ShellWord(i.account)
}
