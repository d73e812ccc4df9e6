package signer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// keyringService is the service of an item in a keyring where the key URI names none.
const keyringService = "ghapp"

// openKeyring reads a key from the keyring of the system. Its text is that of a file.
func (o Options) openKeyring(ctx context.Context, uri string) (Signer, error) {
	account, _, err := parts(uri)
	if err != nil {
		return nil, badURI(uri, err)
	}
	service := keyringService
	if before, after, ok := strings.Cut(account, "/"); ok {
		service, account = before, after
	}
	if service == "" || account == "" || strings.HasPrefix(service, "-") || strings.HasPrefix(account, "-") {
		return nil, badURI(uri, errors.New("it is keyring:NAME or keyring:SERVICE/NAME"))
	}
	bounded, cancel := context.WithTimeout(ctx, o.timeout())
	defer cancel()
	text, err := o.fromKeyring(bounded, service, account)
	switch e, known := errors.AsType[*KeyError](err); {
	case err == nil:
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, fmt.Errorf("read the key in %s: %w", shown(uri), context.Cause(ctx))
	case bounded.Err() != nil:
		return nil, &KeyError{
			Problem: ErrTimeout, Source: shown(uri), Err: waited(o.timeout()),
			cure: "unlock the keyring: on a machine without a desktop nobody is asked for its password",
		}
	case errors.Is(err, errTooMuch):
		return nil, &KeyError{Problem: ErrTooLarge, Source: shown(uri)}
	case known:
		e.Source = shown(uri)
		return nil, e
	default:
		return nil, &KeyError{Problem: ErrUnavailable, Source: shown(uri), Err: err}
	}
	key, err := FromText(shown(uri), text)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// keyringProgram runs the system's own program for its keyring. It is cheaper than to
// speak to the keyring: that would make this program a twentieth larger for all.
func (o Options) keyringProgram(ctx context.Context, path string, args ...string) (answer, error) {
	p := &program{Options: o, secrets: new(scrub.Scrubber)}
	return p.run(ctx, nil, path, args...)
}
