package refs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
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
	line []byte // without the LF at its end; good until the next packet
}

const payload = -1

// packets reads pkt-lines, and no more than a bound.
type packets struct {
	r    *bufio.Reader
	left int64
	buf  []byte
}

func newPackets(r io.Reader, most int64) *packets {
	return &packets{r: bufio.NewReader(r), left: most}
}

// next returns the next packet. It returns io.EOF where there is none, and an
// *unsuitable where what there is is no packet.
func (p *packets) next() (packet, error) {
	var digits [lengthLen]byte
	if _, err := io.ReadFull(p.r, digits[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			return packet{}, unsuitablef("it ends within the length of a line")
		}
		return packet{}, err
	}
	length, err := strconv.ParseUint(string(digits[:]), 16, 16)
	if err != nil {
		return packet{}, unsuitablef("%q is not the length of a line", digits)
	}
	switch length {
	case flush, delimiter, responseEnd:
		return packet{mark: int(length)}, nil
	case 3:
		return packet{}, unsuitablef("a line is 3 bytes long, its length included")
	}
	if length > maxPacket {
		return packet{}, unsuitablef("a line is %d bytes long", length)
	}
	if p.left -= int64(length); p.left < 0 {
		return packet{}, unsuitablef("it is larger than was to be expected")
	}
	size := int(length) - lengthLen
	p.buf = slices.Grow(p.buf[:0], size)[:size]
	if _, err := io.ReadFull(p.r, p.buf); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return packet{}, unsuitablef("it ends within a line")
		}
		return packet{}, err
	}
	line := p.buf
	if size > 0 && line[size-1] == '\n' {
		line = line[:size-1]
	}
	if text, refused := bytes.CutPrefix(line, []byte("ERR ")); refused {
		return packet{}, unsuitablef("the server says: %s", printable(string(text)))
	}
	return packet{payload, line}, nil
}

// end checks that nothing follows. The connection can be used again only if so.
func (p *packets) end() error {
	switch _, err := p.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return unsuitablef("it goes on after its end")
	default:
		return err
	}
}

// appendPacket adds a line to a request.
func appendPacket(b []byte, line string) []byte {
	return fmt.Appendf(b, "%04x%s\n", lengthLen+len(line)+1, line)
}

// unsuitable is an answer that is not of the protocol, or of a form of it that is not
// spoken here. Its text is printable.
type unsuitable struct{ problem string }

func (u *unsuitable) Error() string { return u.problem }

func unsuitablef(format string, args ...any) error {
	return &unsuitable{fmt.Sprintf(format, args...)}
}
