package agentproto

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/credential"
)

const (
	version = "ghapp-agent/1"
	maxHead = 64 // bytes of a frame's first line, its newline included
)

// The words of an answer.
const (
	OK      = "ok"
	Refused = "refused"
)

// Why a frame was not taken.
var (
	ErrVersion = errors.New("not the protocol " + version)
	ErrFrame   = errors.New("malformed frame")
	ErrSize    = errors.New("more than " + strconv.Itoa(credential.MaxSize) + " bytes")
)

// Frame is a request or an answer as it travels.
type Frame struct {
	Word string
	Body []byte
}

// Of returns the frame that carries c, which may be nil.
func Of(word string, c *credential.Credential) (Frame, error) {
	if c == nil {
		return Frame{Word: word}, nil
	}
	var body bytes.Buffer
	if err := c.Encode(&body); err != nil {
		return Frame{}, err
	}
	return Frame{word, body.Bytes()}, nil
}

// Write writes the frame in one piece.
func (f Frame) Write(w io.Writer) error {
	head := version + " " + f.Word + " " + strconv.Itoa(len(f.Body)) + "\n"
	_, err := w.Write(append([]byte(head), f.Body...))
	return err
}

// Read reads one frame, whose end of file comes as io.ErrUnexpectedEOF.
func Read(r *bufio.Reader) (Frame, error) {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\n")) {
		b, err := r.ReadByte()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return Frame{}, err
		}
		if head = append(head, b); len(head) > maxHead {
			return Frame{}, ErrFrame
		}
	}
	fields := strings.Split(strings.TrimSuffix(string(head), "\n"), " ")
	if fields[0] != version {
		return Frame{}, ErrVersion
	}
	if len(fields) != 3 || fields[1] == "" {
		return Frame{}, ErrFrame
	}
	length, err := strconv.ParseUint(fields[2], 10, 32)
	switch {
	case err != nil:
		return Frame{}, ErrFrame
	case length > credential.MaxSize:
		return Frame{}, ErrSize
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Frame{fields[1], body}, nil
}
