// Package agent lets a credential helper ask a process that holds the key.
//
// The process listens on a Unix domain socket in a directory of its own
// ([Listen], [Serve]), or, as the one agent of its user, at a place that is known
// ([SocketPath], [ListenAt], [Inherited]); the helper, which git starts anew for
// every question, asks there ([Ask], or [Dial] and [Client.Ask]). Only processes of the same
// user are heard, and only the same user's process is asked: by the mode of
// directory and socket everywhere but on Windows, where the directory's access
// control list decides, and by the other end's credentials on Linux, macOS and
// FreeBSD.
//
// # Protocol
//
// One exchange per connection: the client sends a frame and gets a frame. A
// frame is one line, which ends in a newline, and a body of so many bytes:
//
//	ghapp-agent/1 WORD LENGTH
//	BODY
//
// A request's word is one of git's operations get, store and erase, and its
// body a description in the format of git-credential, without an empty line at
// the end. Or it is status or stop, with an empty body. The answer's word is one of
//
//	ok       the body is the answer in the same format; empty if there is none; to
//	         status it is JSON
//	refused  the body is the reason: one line of UTF-8, without a newline
//
// The line has at most 64 bytes, the body at most [credential.MaxSize]. A
// client that has asked keeps the connection open until it has the answer: an
// end of file before that means that it no longer waits.
package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/credential"
)

const (
	version = "ghapp-agent/1"
	maxHead = 64 // bytes of a frame's first line, its newline included

	wordOK      = "ok"
	wordRefused = "refused"

	wordStatus = "status"
	wordStop   = "stop"
)

// Why a frame was not taken.
var (
	errVersion = errors.New("not the protocol " + version)
	errFrame   = errors.New("malformed frame")
	errSize    = fmt.Errorf("more than %d bytes", credential.MaxSize)
)

// frame is a request or an answer as it travels.
type frame struct {
	word string
	body []byte
}

func (f frame) writeTo(w io.Writer) error {
	head := version + " " + f.word + " " + strconv.Itoa(len(f.body)) + "\n"
	_, err := w.Write(append([]byte(head), f.body...))
	return err
}

// frameOf returns the frame that carries c, which may be nil.
func frameOf(word string, c *credential.Credential) (frame, error) {
	if c == nil {
		return frame{word: word}, nil
	}
	var body bytes.Buffer
	if err := c.Encode(&body); err != nil {
		return frame{}, err
	}
	return frame{word, body.Bytes()}, nil
}

// readFrame reads one frame, whose end of file comes as io.ErrUnexpectedEOF.
func readFrame(r *bufio.Reader) (frame, error) {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\n")) {
		b, err := r.ReadByte()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return frame{}, err
		}
		if head = append(head, b); len(head) > maxHead {
			return frame{}, errFrame
		}
	}
	fields := strings.Split(strings.TrimSuffix(string(head), "\n"), " ")
	if fields[0] != version {
		return frame{}, errVersion
	}
	if len(fields) != 3 || fields[1] == "" {
		return frame{}, errFrame
	}
	length, err := strconv.ParseUint(fields[2], 10, 32)
	switch {
	case err != nil:
		return frame{}, errFrame
	case length > credential.MaxSize:
		return frame{}, errSize
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	return frame{fields[1], body}, nil
}

// oneLine returns s with every byte that could end a line or move a terminal's
// cursor spelled out.
func oneLine(s string) string {
	var out strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}
