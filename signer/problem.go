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
	ErrEmpty     Problem = "empty"
	ErrUnknown   Problem = "no PEM private key in it"
	ErrFirstLine Problem = "only the first line of a PEM file"
	ErrTruncated Problem = "incomplete"                                // an armour line or a part of the base64 is missing
	ErrDamaged   Problem = "damaged"                                   // armour, base64 or ASN.1
	ErrNoArmour  Problem = "base64 without its BEGIN and END lines"    //
	ErrDER       Problem = "binary DER, not PEM"                       //
	ErrSeveral   Problem = "several private keys, and one is expected" // the same key twice is none of these
)

// The problems of the key.
const (
	ErrEncrypted   Problem = "encrypted with a passphrase"
	ErrEC          Problem = "an EC key, not an RSA key"
	ErrEd25519     Problem = "an Ed25519 key, not an RSA key"
	ErrDSA         Problem = "a DSA key, not an RSA key"
	ErrAlgorithm   Problem = "not an RSA key"             // of yet another algorithm
	ErrInvalid     Problem = "not a valid RSA key"        // its numbers do not belong together
	ErrTooShort    Problem = "shorter than 2048 bits"     // Err says how long
	ErrTooLong     Problem = "longer than 16384 bits"     // Err says how long
	ErrOpenSSH     Problem = "OpenSSH's format, not PEM"  //
	ErrPuTTY       Problem = "PuTTY's format, not PEM"    //
	ErrJWK         Problem = "a JSON Web Key, not PEM"    //
	ErrPublicKey   Problem = "a public key"               //
	ErrCertificate Problem = "a certificate, without key" // or a request for one
)

// The problems of a value that is no key at all.
const (
	ErrFingerprint  Problem = "a key's fingerprint, not the key"
	ErrClientSecret Problem = "a client secret, not a private key" // 40 hexadecimal digits
	ErrAppID        Problem = "an App's ID, not its private key"   // App ID or client ID
	ErrToken        Problem = "an access token, not a private key" // or a JSON Web Token
	ErrPath         Problem = "a path, not the text of a key"
	ErrUnexpanded   Problem = "a variable's name, not its value" // ${{ secrets.KEY }}, $KEY, $(cat app.pem)
)

// The problems of a file.
const (
	ErrMissing    Problem = "missing"
	ErrDirectory  Problem = "a directory"
	ErrNotRegular Problem = "not a regular file" // a pipe, a socket, a device
	ErrUnreadable Problem = "cannot be read"     // Err says why
	ErrTooLarge   Problem = "larger than 64 KiB"
	ErrNotPath    Problem = "not a path" // the key itself, most likely
)

// The problems of a key URI, and of whoever holds the key that it names.
const (
	ErrScheme         Problem = "no kind of key URI that is known"
	ErrURI            Problem = "not a key URI that can be read" // Err says why
	ErrUnset          Problem = "not set"                        // or empty
	ErrNoAgent        Problem = "no ssh-agent is named"
	ErrNoProgram      Problem = "the program that reaches it cannot be started"
	ErrNoKey          Problem = "there is no such key"
	ErrSeveralKeys    Problem = "several keys have that name"
	ErrPIN            Problem = "the PIN is missing, wrong or blocked"
	ErrDenied         Problem = "access is denied"   // the credentials have expired, were revoked, or have no right to sign
	ErrDeclined       Problem = "signing is refused" // by a person who was asked, or by the holder's policy
	ErrFailed         Problem = "signing failed"     // for another reason, which Err tells
	ErrNotTaken       Problem = "the key is not taken in"
	ErrExists         Problem = "another key is there already"
	ErrUnsupported    Problem = "its holder cannot do that"
	ErrProtocol       Problem = "the answer cannot be understood"
	ErrWrongSignature Problem = "the signature does not belong to the public key"
	ErrChanged        Problem = "it is another key than before" // see [Signer].Public
	ErrUnavailable    Problem = "it cannot be reached"          // Temporary
	ErrTimeout        Problem = "no answer in time"             // Temporary
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
	hint string // where whoever found the problem knows better
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
	file, made := "KEY", "KEY.new"
	if e.path != "" {
		file, made = text.ShellWord(e.path), text.ShellWord(e.path+".new")
	}
	if e.hint != "" {
		return e.hint
	}
	switch e.Problem {
	case ErrEmpty, ErrTruncated, ErrNoArmour:
		return whole
	case ErrUnknown:
		return "a webhook secret or a password is no key, and the private key is a .pem file: " + download
	case ErrFirstLine:
		return "an unquoted variable or a .env file may keep one line only: write the key as one line in double quotes " +
			`with \n between its lines, or give its file instead`
	case ErrDamaged:
		return "copy the file again as it was downloaded, or " + download
	case ErrInvalid, ErrTooShort, ErrTooLong:
		return download
	case ErrDER:
		return "openssl pkey -inform DER -in " + file + " -out " + made
	case ErrSeveral:
		return "leave only the key whose fingerprint the App's settings page shows"
	case ErrEncrypted:
		return "openssl pkey -in " + file + " -out " + made + "   # asks for the passphrase"
	case ErrEC, ErrEd25519, ErrDSA, ErrAlgorithm:
		return onlyRSA
	case ErrOpenSSH:
		return "cp " + file + " " + made + " && ssh-keygen -p -m PEM -N '' -f " + made + "   # if it is the App's key; a key made for logging in is not"
	case ErrPuTTY:
		return "puttygen " + file + " -O private-openssh -o " + made + "   # if it is the App's key; a key made for logging in is not"
	case ErrJWK:
		return "convert it to PEM, or " + download
	case ErrPublicKey, ErrCertificate:
		return "the private key is another file; if it is gone, " + download
	case ErrFingerprint, ErrClientSecret, ErrToken:
		return "the private key is a .pem file: " + download
	case ErrAppID:
		return "give the ID as the App's ID; the private key is a .pem file: " + download
	case ErrPath:
		return "give the path where a path is expected, or the text of that file here"
	case ErrUnexpanded:
		return "whatever should have put the value there did not: check that the secret exists, and the quotes: a shell fills in nothing between single ones"
	case ErrMissing:
		return "check the path; if the file is gone, " + download
	case ErrDirectory:
		return "give the path of the .pem file in it"
	case ErrNotRegular:
		return "to take a key from a pipe, read it and pass it as text"
	case ErrUnreadable:
		return "let the user who runs this read the file: ls -l " + file
	case ErrTooLarge:
		return "a key of a GitHub App has about 2 KiB: check what is named"
	case ErrNotPath:
		return "give the path of the .pem file; the text of a key belongs where text is expected"
	case ErrScheme:
		return "known are " + strings.Join(keyuri.Schemes(), ":, ") + ":; a file whose name has a colon is named ./NAME"
	case ErrURI:
		return "write the key URI as the manual has it, with percent-encoding for %, ? and what is not printable"
	case ErrUnset:
		return "set the variable to the PEM, in the environment of this very process; a secret that a CI system does not hand over is empty"
	case ErrNoAgent:
		return "start an agent, eval $(ssh-agent), or name its socket: ssh-agent:NAME?socket=/run/user/1000/gnupg/S.gpg-agent.ssh"
	case ErrNoProgram:
		return "check the program's name and that it can be executed"
	case ErrNoKey:
		return "check the key's name, and that its holder has been given the key"
	case ErrSeveralKeys:
		return "name the key by its fingerprint"
	case ErrPIN:
		return "check the PIN before the next attempt: a device blocks itself after a few wrong ones"
	case ErrDenied:
		return "give the identity that ghapp runs as the right to read the public key and to sign with it"
	case ErrDeclined:
		return "confirm when the holder of the key asks"
	case ErrFailed:
		return "the reason above is all that the key's holder says"
	case ErrNotTaken:
		return "the reason above is all that its holder says, which may be older than ghapp, or have no room"
	case ErrExists:
		return "nothing is overwritten: give the key another name, or remove what is there with the tools of its holder"
	case ErrUnsupported:
		return "put the key there with the tools of its holder, or have it kept elsewhere: docs/signer-protocol.md says where ghapp can put one"
	case ErrProtocol, ErrWrongSignature:
		return "the program or agent does not do what it is to do: docs/signer-protocol.md says what that is"
	case ErrChanged:
		return "run the command again: the new key is known now"
	case ErrUnavailable:
		return "try again when the key's holder can be reached; tokens that are in the cache serve on"
	case ErrTimeout:
		return "check whether the key's holder waits for a person or for a network; --key-timeout gives it longer"
	}
	return ""
}
