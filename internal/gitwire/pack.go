package gitwire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// packReader reads the answer to a fetch and gives the pack in it to w.
type packReader struct {
	*question
	want Request
	w    io.Writer

	began bool  // the pack has
	bytes int64 // of the pack, that w has got

	said int64  // bytes of progress
	line []byte // of progress, that has not ended
}

// The sidebands (gitprotocol-v2(5), "packfile").
const (
	packBand     = 1
	progressBand = 2
	errorBand    = 3
)

// read reads the sections of an answer. Of what was asked for only the pack can follow, and before
// it where history ends, if that was asked for; the others are of a server that is itself
// incomplete ("shallow-info"), that sends to other places ("packfile-uris"), or of a protocol to
// come.
func (p *packReader) read(lines *packets) error {
	section, err := readLine(lines)
	if err == nil && section == "shallow-info" && p.want.Tip {
		if err = p.boundary(lines); err == nil {
			section, err = readLine(lines)
		}
	}
	switch {
	case err != nil:
		return err
	case section != "packfile":
		return protocolErrorf("it has a section %.100q before the pack", section)
	}
	p.began = true
	err = p.demultiplex(lines)
	if err == nil {
		err = lines.end()
	}
	p.endLine()
	return err
}

// boundary reads where history ends: at what was asked for, and nowhere else.
func (p *packReader) boundary(lines *packets) error {
	for range len(p.want.Wants) + 1 {
		next, err := lines.next()
		if err == nil && next.mark == delimiter {
			return nil
		}
		line, err := lineOf(next, err)
		if err != nil {
			return err
		}
		if id, ok := strings.CutPrefix(line, "shallow "); !ok || !slices.Contains(p.want.Wants, id) {
			return protocolErrorf("its history ends elsewhere than was asked for: %.100q", line)
		}
	}
	return protocolErrorf("its history ends in more places than were asked for")
}

// demultiplex reads the sidebands up to their end.
func (p *packReader) demultiplex(lines *packets) error {
	last := time.Now() // that there was something of the pack
	for {
		next, err := lines.raw()
		switch {
		case errors.Is(err, io.EOF):
			return protocolErrorf("it ends before its end")
		case err != nil:
			return err
		case next.mark == flush:
			return nil
		case next.mark != payload || len(next.line) == 0:
			return protocolErrorf("a line in the pack is of no sideband")
		}
		band, text := next.line[0], next.line[1:]
		switch band {
		case packBand:
			p.count(lines.pace, len(text))
			err = p.write(text)
		case progressBand:
			err = p.progress(text)
		case errorBand:
			err = &RemoteError{Message: p.printable(string(text))}
		default:
			err = protocolErrorf("a line in the pack is of sideband %d", band)
		}
		if err != nil {
			return err
		}
		if band == packBand && len(text) > 0 {
			last = time.Now()
		} else if idle := maxIdle * p.want.stall(); time.Since(last) > idle {
			return protocolErrorf("nothing of the pack has come for %s", idle)
		}
	}
}

// count counts bytes of the pack. Of one that has begun there is to come more than a first byte.
func (p *packReader) count(at *pace, n int) {
	if n > 0 && p.bytes == 0 {
		within := paceStalls * p.want.stall()
		*at = pace{within: within, step: int64(slowest * within.Seconds()), what: at.what}
	}
	at.count(n)
}

func (p *packReader) write(text []byte) error {
	if p.want.MaxBytes > 0 && int64(len(text)) > p.want.MaxBytes-p.bytes {
		return &TooLargeError{Op: p.op, What: "bytes of a pack", Limit: p.want.MaxBytes}
	}
	if len(text) == 0 {
		return nil // a sign of life
	}
	n, err := p.w.Write(text)
	p.bytes += int64(n)
	return err
}

// progress tells of whole lines, whose end may be that of one which is written over.
func (p *packReader) progress(text []byte) error {
	if p.said += int64(len(text)); p.said > maxProgress {
		return protocolErrorf("it says more of its progress than %d bytes", maxProgress)
	}
	for p.want.Progress != nil && len(text) > 0 {
		end := bytes.IndexAny(text, "\r\n")
		part := text
		if end >= 0 {
			part = text[:end]
		}
		p.line = append(p.line, part[:min(len(part), 4*maxMessage-len(p.line))]...)
		if end < 0 {
			break
		}
		p.endLine()
		text = text[end+1:]
	}
	return nil
}

func (p *packReader) endLine() {
	line := p.printable(string(p.line))
	p.line = p.line[:0]
	if line != "" {
		p.want.Progress(line)
	}
}

// explain says what an error of a fetch means. Once the pack has begun git would fare no
// better.
func (p *packReader) explain(err error) error {
	if refused, ok := errors.AsType[*ProtocolError](err); ok {
		if remote := (&RemoteError{Message: refused.said}); !p.began && errors.Is(remote, ErrNotOurRef) {
			return p.broken(remote)
		}
		if !p.began {
			return p.unsupported(refused)
		}
		return p.broken(refused)
	}
	if remote, ok := errors.AsType[*RemoteError](err); ok {
		return p.broken(remote)
	}
	return err
}

// broken is an answer that does not lead to a whole pack.
func (p *packReader) broken(problem error) error {
	return &ghapp.Error{Kind: ghapp.ErrUnreachable, Op: p.op, Err: problem}
}

// RemoteError is what the server says that ended a fetch.
type RemoteError struct {
	Message string // printable, one line
}

// Error is one line.
func (e *RemoteError) Error() string { return "the server says: " + e.Message }

// Is reports whether the error is [ErrNotOurRef].
func (e *RemoteError) Is(target error) bool {
	return target == ErrNotOurRef && strings.Contains(e.Message, "not our ref")
}

// ErrNotOurRef is an object that was asked for and that the server does not hand out, or not
// any more: the refs are to be asked for again.
var ErrNotOurRef = errors.New("the server has no such ref")
