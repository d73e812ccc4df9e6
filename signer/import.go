package signer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// ImportOptions is what [Import] needs besides the key and where it is to go. The zero
// value is ready.
type ImportOptions struct {
	// Options are those of [Open]. A Timeout of 0 is three minutes for a
	// program that takes a key in. Memory is not used: the key's holder is asked.
	Options
	// Confirm has an ssh-agent ask a person before each signature, and Lifetime, counted
	// in whole seconds, has it forget the key after that time; 0: when it ends. Other
	// holders know neither.
	Confirm  bool
	Lifetime time.Duration
}

// importTimeout is how long a program may take to put a key where it belongs: key
// services make keys for that first, and wrap and check what comes.
const importTimeout = 3 * time.Minute

// Import puts a private key where a key URI says, keyring:, ssh-agent:, exec: or one of
// [KMSProgram]'s, and returns it from there: it has signed a random message, and the
// signature belongs to key.
//
// What is at that place stays: another key is [ErrExists], and where it is the same one
// already, nothing is put there. put says whether something was, or may have been: with
// an error too, after which the place is to be looked at. The error is a [*KeyError], or
// that of a context that was cancelled.
func Import(ctx context.Context, key *Key, uri string, o ImportOptions) (held Signer, put bool, err error) {
	if key.private == nil {
		return nil, false, &KeyError{Problem: errEmpty}
	}
	store, err := o.store(uri)
	if err != nil {
		return nil, false, err
	}
	o.Memory = nil
	held, err = Open(ctx, uri, o.Options)
	switch {
	case err == nil && held.Fingerprint() != key.fingerprint:
		return nil, false, &KeyError{Problem: ErrExists, Source: keyuri.Shown(uri),
			Err: errors.New("its fingerprint is " + held.Fingerprint()), hint: takenHint(uri)}
	case keyuri.Scheme(uri) == "keyring" && isOfText(err):
		there, _ := errors.AsType[*KeyError](err)
		return nil, false, &KeyError{Problem: ErrExists, Source: keyuri.Shown(uri), Err: there.Problem,
			hint: takenHint(uri)}
	case errors.Is(err, ErrNoKey):
		if err := store(ctx, key.private()); err != nil {
			e, known := errors.AsType[*KeyError](err)
			put = !known || !slices.Contains(untouched, e.Problem)
			if known && (e.Problem == errFailed || e.Problem == ErrDeclined) {
				e.Problem = errNotTaken
			}
			return nil, put, err
		}
		put = true
		held, err = Open(ctx, uri, o.Options)
	}
	if err == nil {
		err = proof(ctx, held, key, keyuri.Shown(uri))
	}
	if err != nil {
		return nil, put, err
	}
	return held, put, nil
}

// untouched are the problems after which nothing was put anywhere: the holder
// that was asked has said no before it began.
var untouched = []Problem{errURI, errNoProgram, errNoAgent, ErrUnsupported, ErrExists, ErrPIN,
	ErrDenied, ErrDeclined, errAlgorithm}

// proof has the holder of a key sign a message that nobody has signed before.
func proof(ctx context.Context, held Signer, key *Key, uri string) error {
	message := make([]byte, 32)
	_, _ = rand.Read(message) // it never fails (package crypto/rand)
	signature, err := held.Sign(ctx, message)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(message)
	if rsa.VerifyPKCS1v15(key.public, crypto.SHA256, digest[:], signature) != nil {
		return &KeyError{Problem: errWrongSignature, Source: uri}
	}
	return nil
}

// store returns what puts a key where a key URI says. Its errors are those of Import.
func (o ImportOptions) store(uri string) (func(context.Context, *rsa.PrivateKey) error, error) {
	scheme := keyuri.Scheme(uri)
	cannot := func(why string) error {
		return &KeyError{Problem: ErrUnsupported, Source: keyuri.Shown(uri), Err: errors.New(why)}
	}
	if (o.Confirm || o.Lifetime != 0) && scheme != "ssh-agent" {
		return nil, cannot("only an ssh-agent asks for confirmation, and forgets after a time")
	}
	switch {
	case scheme == "", scheme == "file":
		return nil, &KeyError{Problem: ErrUnsupported, Source: "the given path",
			Err: errors.New("a key in a file is copied like any other")}
	case scheme == "env":
		return nil, cannot("a variable lasts no longer than its process")
	case scheme == "keyring":
		return func(ctx context.Context, key *rsa.PrivateKey) error { return o.putInKeyring(ctx, uri, key) }, nil
	case scheme == "ssh-agent":
		agent, err := o.agent(uri)
		if err != nil {
			return nil, err
		}
		constraints, err := o.constraints()
		if err != nil {
			return nil, badURI(uri, err)
		}
		return func(ctx context.Context, key *rsa.PrivateKey) error {
			return o.bounded(ctx, uri, o.timeout(), func(ctx context.Context) error { return agent.put(ctx, key, constraints) })
		}, nil
	case scheme == "exec", keyuri.OfKMS(scheme):
		options := o.Options
		if options.Timeout == 0 {
			options.Timeout = importTimeout
		}
		program, err := options.program(uri)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, key *rsa.PrivateKey) error {
			return o.bounded(ctx, uri, options.Timeout, func(ctx context.Context) error { return program.put(ctx, key) })
		}, nil
	}
	return nil, unknownScheme(scheme)
}

// bounded runs put for a time, and explains its error.
func (o ImportOptions) bounded(ctx context.Context, uri string, timeout time.Duration,
	put func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := put(bounded); err != nil {
		return (&remote{uri: keyuri.Shown(uri), timeout: timeout}).explain(ctx, bounded, err)
	}
	return nil
}

// constraints are those that an ssh-agent is to put on a key.
func (o ImportOptions) constraints() ([]byte, error) {
	var c []byte
	if o.Lifetime != 0 {
		seconds := o.Lifetime / time.Second
		if seconds < 1 || seconds > math.MaxUint32 {
			return nil, errors.New("a key lives for a second at least")
		}
		c = binary.BigEndian.AppendUint32(append(c, agentConstrainLifetime), uint32(seconds))
	}
	if o.Confirm {
		c = append(c, agentConstrainConfirm)
	}
	return c, nil
}
