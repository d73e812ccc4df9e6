package signer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// kinds are the problems that the kinds of an [execsigner.Failure] stand for.
var kinds = map[string]Problem{
	"invalid-uri": errURI,
	"not-found":   ErrNoKey,
	"key-type":    errAlgorithm,
	"pin":         ErrPIN,
	"denied":      ErrDenied,
	"declined":    ErrDeclined,
	"exists":      ErrExists,
	"unsupported": ErrUnsupported,
	"unavailable": ErrUnavailable,
	"timeout":     ErrTimeout,
	"failed":      errFailed,
}

// question is a request as it is sent.
type question struct {
	execsigner.Request
	privateKey []byte // for OperationImport
}

// line is what goes to the program. It is the only copy of the private key that is made:
// the encoder of JSON would keep another one for later.
func (q question) line() ([]byte, error) {
	text, err := json.Marshal(q.Request)
	if err != nil || len(q.privateKey) == 0 {
		return append(text, '\n'), err
	}
	const name = `,"private_key":"`
	line := make([]byte, 0, len(text)+len(name)+base64.StdEncoding.EncodedLen(len(q.privateKey))+len("\"}\n"))
	line = append(append(line, text[:len(text)-1]...), name...)
	line = base64.StdEncoding.AppendEncode(line, q.privateKey)
	return append(line, "\"}\n"...), nil
}

// maxResponse is how much is read of a program, in bytes; a key of 16384 bits has 3 KiB.
const maxResponse = 64 << 10

// parseResponse reads what a program answered to an operation. The error is a
// [*KeyError], whose text has nothing of what was read but a Failure's message.
func parseResponse(text []byte, operation string) ([]byte, error) {
	garbled := func(format string, args ...any) ([]byte, error) {
		return nil, &KeyError{Problem: errProtocol, Err: fmt.Errorf(format, args...)}
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
	case *version.Version != execsigner.ProtocolVersion:
		return garbled("the program speaks version %d of the protocol, and this is version %d",
			*version.Version, execsigner.ProtocolVersion)
	}
	var response execsigner.Response
	if json.Unmarshal(text, &response) != nil {
		return garbled("a part of the answer is not of the type that it is to have")
	}
	if f := response.Error; f != nil {
		problem, ok := kinds[f.Kind]
		if !ok {
			problem = errFailed
		}
		e := &KeyError{Problem: problem}
		if f.Message != "" {
			e.Err = errors.New(f.Message)
		}
		return nil, e
	}
	value, name := response.PublicKey, "public_key"
	if operation == execsigner.OperationSign {
		value, name = response.Signature, "signature"
	}
	if len(value) == 0 {
		return garbled("the answer has neither %s nor error", name)
	}
	return value, nil
}
