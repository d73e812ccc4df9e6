package gitwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The pkt-line format (gitprotocol-common(5)).
const (
	maxPacket = 65520 // with the four digits of its length
	lengthLen = 4
)

// The packets that have no payload, by their length (gitprotocol-v2(5)).
const (
	flush       = 0
	delimiter   = 1
	responseEnd = 2
)

// packet is one pkt-line. Where it has a payload, mark is that of none of the above.
type packet struct {
	mark int
	line []byte // good until the next packet
}

const payload = -1

// packets reads pkt-lines, and no more than a bound.
type packets struct {
	r     io.Reader
	buf   []byte // what is read and not yet looked at
	space []byte // that buf is in
	left  int64  // of the bound
	bound error  // what more than that is
	pace  *pace  // at which they come
}

// The sizes of a buffer: of one for a few lines, and of one that has the longest packet and
// the beginning of the next, as a pack comes.
const (
	fewLines    = 4 << 10
	longPackets = 2 * maxPacket
)

func newPackets(r io.Reader, most int64, bound error) *packets {
	return &packets{r: r, space: make([]byte, fewLines), left: most, bound: bound, pace: new(pace)}
}

// next returns the next packet, of a line without the LF at its end. It returns io.EOF
// where there is none, and a *ProtocolError where what there is is no packet, or the
// server's word that it refuses.
func (p *packets) next() (packet, error) {
	next, err := p.raw()
	if err != nil || next.mark != payload {
		return next, err
	}
	next.line = bytes.TrimSuffix(next.line, []byte("\n"))
	if words, refused := bytes.CutPrefix(next.line, []byte("ERR ")); refused {
		return packet{}, &ProtocolError{Problem: "the server says: " + string(words), said: string(words)}
	}
	return next, nil
}

// raw returns the next packet as it came.
func (p *packets) raw() (packet, error) {
	digits, err := p.peek(lengthLen)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return packet{}, protocolErrorf("it ends within the length of a line")
		}
		return packet{}, err
	}
	length, err := strconv.ParseUint(string(digits), 16, 16)
	if err != nil {
		return packet{}, protocolErrorf("%q is not the length of a line", digits)
	}
	p.skip(lengthLen)
	switch length {
	case flush, delimiter, responseEnd:
		return packet{mark: int(length)}, nil
	case 3:
		return packet{}, protocolErrorf("a line is 3 bytes long, its length included")
	}
	if length > maxPacket {
		return packet{}, protocolErrorf("a line is %d bytes long", length)
	}
	if p.left -= int64(length); p.left < 0 {
		return packet{}, p.bound
	}
	line, err := p.peek(int(length) - lengthLen)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return packet{}, protocolErrorf("it ends within a line")
		}
		return packet{}, err
	}
	p.skip(len(line))
	return packet{payload, line}, nil
}

// peek returns the next n bytes where they lie. The error is io.EOF only where there is
// none of them.
func (p *packets) peek(n int) ([]byte, error) {
	if n > len(p.buf) {
		space := p.space
		if n > len(space) {
			space = make([]byte, longPackets)
		}
		had := copy(space, p.buf)
		got, err := io.ReadAtLeast(p.r, space[had:], n-had)
		p.space, p.buf = space, space[:had+got]
		if errors.Is(err, io.EOF) && had > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return p.buf[:n], nil
}

// skip goes on behind n bytes that were looked at.
func (p *packets) skip(n int) { p.buf = p.buf[n:] }

// end checks that nothing follows. The connection can be used again only if so.
func (p *packets) end() error {
	switch _, err := p.peek(1); {
	case err == nil:
		return protocolErrorf("it goes on after its end")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

// appendPacket adds a line to a request.
func appendPacket(b []byte, line string) []byte {
	return fmt.Appendf(b, "%04x%s\n", lengthLen+len(line)+1, line)
}

// ProtocolError is an answer that is not of git's protocol, or of a form of it that is not
// spoken here.
type ProtocolError struct {
	Problem string // of those that [Service] returns, one printable line

	said string // by the server itself, in an ERR packet
}

// Error is one line.
func (e *ProtocolError) Error() string { return e.Problem }

func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{Problem: fmt.Sprintf(format, args...)}
}
