package signer

import (
	"bytes"
	"context"
	"encoding/base64"
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
// OperationImport is none of its fields: who logs a Request logs no key.
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
	// Kind is one of [Kinds]; whatever else is taken for "failed".
	Kind string `json:"kind"`
	// Message is one line for people, without a secret.
	Message string `json:"message,omitempty"`
}

// Error makes a Failure an error, for programs that are written in Go.
func (f *Failure) Error() string { return f.Kind + ": " + f.Message }

// Kinds are the kinds of a [Failure], and what they mean.
func Kinds() map[string]Problem {
	return map[string]Problem{
		"invalid-uri": ErrURI,
		"not-found":   ErrNoKey,
		"key-type":    ErrAlgorithm,
		"pin":         ErrPIN,
		"denied":      ErrDenied,
		"declined":    ErrDeclined,
		"exists":      ErrExists,
		"unsupported": ErrUnsupported,
		"unavailable": ErrUnavailable,
		"timeout":     ErrTimeout,
		"failed":      ErrFailed,
	}
}

// Holder answers the requests of the exec protocol, for programs that are written in
// Go. An error that is a [*Failure] is told as it is, and any other as "failed".
type Holder interface {
	// PublicKey returns the DER of a SubjectPublicKeyInfo.
	PublicKey(ctx context.Context, key string) ([]byte, error)
	// Sign returns the RS256 signature of message, of which digest is the SHA-256.
	Sign(ctx context.Context, key string, message, digest []byte) ([]byte, error)
}

// Importer is a [Holder] that takes keys in. One that is none answers OperationImport
// with "unsupported".
type Importer interface {
	// Import puts a private key at the place that the key URI names, and returns the
	// public key of what is there now, as PublicKey does. privateKey is the DER of a
	// PrivateKeyInfo (PKCS #8, RFC 5208 section 5) with an RSA key, and is overwritten
	// when Import has returned. What is at that place already stays as it is: the error
	// is a [Failure] of the kind "exists".
	Import(ctx context.Context, key string, privateKey []byte) (publicKey []byte, err error)
}

// question is a request as it is sent.
type question struct {
	Request
	PrivateKey []byte `json:"private_key,omitempty"` // for OperationImport
}

// line is what goes to the program. It is the only copy of the private key that is made:
// the encoder of JSON would keep another one for later.
func (q question) line() ([]byte, error) {
	text, err := json.Marshal(q.Request)
	if err != nil || len(q.PrivateKey) == 0 {
		return append(text, '\n'), err
	}
	const name = `,"private_key":"`
	line := make([]byte, 0, len(text)+len(name)+base64.StdEncoding.EncodedLen(len(q.PrivateKey))+len("\"}\n"))
	line = append(append(line, text[:len(text)-1]...), name...)
	line = base64.StdEncoding.AppendEncode(line, q.PrivateKey)
	return append(line, "\"}\n"...), nil
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
		response.Error = &Failure{"failed", fmt.Sprintf("the request has version %d; this program knows version %d", request.Version, ProtocolVersion)}
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

const (
	maxRequest  = 1 << 20  // bytes that a program reads
	maxResponse = 64 << 10 // bytes that are read of a program; a key of 16384 bits has 3 KiB
)

// parseResponse reads what a program answered to an operation. The error is a
// [*KeyError], whose text has nothing of what was read but a Failure's message.
func parseResponse(text []byte, operation string) ([]byte, error) {
	garbled := func(format string, args ...any) ([]byte, error) {
		return nil, &KeyError{Problem: ErrProtocol, Err: fmt.Errorf(format, args...)}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return garbled("the program said nothing")
	}
	if len(text) > maxResponse {
		return garbled("the program said more than %d KiB", maxResponse>>10)
	}
	var version struct{ Version *int }
	switch err := json.Unmarshal(text, &version); {
	case err != nil:
		return garbled("the program did not answer with one JSON object of the protocol")
	case version.Version == nil:
		return garbled("the answer has no version")
	case *version.Version != ProtocolVersion:
		return garbled("the program speaks version %d of the protocol, and this is version %d", *version.Version, ProtocolVersion)
	}
	var response Response
	if json.Unmarshal(text, &response) != nil {
		return garbled("a part of the answer is not of the type that it is to have")
	}
	if f := response.Error; f != nil {
		problem, ok := Kinds()[f.Kind]
		if !ok {
			problem = ErrFailed
		}
		e := &KeyError{Problem: problem}
		if f.Message != "" {
			e.Err = errors.New(f.Message)
		}
		return nil, e
	}
	value, name := response.PublicKey, "public_key"
	if operation == OperationSign {
		value, name = response.Signature, "signature"
	}
	if len(value) == 0 {
		return garbled("the answer has neither %s nor error", name)
	}
	return value, nil
}
