package signer

import (
	"strings"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Problem is what is wrong with a private key. Callers branch on it with
// [errors.Is]:
//
//	errors.Is(err, signer.ErrEncrypted)
type Problem string

// The problems of the text.
const (
	errEmpty     Problem = "empty"
	errUnknown   Problem = "no PEM private key in it"
	errFirstLine Problem = "only the first line of a PEM file"
	errTruncated Problem = "incomplete"                                // an armour line or a part of the base64 is missing
	errDamaged   Problem = "damaged"                                   // armour, base64 or ASN.1
	errNoArmour  Problem = "base64 without its BEGIN and END lines"    //
	errDER       Problem = "binary DER, not PEM"                       //
	errSeveral   Problem = "several private keys, and one is expected" // the same key twice is none of these
)

// The problems of the key.
const (
	// ErrEncrypted is a private key that has to be decrypted first.
	ErrEncrypted   Problem = "encrypted with a passphrase"
	errEC          Problem = "an EC key, not an RSA key"
	errEd25519     Problem = "an Ed25519 key, not an RSA key"
	errDSA         Problem = "a DSA key, not an RSA key"
	errAlgorithm   Problem = "not an RSA key"             // of yet another algorithm
	errInvalid     Problem = "not a valid RSA key"        // its numbers do not belong together
	errTooShort    Problem = "shorter than 2048 bits"     // Err says how long
	errTooLong     Problem = "longer than 16384 bits"     // Err says how long
	errOpenSSH     Problem = "OpenSSH's format, not PEM"  //
	errPuTTY       Problem = "PuTTY's format, not PEM"    //
	errJWK         Problem = "a JSON Web Key, not PEM"    //
	errPublicKey   Problem = "a public key"               //
	errCertificate Problem = "a certificate, without key" // or a request for one
)

// The problems of a value that is no key at all.
const (
	errFingerprint  Problem = "a key's fingerprint, not the key"
	errClientSecret Problem = "a client secret, not a private key" // 40 hexadecimal digits
	errAppID        Problem = "an App's ID, not its private key"   // App ID or client ID
	errToken        Problem = "an access token, not a private key" // or a JSON Web Token
	errPath         Problem = "a path, not the text of a key"
	errUnexpanded   Problem = "a variable's name, not its value" // ${{ secrets.KEY }}, $KEY, $(cat app.pem)
)

// The problems of a file.
const (
	// ErrMissing means that the file of the key is not there.
	ErrMissing    Problem = "missing"
	errDirectory  Problem = "a directory"
	errNotRegular Problem = "not a regular file" // a pipe, a socket, a device
	errUnreadable Problem = "cannot be read"     // Err says why
	errTooLarge   Problem = "larger than 64 KiB"
	errNotPath    Problem = "not a path" // the key itself, most likely
)

// The problems of a key URI, and of the holder of the key that it names.
const (
	errScheme    Problem = "no kind of key URI that is known"
	errURI       Problem = "not a key URI that can be read" // Err says why
	errUnset     Problem = "not set"                        // or empty
	errNoAgent   Problem = "no ssh-agent is named"
	errNoProgram Problem = "the program that reaches it cannot be started"
	// ErrNoKey means that the holder has no key of that name.
	ErrNoKey       Problem = "there is no such key"
	errSeveralKeys Problem = "several keys have that name"
	// ErrPIN is not to be tried again as it is: a device blocks itself after a few wrong PINs.
	ErrPIN Problem = "the PIN is missing, wrong or blocked"
	// ErrDenied means that the credentials have expired, were revoked, or have no right to sign.
	ErrDenied Problem = "access is denied"
	// ErrDeclined means that a person who was asked, or the holder's policy, has refused to sign.
	ErrDeclined Problem = "signing is refused"
	errFailed   Problem = "signing failed" // for another reason, which Err tells
	errNotTaken Problem = "the key is not taken in"
	// ErrExists means that a key was to be put where another key is, which stays.
	ErrExists Problem = "another key is there already"
	// ErrUnsupported means that the holder does not do what was asked of it, such as take a key in.
	ErrUnsupported    Problem = "its holder cannot do that"
	errProtocol       Problem = "the answer cannot be understood"
	errWrongSignature Problem = "the signature does not belong to the public key"
	// ErrChanged means that another key stands behind the same name by now; see [Signer].Public.
	ErrChanged Problem = "it is another key than before"
	// ErrUnavailable means that the holder cannot be reached. It is Temporary.
	ErrUnavailable Problem = "it cannot be reached"
	// ErrTimeout means that the holder did not answer in time. It is Temporary.
	ErrTimeout Problem = "no answer in time"
)

// Temporary reports whether it may go better later, with nothing changed here.
func (p Problem) Temporary() bool { return p == ErrUnavailable || p == ErrTimeout }

// Error makes every Problem a target of [errors.Is].
func (p Problem) Error() string { return string(p) }

// KeyError says why there is no key, or no signature. It holds nothing of what was
// read, and no secret of a key URI.
type KeyError struct {
	Problem Problem
	// Source is where the key was looked for, "file /etc/app.pem", a key URI without
	// its secrets, or what the caller of [FromText] named; empty for [Parse].
	Source string
	// Err adds to Problem: the operating system's error, the length of the key.
	// It may be nil.
	Err error

	path string // of the file, for Hint
	hint string // where the place that found the problem knows better
}

// Error is one line: whose key cannot be used, and why.
func (e *KeyError) Error() string {
	var b strings.Builder
	b.WriteString("cannot use the private key")
	if e.Source != "" {
		b.WriteString(" in " + e.Source)
	}
	b.WriteString(": " + string(e.Problem))
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns Err.
func (e *KeyError) Unwrap() error { return e.Err }

// Is reports whether target is e's Problem.
func (e *KeyError) Is(target error) bool {
	problem, ok := target.(Problem)
	return ok && problem == e.Problem
}

const (
	download = "make a key on the App's settings page (Private keys, Generate a private key) and use the file it downloads"
	whole    = "copy the whole file, from its BEGIN line to its END line"
	onlyRSA  = "GitHub Apps sign with RSA: " + download
)

// Hint is one line: what to do next, a command if there is one. Commands
// leave the file as it is and write a new one beside it.
func (e *KeyError) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	file, made := "KEY", "KEY.new"
	if e.path != "" {
		file, made = text.ShellWord(e.path), text.ShellWord(e.path+".new")
	}
	return strings.NewReplacer("{file}", file, "{new}", made).Replace(meanings()[e.Problem].hint)
}

// Code is a short name of a Problem, such as key-encrypted, which stays where its words
// become better ones. It is empty for a Problem that is not of this package.
func (p Problem) Code() string { return meanings()[p].code }

// meaning is what there is to say of a [Problem] besides its words.
type meaning struct {
	code string // see [Problem.Code]
	hint string // see [KeyError.Hint]; {file} is the file of the key, {new} the one beside it
}

// meanings has every Problem; a test holds it against the constants.
func meanings() map[Problem]meaning {
	return map[Problem]meaning{
		errEmpty: {"key-empty", whole},
		errUnknown: {"key-not-pem",
			"a webhook secret or a password is no key, and the private key is a .pem file: " + download},
		errFirstLine: {"key-first-line-only",
			`an unquoted variable or a .env file may keep one line only: write the key as one line in ` +
				`double quotes with \n between its lines, or give its file instead`},
		errTruncated: {"key-incomplete", whole},
		errDamaged:   {"key-damaged", "copy the file again as it was downloaded, or " + download},
		errNoArmour:  {"key-without-armour", whole},
		errDER:       {"key-is-der", "openssl pkey -inform DER -in {file} -out {new}"},
		errSeveral:   {"several-keys", "leave only the key whose fingerprint the App's settings page shows"},
		ErrEncrypted: {"key-encrypted", "openssl pkey -in {file} -out {new}   # asks for the passphrase"},
		errEC:        {"key-not-rsa", onlyRSA},
		errEd25519:   {"key-not-rsa", onlyRSA},
		errDSA:       {"key-not-rsa", onlyRSA},
		errAlgorithm: {"key-not-rsa", onlyRSA},
		errInvalid:   {"key-invalid", download},
		errTooShort:  {"key-too-short", download},
		errTooLong:   {"key-too-long", download},
		errOpenSSH: {"key-is-openssh",
			"cp {file} {new} && ssh-keygen -p -m PEM -N '' -f {new}   # if it is the App's key; a key " +
				"made for logging in is not"},
		errPuTTY: {"key-is-putty",
			"puttygen {file} -O private-openssh -o {new}   # if it is the App's key; a key made for " +
				"logging in is not"},
		errJWK:          {"key-is-jwk", "convert it to PEM, or " + download},
		errPublicKey:    {"key-is-public", "the private key is another file; if it is gone, " + download},
		errCertificate:  {"key-is-certificate", "the private key is another file; if it is gone, " + download},
		errFingerprint:  {"key-is-fingerprint", "the private key is a .pem file: " + download},
		errClientSecret: {"key-is-client-secret", "the private key is a .pem file: " + download},
		errAppID:        {"key-is-app-id", "give the ID as the App's ID; the private key is a .pem file: " + download},
		errToken:        {"key-is-token", "the private key is a .pem file: " + download},
		errPath:         {"key-is-path", "give the path where a path is expected, or the text of that file here"},
		errUnexpanded: {"key-is-unexpanded",
			"whatever should have put the value there did not: check that the secret exists, and the " +
				"quotes: a shell fills in nothing between single ones"},
		ErrMissing:    {"key-missing", "check the path; if the file is gone, " + download},
		errDirectory:  {"key-is-directory", "give the path of the .pem file in it"},
		errNotRegular: {"key-not-regular-file", "to take a key from a pipe, read it and pass it as text"},
		errUnreadable: {"key-unreadable", "let the user who runs this read the file: ls -l {file}"},
		errTooLarge:   {"key-too-large", "a key of a GitHub App has about 2 KiB: check what is named"},
		errNotPath: {"key-not-path",
			"give the path of the .pem file; the text of a key belongs where text is expected"},
		errScheme: {"key-uri-unknown",
			"known are " + strings.Join(keyuri.Schemes(), ":, ") + ":; a file whose name has a colon is named ./NAME"},
		errURI: {"key-uri-invalid",
			"write the key URI as the manual has it, with percent-encoding for %, ? and what is not " +
				"printable"},
		errUnset: {"key-not-set",
			"set the variable to the PEM, in the environment of this very process; a secret that a CI " +
				"system does not hand over is empty"},
		errNoAgent: {"key-no-agent", "start an agent, eval $(ssh-agent), or name its socket: " +
			"ssh-agent:NAME?socket=/run/user/1000/gnupg/S.gpg-agent.ssh"},
		errNoProgram:   {"key-no-program", "check the program's name and that it can be executed"},
		ErrNoKey:       {"key-not-found", "check the key's name, and that its holder has been given the key"},
		errSeveralKeys: {"several-keys", "name the key by its fingerprint"},
		ErrPIN: {"key-pin",
			"check the PIN before the next attempt: a device blocks itself after a few wrong ones"},
		ErrDenied: {"key-access-denied",
			"give the identity that ghapp runs as the right to read the public key and to sign with it"},
		ErrDeclined: {"signing-declined", "confirm when the holder of the key asks"},
		errFailed:   {"signing-failed", "the reason above is all that the key's holder says"},
		errNotTaken: {"key-not-taken-in",
			"the reason above is all that its holder says, which may be older than ghapp, or have no room"},
		ErrExists: {"key-exists",
			"nothing is overwritten: give the key another name, or remove what is there with the tools " +
				"of its holder"},
		ErrUnsupported: {"key-holder-cannot",
			"put the key there with the tools of its holder, or have it kept elsewhere: " +
				"docs/signer-protocol.md says where ghapp can put one"},
		errProtocol: {"key-holder-protocol",
			"the program or agent does not do what it is to do: docs/signer-protocol.md says what that is"},
		errWrongSignature: {"wrong-signature",
			"the program or agent does not do what it is to do: docs/signer-protocol.md says what that is"},
		ErrChanged: {"key-changed", "run the command again: the new key is known now"},
		ErrUnavailable: {"key-unavailable",
			"try again when the key's holder can be reached; tokens that are in the cache serve on"},
		ErrTimeout: {"key-timed-out",
			"check whether the key's holder waits for a person or for a network; --key-timeout gives it " +
				"longer"},
	}
}
