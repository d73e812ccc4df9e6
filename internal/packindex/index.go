// Package packindex looks into packs by their indexes, as git has made them.
package packindex

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Index is that of a pack (gitformat-pack(5), "Version 2 pack-*.idx files").
type Index struct {
	file  *os.File
	size  int64 // of an ID in bytes
	count [256]uint32
}

const (
	indexHead = 8
	fanout    = 256 * 4
)

// Open opens an index of IDs of a length in bytes. The error is the system's, or that it is none.
func Open(path string, size int) (*Index, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	x := &Index{file: file, size: int64(size)}
	if err := x.readHead(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return x, nil
}

// readHead reads how many objects there are, and checks that the file has as many: one that is damaged
// would else have us ask for as much memory as it says.
func (x *Index) readHead() error {
	head := make([]byte, indexHead+fanout)
	if _, err := x.file.ReadAt(head, 0); err != nil {
		return err
	}
	info, err := x.file.Stat()
	if err != nil {
		return err
	}
	for i := range x.count {
		x.count[i] = binary.BigEndian.Uint32(head[indexHead+4*i:])
	}
	const crc, small = 4, 4
	if !bytes.Equal(head[:indexHead], []byte("\xfftOc\x00\x00\x00\x02")) || !slices.IsSorted(x.count[:]) ||
		indexHead+fanout+x.total()*(x.size+crc+small) > info.Size() {
		return fmt.Errorf("%s is no index of a pack", x.file.Name())
	}
	return nil
}

// Close closes it.
func (x *Index) Close() error { return x.file.Close() }

func (x *Index) total() int64 { return int64(x.count[255]) }

// Find returns where each of the IDs, which are sorted, is in the list of the index; -1: nowhere.
// Of the index no more is read than the parts in which they would be, each once.
func (x *Index) Find(ids [][]byte) ([]int64, error) {
	found := make([]int64, 0, len(ids))
	var part []byte
	first, loaded := int64(0), -1
	for _, id := range ids {
		if int(id[0]) != loaded {
			loaded, first = int(id[0]), 0
			if loaded > 0 {
				first = int64(x.count[loaded-1])
			}
			length := (int64(x.count[loaded]) - first) * x.size
			part = slices.Grow(part[:0], int(length))[:length]
			if _, err := x.file.ReadAt(part, indexHead+fanout+first*x.size); err != nil {
				return nil, err
			}
		}
		found = append(found, search(part, id, first))
	}
	return found, nil
}

// search finds an ID in a sorted list of them.
func search(list, id []byte, first int64) int64 {
	size := len(id)
	low, high := 0, len(list)/size
	for low < high {
		middle := (low + high) / 2
		switch c := bytes.Compare(list[middle*size:(middle+1)*size], id); {
		case c == 0:
			return first + int64(middle)
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return -1
}

// Offset is where the object at a place of the list begins in the pack.
func (x *Index) Offset(place int64) (int64, error) {
	const crc, small, large = 4, 4, 8
	table := indexHead + fanout + x.total()*(x.size+crc)
	var b [large]byte
	if _, err := x.file.ReadAt(b[:small], table+place*small); err != nil {
		return 0, err
	}
	at := binary.BigEndian.Uint32(b[:small])
	if at>>31 == 0 {
		return int64(at), nil
	}
	if _, err := x.file.ReadAt(b[:], table+x.total()*small+int64(at&^(1<<31))*large); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b[:])), nil
}

// The types of objects in a pack (gitformat-pack(5), "Object types").
const (
	// Commit is that of a commit.
	Commit   = 1
	ofsDelta = 6
	refDelta = 7
)

// TypeOf is the type of the object at an offset of a pack, of which x is the index. A delta has
// that of what it is one of.
func (x *Index) TypeOf(pack io.ReaderAt, offset int64) (int, error) {
	b := make([]byte, 64)
	for range x.total() + 1 { // no object is met twice
		n, err := pack.ReadAt(b, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		head := b[:n]
		if len(head) == 0 {
			break
		}
		kind := int(head[0]) >> 4 & 7
		for len(head) > 0 && head[0]&0x80 != 0 { // the object's size
			head = head[1:]
		}
		head = head[min(1, len(head)):]
		switch kind {
		case ofsDelta:
			offset -= distance(head)
		case refDelta:
			if int64(len(head)) < x.size {
				return 0, fmt.Errorf("%s: an object ends within its head", x.file.Name())
			}
			place, err := x.Find([][]byte{head[:x.size]})
			if err == nil && place[0] < 0 {
				err = fmt.Errorf("%s: a delta is of an object that is not there", x.file.Name())
			}
			if err == nil {
				offset, err = x.Offset(place[0])
			}
			if err != nil {
				return 0, err
			}
		default:
			return kind, nil
		}
		if offset < 0 {
			break
		}
	}
	return 0, fmt.Errorf("%s: an object's deltas have no end", x.file.Name())
}

// distance is how far before a delta the object is that it is one of.
func distance(b []byte) int64 {
	var n int64
	for i, c := range b {
		if i > 0 {
			n++
		}
		n = n<<7 | int64(c&0x7f)
		if c&0x80 == 0 || i == 8 {
			break
		}
	}
	return n
}
