package indexpack

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
)

// The types of objects in a pack (gitformat-pack(5), "Object types").
const (
	commitType = 1
	treeType   = 2
	blobType   = 3
	tagType    = 4
	ofsDelta   = 6
	refDelta   = 7
)

// names are what the types are called in what an ID is the SHA-1 of.
var names = [...]string{commitType: "commit", treeType: "tree", blobType: "blob", tagType: "tag"}

// object is one of a pack.
type object struct {
	offset int    // in the pack
	crc    uint32 // of what is there
	kind   int    // a delta's own, until it is resolved
	base   int    // of an offset delta: the offset of what it is one of
	baseID id     // of a reference delta
	data   []byte // its content; of a delta the delta, until it is resolved
	id     id
}

// unpacker takes a pack apart.
type unpacker struct {
	pack     []byte
	left     int // bytes that may still be inflated
	in       *bytes.Reader
	inflater io.ReadCloser // nil: there was nothing to inflate yet
	objects  []object      // in the order of the pack
	known    map[id]int    // ID -> place in objects, of those that are resolved
	hashed   []byte        // what an ID was the SHA-1 of: memory that is used again
}

func notPlain(format string, args ...any) error { return fmt.Errorf(format, args...) }

// unpack reads all objects.
func (u *unpacker) unpack() error {
	const head = 12
	if len(u.pack) < head+idSize || len(u.pack) > MaxBytes {
		return notPlain("a pack of %d bytes", len(u.pack))
	}
	if !bytes.HasPrefix(u.pack, []byte("PACK\x00\x00\x00\x02")) {
		return notPlain("no pack of version 2")
	}
	end := len(u.pack) - idSize
	count := int(binary.BigEndian.Uint32(u.pack[8:]))
	if count == 0 || count > MaxObjects || count > (end-head)/2 {
		return notPlain("%d objects in %d bytes", count, len(u.pack))
	}
	switch trailer, err := sum(u.pack[:end]); {
	case err != nil:
		return err
	case trailer != id(u.pack[end:]):
		return notPlain("the checksum is another")
	}
	u.in = bytes.NewReader(u.pack[:end])
	u.objects = make([]object, 0, count)
	offset := head
	for range count {
		o, length, err := u.read(offset)
		if err != nil {
			return err
		}
		u.objects = append(u.objects, o)
		offset += length
	}
	if offset != end {
		return notPlain("there is something after the last object")
	}
	return u.resolve()
}

// read reads the object at an offset, and how many bytes of the pack it is.
func (u *unpacker) read(offset int) (object, int, error) {
	rest := u.pack[offset : len(u.pack)-idSize]
	kind, size, n := objectHead(rest)
	o := object{offset: offset, kind: kind}
	if n == 0 {
		return o, 0, notPlain("the head of the object at %d", offset)
	}
	switch kind {
	case commitType, treeType, blobType, tagType:
	case ofsDelta:
		back, length := distance(rest[n:])
		if length == 0 || back <= 0 || back > offset {
			return o, 0, notPlain("the base of the delta at %d", offset)
		}
		o.base = offset - back
		n += length
	case refDelta:
		if len(rest)-n < idSize {
			return o, 0, notPlain("the base of the delta at %d", offset)
		}
		n += copy(o.baseID[:], rest[n:])
	default:
		return o, 0, notPlain("an object of type %d at %d", kind, offset)
	}
	var length int
	var err error
	if o.data, length, err = u.inflate(offset+n, size); err != nil {
		return o, 0, err
	}
	n += length
	o.crc = crc32.ChecksumIEEE(rest[:n])
	return o, n, nil
}

// objectHead reads type and size of an object, and how long its head is; 0: it has none that is
// right.
func objectHead(b []byte) (kind, size, length int) {
	const large = 32 // bits that a size here has at most
	for shift := 4; length < len(b); length++ {
		c := b[length]
		switch {
		case length == 0:
			kind, size = int(c)>>4&7, int(c&0xf)
		case shift >= large:
			return 0, 0, 0
		default:
			size |= int(c&0x7f) << shift
			shift += 7
		}
		if c&0x80 == 0 {
			return kind, size, length + 1
		}
	}
	return 0, 0, 0
}

// distance reads how far before a delta the object is that it is one of.
func distance(b []byte) (back, length int) {
	for i, c := range b[:min(len(b), 4)] { // 2^28 and more are in no small pack
		if i > 0 {
			back++
		}
		back = back<<7 | int(c&0x7f)
		if c&0x80 == 0 {
			return back, i + 1
		}
	}
	return 0, 0
}

// take counts bytes that are about to be made.
func (u *unpacker) take(size int) error {
	if size < 0 || size > u.left {
		return notPlain("more than %d bytes of objects", maxInflated)
	}
	u.left -= size
	return nil
}

// inflate reads what is compressed at an offset, which must be size bytes.
func (u *unpacker) inflate(offset, size int) (data []byte, length int, err error) {
	const window = 0x78 // of 32 KiB: git makes no other, and not all that reads one looks at it
	if offset >= len(u.pack) || u.pack[offset] != window {
		return nil, 0, notPlain("another compression than git's at %d", offset)
	}
	if err := u.take(size); err != nil {
		return nil, 0, err
	}
	if _, err := u.in.Seek(int64(offset), io.SeekStart); err != nil {
		return nil, 0, err
	}
	if u.inflater == nil {
		u.inflater, err = zlib.NewReader(u.in)
	} else if again, ok := u.inflater.(zlib.Resetter); ok {
		err = again.Reset(u.in, nil)
	}
	if err != nil {
		return nil, 0, notPlain("at %d: %w", offset, err)
	}
	data = make([]byte, size)
	if _, err := io.ReadFull(u.inflater, data); err != nil {
		return nil, 0, notPlain("at %d: %w", offset, err)
	}
	// Only at the end is the checksum looked at.
	if n, err := u.inflater.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return nil, 0, notPlain("more than its size at %d", offset)
	}
	return data, int(u.in.Size()) - u.in.Len() - offset, nil
}

// resolve makes of all deltas the objects that they stand for, and gives all objects their IDs.
func (u *unpacker) resolve() error {
	u.known = make(map[id]int, len(u.objects))
	waiting := make([]int, len(u.objects))
	for i := range waiting {
		waiting[i] = i
	}
	for range maxRounds {
		left := waiting[:0]
		for _, place := range waiting {
			switch done, err := u.identify(place); {
			case err != nil:
				return err
			case !done:
				left = append(left, place)
			}
		}
		switch {
		case len(left) == 0:
			return nil
		case len(left) == len(waiting):
			return notPlain("%d deltas of what is not there", len(left))
		}
		waiting = left
	}
	return notPlain("deltas before what they are of")
}

// identify gives an object its ID, unless it is a delta of one that has none yet.
func (u *unpacker) identify(place int) (bool, error) {
	o := &u.objects[place]
	if o.kind == ofsDelta || o.kind == refDelta {
		base := u.base(o)
		if base == nil {
			return false, nil
		}
		data, err := u.patch(base.data, o.data)
		if err != nil {
			return false, err
		}
		o.kind, o.data = base.kind, data
	}
	u.hashed = append(u.hashed[:0], names[o.kind]...)
	u.hashed = append(u.hashed, ' ')
	u.hashed = strconv.AppendInt(u.hashed, int64(len(o.data)), 10)
	u.hashed = append(u.hashed, 0)
	u.hashed = append(u.hashed, o.data...)
	var err error
	if o.id, err = sum(u.hashed); err != nil {
		return false, err
	}
	if _, twice := u.known[o.id]; twice {
		return false, notPlain("%s is there twice", o.id)
	}
	u.known[o.id] = place
	return true, nil
}

// base is what a delta is one of, if that is resolved.
func (u *unpacker) base(o *object) *object {
	place, ok := 0, false
	if o.kind == refDelta {
		place, ok = u.known[o.baseID]
	} else {
		place, ok = slices.BinarySearchFunc(u.objects, o.base, func(o object, at int) int { return o.offset - at })
	}
	if !ok || u.objects[place].id == (id{}) {
		return nil
	}
	return &u.objects[place]
}

// patch is what a delta makes of its base (gitformat-pack(5), "Deltified representation").
func (u *unpacker) patch(base, delta []byte) ([]byte, error) {
	from, delta := deltaSize(delta)
	size, delta := deltaSize(delta)
	if from != len(base) || len(delta) < 2 { // git takes none that is shorter
		return nil, notPlain("a delta of something else")
	}
	if err := u.take(size); err != nil {
		return nil, err
	}
	made := make([]byte, 0, size)
	for len(delta) > 0 {
		var part []byte
		command := delta[0]
		delta = delta[1:]
		if command&0x80 != 0 {
			var offset, length int
			if offset, length, delta = copied(command, delta); length < 0 || offset+length > len(base) {
				return nil, notPlain("a delta of what its base has not")
			}
			part = base[offset : offset+length]
		} else {
			if command == 0 || int(command) > len(delta) {
				return nil, notPlain("a delta that is not whole")
			}
			part, delta = delta[:command], delta[command:]
		}
		if len(part) > size-len(made) {
			return nil, notPlain("a delta that makes more than it says")
		}
		made = append(made, part...)
	}
	if len(made) != size {
		return nil, notPlain("a delta that makes less than it says")
	}
	return made, nil
}

// deltaSize reads a size at the beginning of a delta; -1: there is none.
func deltaSize(b []byte) (int, []byte) {
	size := 0
	for i, c := range b[:min(len(b), 4)] { // 2^28 and more are in no small pack
		size |= int(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			return size, b[i+1:]
		}
	}
	return -1, nil
}

// copied reads what a delta copies; a length of -1: it is not whole.
func copied(command byte, b []byte) (offset, length int, rest []byte) {
	const largest = 0x10000 // what a length of 0 stands for
	for i := range 7 {
		if command>>i&1 == 0 {
			continue
		}
		if len(b) == 0 {
			return 0, -1, nil
		}
		if i < 4 {
			offset |= int(b[0]) << (8 * i)
		} else {
			length |= int(b[0]) << (8 * (i - 4))
		}
		b = b[1:]
	}
	if length == 0 {
		length = largest
	}
	return offset, length, b
}
