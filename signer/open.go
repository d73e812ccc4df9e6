package signer

import (
	"context"
	"crypto"
	"errors"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// Signer is a private key, wherever it is. It is safe for concurrent use.
type Signer interface {
	// Sign returns the RS256 signature of message (RFC 7518 section 3.3). The error
	// is a [*KeyError], or that of a context that was cancelled.
	Sign(ctx context.Context, message []byte) ([]byte, error)
	// Public returns an [*rsa.PublicKey]. Behind a name that does not pin the key,
	// such as an alias of a key service, another key may stand one day: Sign then
	// fails once with [ErrChanged], and Public returns that key.
	Public() crypto.PublicKey
	// Fingerprint is that of Public; see the function [Fingerprint].
	Fingerprint() string
}

// Options is what [Open] needs besides the key URI. The zero value is ready.
type Options struct {
	// Environ is the environment, as of [os.Environ]: of the variables that a key URI
	// names, and of programs that are started. Nil: this process's.
	Environ []string
	// Timeout bounds each question to the key's holder: a person may have to
	// touch it. 0: [DefaultTimeout].
	Timeout time.Duration
	// Memory keeps public keys for the next process, which then need not ask for them.
	// Nil: nothing is remembered.
	Memory Memory
	// Notice is called with each line that a program writes to standard error while it
	// works, such as "touch the key", made printable and without secrets. Nil: such
	// lines are dropped.
	Notice func(line string)
}

// DefaultTimeout is how long the holder of a key may take to answer.
const DefaultTimeout = 30 * time.Second

// Memory keeps what is public of keys. The names are 64 hexadecimal digits. An entry
// may be gone at any time.
type Memory interface {
	Get(ctx context.Context, name string) ([]byte, error) // nil: there is none
	Put(ctx context.Context, name string, entry []byte) error
}

// Open returns the private key that a key URI names:
//
//	app.pem, file:///etc/app.pem      a file
//	env:NAME                          an environment variable with the PEM in it
//	keyring:NAME, keyring:SERVICE/NAME  the keyring of the system; the service is ghapp by default
//	ssh-agent:FINGERPRINT, ssh-agent:COMMENT  an ssh-agent; ?socket=PATH names another than SSH_AUTH_SOCK
//	exec:PROGRAM                      a program that speaks the exec protocol of package execsigner
//	awskms:… azurekms:… gcpkms:… cloudkms:… hashivault:… pkcs11:… tpmkms:… yubikey:…   the program [KMSProgram]
//
// What follows the colon is percent-encoded where it has to be. The first three put
// the key into the memory of this process; from the others it never comes.
//
// The public key of those is asked for here, unless Memory has it: then nobody is
// asked for anything before [Signer.Sign]. The error is a [*KeyError], or that of a
// context that was cancelled.
func Open(ctx context.Context, uri string, o Options) (Signer, error) {
	switch scheme := keyuri.Scheme(uri); scheme {
	case "":
		return openFile(uri)
	case "file":
		path := keyuri.FilePath(uri)
		if path == "" {
			return nil, badURI(uri, errors.New("it is no path on this machine"))
		}
		return openFile(path)
	case "env":
		return o.openVariable(uri)
	case "keyring":
		return o.openKeyring(ctx, uri)
	case "ssh-agent":
		return o.openAgent(ctx, uri)
	case "exec":
		return o.openProgram(ctx, uri)
	default:
		if keyuri.OfKMS(scheme) {
			return o.openProgram(ctx, uri)
		}
		return nil, unknownScheme(scheme)
	}
}

func unknownScheme(scheme string) *KeyError {
	e := &KeyError{Problem: errScheme}
	if len(scheme) <= 20 { // what is longer may be anything
		e.Source = "the key URI " + scheme + ":"
	}
	return e
}

// openFile and its like return no *Key in a Signer where there is an error: such a
// Signer would not be nil.
func openFile(path string) (Signer, error) {
	key, err := File(path)
	if err != nil {
		return nil, err
	}
	return key, nil
}

func badURI(uri string, why error) *KeyError {
	return &KeyError{Problem: errURI, Source: keyuri.Shown(uri), Err: why}
}

func (o Options) openVariable(uri string) (Signer, error) {
	name := uri[len("env:"):]
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) || len(name) > 64 {
		return nil, &KeyError{Problem: errURI, Source: "the key URI env:",
			Err: errors.New("what follows is no name of a variable")}
	}
	text := o.variable(name)
	if text == "" {
		return nil, &KeyError{Problem: errUnset, Source: "environment " + name}
	}
	key, err := FromText("environment "+name, text)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// variable is the value of an environment variable, or "".
func (o Options) variable(name string) string {
	if o.Environ == nil {
		return os.Getenv(name)
	}
	for i := len(o.Environ) - 1; i >= 0; i-- {
		if key, value, _ := strings.Cut(o.Environ[i], "="); key == name {
			return value
		}
	}
	return ""
}

func (o Options) timeout() time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return DefaultTimeout
}
