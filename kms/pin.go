package kms

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// mostPIN is the size of the largest file that is taken for a PIN, in bytes.
const mostPIN = 4 << 10

// readPIN returns the PIN that a key URI has in pin-value, or names by pin-source: a path,
// as step-kms writes it, or a file URI (RFC 7512 section 2.4). One line break at the end of
// the file is not of the PIN. given is false where the URI has neither. The error is a
// [*execsigner.Failure].
func readPIN(attributes map[string]string) (pin secret.Text, given bool, err error) {
	if value, ok := attributes["pin-value"]; ok {
		return secret.New(value), true, nil
	}
	source, ok := attributes["pin-source"]
	if !ok {
		return secret.Text{}, false, nil
	}
	if strings.HasPrefix(source, "|") {
		return secret.Text{}, false, &execsigner.Failure{Kind: "invalid-uri",
			Message: "pin-source names a command, which is not run: write the PIN into a file, and pin-source=file:PATH"}
	}
	path := keyuri.FilePath(source)
	if path == "" {
		return secret.Text{}, false, &execsigner.Failure{Kind: "invalid-uri",
			Message: "pin-source is neither a path nor file:PATH"}
	}
	text, err := readSmallFile(path)
	if err != nil {
		return secret.Text{}, false, &execsigner.Failure{Kind: "pin",
			Message: fmt.Sprintf("the PIN cannot be read from %q: %v", path, err)}
	}
	text, _ = strings.CutSuffix(text, "\n")
	text, _ = strings.CutSuffix(text, "\r")
	if text == "" {
		return secret.Text{}, false, &execsigner.Failure{Kind: "pin", Message: fmt.Sprintf("the file %q is empty", path)}
	}
	return secret.New(text), true, nil
}

// readSmallFile reads a regular file, and waits for nobody who writes to a pipe.
func readSmallFile(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", withoutPath(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is no regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, mostPIN+1))
	if err != nil {
		return "", withoutPath(err)
	}
	if len(text) > mostPIN {
		return "", fmt.Errorf("it has more than %d KiB", mostPIN>>10)
	}
	return string(text), nil
}

// withoutPath is an error of the operating system, for messages that name the file.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
