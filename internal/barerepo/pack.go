package barerepo

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// index is that of a pack (gitformat-pack(5), "Version 2 pack-*.idx files"), which git has made.
type index struct {
	file  *os.File
	size  int64 // of an ID in bytes
	count [256]uint32
}

const (
	indexHead = 8
	fanout    = 256 * 4
)

// openIndex opens an index.
func openIndex(path, format string) (*index, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	x := &index{file: file, size: int64(idSize(format))}
	head := make([]byte, indexHead+fanout)
	_, err = file.ReadAt(head, 0)
	if err == nil && !bytes.Equal(head[:indexHead], []byte("\xfftOc\x00\x00\x00\x02")) {
		err = fmt.Errorf("%s is no index of a pack", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	for i := range x.count {
		x.count[i] = binary.BigEndian.Uint32(head[indexHead+4*i:])
	}
	return x, nil
}

func (x *index) total() int64 { return int64(x.count[255]) }

// find returns where each of the IDs, which are sorted, is in the list of the index; -1: nowhere.
// Of the index no more is read than the parts in which they would be, each once.
func (x *index) find(ids [][]byte) ([]int64, error) {
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
			if length < 0 {
				return nil, fmt.Errorf("%s is no index of a pack", x.file.Name())
			}
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

// offset is where the object at a place of the list begins in the pack.
func (x *index) offset(place int64) (int64, error) {
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
	commitType = 1
	ofsDelta   = 6
	refDelta   = 7
)

// typeOf is the type of the object at an offset of a pack, of which x is the index. A delta has
// that of what it is one of.
func (x *index) typeOf(pack io.ReaderAt, offset int64) (int, error) {
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
			place, err := x.find([][]byte{head[:x.size]})
			if err == nil && place[0] < 0 {
				err = fmt.Errorf("%s: a delta is of an object that is not there", x.file.Name())
			}
			if err == nil {
				offset, err = x.offset(place[0])
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

// prove checks that all of a listing's refs stand for objects of the packs in a directory, and
// its branches for commits. others says that objects may be elsewhere.
func (l *listing) prove(dir string, others bool) error {
	wanted := map[string]bool{} // ID, as bytes -> is to be a commit
	for name, id := range l.refs {
		raw, err := hex.DecodeString(id)
		if err != nil {
			return err
		}
		wanted[string(raw)] = wanted[string(raw)] || strings.HasPrefix(name, heads)
	}
	names, err := filepath.Glob(filepath.Join(globQuoted(dir), "pack-*.idx"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := prove(name, l.format, wanted); err != nil {
			return err
		}
	}
	for id := range wanted {
		if others {
			break
		}
		return &Error{Problem: ErrMissing, Op: "check what came", Detail: hex.EncodeToString([]byte(id))}
	}
	return nil
}

// prove takes out of wanted what is in a pack.
func prove(name, format string, wanted map[string]bool) error {
	x, err := openIndex(name, format)
	if err != nil {
		return err
	}
	defer x.file.Close()
	pack, err := os.Open(strings.TrimSuffix(name, ".idx") + ".pack")
	if err != nil {
		return err
	}
	defer pack.Close()
	ids := make([][]byte, 0, len(wanted))
	for id := range wanted {
		ids = append(ids, []byte(id))
	}
	slices.SortFunc(ids, bytes.Compare)
	places, err := x.find(ids)
	if err != nil {
		return err
	}
	for i, place := range places {
		if place < 0 {
			continue
		}
		id := string(ids[i])
		if wanted[id] {
			offset, err := x.offset(place)
			if err != nil {
				return err
			}
			kind, err := x.typeOf(pack, offset)
			if err != nil {
				return err
			}
			if kind != commitType {
				return &Error{Problem: ErrNoCommit, Op: "check what came", Detail: hex.EncodeToString(ids[i])}
			}
		}
		delete(wanted, id)
	}
	return nil
}

// globQuoted is a path in which nothing is a pattern.
func globQuoted(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
