// Package execsigner is for the authors of programs that hold the private key of a GitHub App
// and sign with it, by the exec protocol of docs/signer-protocol.md: ghapp starts the program
// that a key URI exec:PROGRAM names, writes one [Request] to it, and reads one [Response].
//
// In Go such a program is a [Holder] and one call of [Answer]. In another language it is what
// the types here say in JSON.
//
// This package is v0 and may change with any release: docs/compatibility.md.
package execsigner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ProtocolVersion is the version of the exec protocol.
const ProtocolVersion = 1

// The operations of the exec protocol.
const (
	OperationPublicKey = "public-key"
	OperationSign      = "sign"
	OperationImport    = "import"
)

// Request is what a program of the exec protocol reads from standard input: one line
// of JSON, and then the end. docs/signer-protocol.md describes it. The private key of
// [OperationImport] is not one of its fields, so that logging a Request is safe.
type Request struct {
	Version   int    `json:"version"`
	Operation string `json:"operation"`
	// Key is the whole key URI. It may have a PIN in it.
	Key string `json:"key"`
	// Seconds are how long the answer is waited for.
	Seconds int `json:"seconds"`

	// For OperationSign: RS256, what is to be signed, and its SHA-256, for key services
	// that take a digest.
	Algorithm string `json:"algorithm,omitempty"`
	Message   []byte `json:"message,omitempty"`
	Digest    []byte `json:"digest,omitempty"`
}

// Response is what the program writes to standard output: one JSON object that has,
// beside Version, one of the others.
type Response struct {
	Version   int      `json:"version"`
	PublicKey []byte   `json:"public_key,omitempty"` // DER of a SubjectPublicKeyInfo (RFC 5280 section 4.1)
	Signature []byte   `json:"signature,omitempty"`  // RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2)
	Error     *Failure `json:"error,omitempty"`
}

// Failure is why a program has no answer.
type Failure struct {
	// Kind is one of [Kinds]. Any other is taken for "failed".
	Kind string `json:"kind"`
	// Message is one line for people, without a secret.
	Message string `json:"message,omitempty"`
}

// Error makes a Failure an error, for programs that are written in Go.
func (f *Failure) Error() string { return f.Kind + ": " + f.Message }

// Kinds are the kinds of a [Failure]; docs/signer-protocol.md says what they mean.
func Kinds() []string {
	return []string{
		"invalid-uri", "not-found", "key-type", "pin", "denied", "declined", "exists", "unsupported",
		"unavailable", "timeout", "failed",
	}
}

// Holder answers the requests of the exec protocol, for programs that are written in
// Go. An error that is a [*Failure] is told as it is, and any other as "failed".
type Holder interface {
	// PublicKey returns the DER of a SubjectPublicKeyInfo. Here as below, key is the whole
	// key URI.
	PublicKey(ctx context.Context, key string) ([]byte, error)
	// Sign returns the RS256 signature of message, of which digest is the SHA-256.
	Sign(ctx context.Context, key string, message, digest []byte) ([]byte, error)
}

// Importer is a [Holder] that takes keys in. A Holder that takes none answers
// [OperationImport] with "unsupported".
type Importer interface {
	// Import puts a private key at the place that the key URI names, and returns the
	// public key of what is there now, as PublicKey does. privateKey is the DER of a
	// PrivateKeyInfo (PKCS #8, RFC 5208 section 5) with an RSA key, and is overwritten
	// when Import has returned. What is at that place already stays as it is: the error
	// is a [Failure] of the kind "exists".
	Import(ctx context.Context, key string, privateKey []byte) (publicKey []byte, err error)
}

// maxRequest is how much of a request is read, in bytes.
const maxRequest = 1 << 20

// question is a request as it is sent.
type question struct {
	Request
	PrivateKey []byte `json:"private_key,omitempty"` // for OperationImport
}

// Answer reads one request from in, has h answer it before its time has run out, and
// writes the response to out. The error is that of in or out: what h says is in the
// response.
func Answer(ctx context.Context, in io.Reader, out io.Writer, h Holder) error {
	text, err := io.ReadAll(io.LimitReader(in, maxRequest))
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	response := Response{Version: ProtocolVersion}
	var request question
	err = json.Unmarshal(text, &request)
	clear(text)
	switch {
	case err != nil:
		response.Error = &Failure{"failed", "the request is not JSON"}
	case request.Version != ProtocolVersion:
		response.Error = &Failure{"failed", fmt.Sprintf("the request has version %d; this program knows version %d",
			request.Version, ProtocolVersion)}
	default:
		response = request.answer(ctx, h)
	}
	if text, err = json.Marshal(response); err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	return err
}

func (r question) answer(ctx context.Context, h Holder) Response {
	defer clear(r.PrivateKey)
	if r.Seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.Seconds)*time.Second)
		defer cancel()
	}
	response := Response{Version: ProtocolVersion}
	var err error
	switch r.Operation {
	case OperationPublicKey:
		response.PublicKey, err = h.PublicKey(ctx, r.Key)
	case OperationSign:
		response.Signature, err = h.Sign(ctx, r.Key, r.Message, r.Digest)
	case OperationImport:
		importer, can := h.(Importer)
		switch {
		case !can:
			err = &Failure{"unsupported", "this program takes no keys in"}
		case len(r.PrivateKey) == 0:
			err = &Failure{"failed", "the request has no private_key"}
		default:
			response.PublicKey, err = importer.Import(ctx, r.Key, r.PrivateKey)
		}
	default:
		err = &Failure{"failed", "this program does not know the operation"}
	}
	if err == nil {
		return response
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return Response{Version: ProtocolVersion, Error: f}
	}
	kind := "failed"
	if errors.Is(err, context.DeadlineExceeded) {
		kind = "timeout"
	}
	return Response{Version: ProtocolVersion, Error: &Failure{kind, err.Error()}}
}
