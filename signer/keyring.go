package signer

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/bridge"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/secret"
)

// keyringService is the service of an item in a keyring where the key URI names none.
const keyringService = "ghapp"

// openKeyring reads a key from the keyring of the system. Its text is that of a file.
func (o Options) openKeyring(ctx context.Context, uri string) (Signer, error) {
	item, err := keyringItem(uri)
	if err != nil {
		return nil, err
	}
	key, err := o.readKeyring(ctx, uri, item)
	if err != nil {
		return nil, err
	}
	return key, nil
}

func init() {
	bridge.CheckKeyring = func(ctx context.Context, o any) error { return o.(Options).checkKeyring(ctx) }
}

// checkKeyring proves that the keyring of the system keeps what [Import] gives it, with an
// item that is no secret and that it takes away again. The error is as there.
func (o Options) checkKeyring(ctx context.Context) error {
	text := rand.Text()
	item := item{keyringService, "trial-" + text[:8]}
	uri := "keyring:" + item.account
	err := o.asked(ctx, uri, "store", func(ctx context.Context) error { return o.intoKeyring(ctx, item, text) })
	if err != nil {
		return err
	}
	return errors.Join(
		o.asked(ctx, uri, "read", func(ctx context.Context) error {
			found, err := o.fromKeyring(ctx, item)
			if err == nil && strings.TrimSpace(found) != text {
				err = &KeyError{Problem: errFailed,
					Err: errors.New("the keyring gives another text back than the one that was stored")}
			}
			return err
		}),
		o.asked(context.WithoutCancel(ctx), uri, "delete",
			func(ctx context.Context) error { return o.outOfKeyring(ctx, item) }),
	)
}

// putInKeyring stores a key as PEM, under a key URI keyring:NAME or keyring:SERVICE/NAME. The
// keyring's program gets it by a pipe.
func (o Options) putInKeyring(ctx context.Context, uri string, key *rsa.PrivateKey) error {
	item, err := keyringItem(uri)
	if err != nil {
		return err
	}
	der := x509.MarshalPKCS1PrivateKey(key)
	defer clear(der)
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
	defer clear(text)
	return o.asked(ctx, uri, "store", func(ctx context.Context) error { return o.intoKeyring(ctx, item, string(text)) })
}

// takenHint is what to do about a place where something else is.
func takenHint(uri string) string {
	item, err := keyringItem(uri)
	if err != nil {
		return ""
	}
	return item.takenHint()
}

// item is where a key stands in a keyring.
type item struct{ service, account string }

// keyringItem is the one that a key URI names.
func keyringItem(uri string) (item, error) {
	if keyuri.Scheme(uri) != "keyring" {
		return item{}, badURI(uri, errKeyringForm)
	}
	name, _, err := keyuri.Parts(uri)
	if err != nil {
		return item{}, badURI(uri, err)
	}
	i := item{keyringService, name}
	if service, account, ok := strings.Cut(name, "/"); ok {
		i = item{service, account}
	}
	if i.service == "" || i.account == "" || strings.HasPrefix(i.service, "-") || strings.HasPrefix(i.account, "-") {
		return item{}, badURI(uri, errKeyringForm)
	}
	return i, nil
}

var errKeyringForm = errors.New("it is keyring:NAME or keyring:SERVICE/NAME")

func (o Options) readKeyring(ctx context.Context, uri string, item item) (*Key, error) {
	var text string
	err := o.asked(ctx, uri, "read", func(ctx context.Context) (err error) {
		text, err = o.fromKeyring(ctx, item)
		return err
	})
	if err != nil {
		return nil, err
	}
	return FromText(keyuri.Shown(uri), text)
}

// isOfText reports whether an error is about what was read, and not about the reading.
func isOfText(err error) bool {
	e, ok := errors.AsType[*KeyError](err)
	return ok &&
		!slices.Contains([]Problem{errURI, errNoProgram, ErrNoKey, ErrUnavailable, ErrTimeout, errFailed}, e.Problem)
}

// asked bounds a question to the keyring, and says of its error what the question was
// about.
func (o Options) asked(ctx context.Context, uri, verb string, question func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, o.timeout())
	defer cancel()
	err := question(bounded)
	switch e, known := errors.AsType[*KeyError](err); {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s the key in %s: %w", verb, keyuri.Shown(uri), context.Cause(ctx))
	case bounded.Err() != nil:
		return &KeyError{
			Problem: ErrTimeout, Source: keyuri.Shown(uri), Err: waited(o.timeout()),
			hint: "unlock the keyring: on a machine without a desktop nobody is asked for its password",
		}
	case errors.Is(err, errTooMuch):
		return &KeyError{Problem: errTooLarge, Source: keyuri.Shown(uri)}
	case known:
		e.Source = keyuri.Shown(uri)
		return e
	default:
		return &KeyError{Problem: ErrUnavailable, Source: keyuri.Shown(uri), Err: err}
	}
}

// secretWord is how long a word of what is stored is, in bytes, that the keyring's program
// must not repeat in a message.
const secretWord = 16

// keyringProgram runs the system's own program for its keyring, which reads input and
// no secret from its arguments. It is cheaper than to speak to the keyring: that would
// make this program a twentieth larger for all.
func (o Options) keyringProgram(ctx context.Context, input, path string, args ...string) (answer, error) {
	p := &program{Options: o, secrets: new(scrub.Scrubber)}
	for word := range strings.FieldsSeq(input) {
		if len(word) >= secretWord {
			p.secrets.Add(secret.New(word))
		}
	}
	return p.run(ctx, []byte(input), path, args...)
}
