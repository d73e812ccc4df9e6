// Package indexpack makes the index of a small pack without a process, where the pack is a plain
// one: where all that is in it is written in the one way in which git writes it, and is of no
// concern to any check of git's. To start git index-pack takes ten times as long as its work on
// such a pack.
//
// It stands in for
//
//	git index-pack --strict --check-self-contained-and-connected
//
// and believes less than that does: what it takes, git takes, and makes the same index of. What
// it does not take may be right or wrong, which is git's to say, of whose checks
// (https://git-scm.com/docs/git-fsck#_fsck_messages) only their absence is looked for here.
package indexpack

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/pjbgf/sha1cd"
)

const (
	// MaxBytes is the size of the largest pack that is looked at, in bytes.
	MaxBytes = 1 << 20
	// MaxObjects is the number of objects in the largest pack that is looked at.
	MaxObjects = 10_000

	maxInflated = 16 << 20 // bytes of all objects, and of the deltas that they are made of
	maxRounds   = 64       // of deltas that come before what they are of
)

// Index is that of a pack.
type Index struct {
	// Name is what git calls the pack: pack-NAME.pack, pack-NAME.idx.
	Name string
	// Bytes is the index in its version 2 (gitformat-pack(5)).
	Bytes []byte
}

// Make makes the index of a pack of SHA-1, if the pack is whole, all that its objects refer to is
// in it, and all is plain. An error says why only git can tell what the pack is worth; it is no
// judgement on it. What Make holds in memory is bounded, whatever the pack claims.
func Make(pack []byte) (*Index, error) {
	u := &unpacker{pack: pack, left: maxInflated}
	if err := u.unpack(); err != nil {
		return nil, err
	}
	if err := u.check(); err != nil {
		return nil, err
	}
	return u.index()
}

// idSize is the length of an ID in bytes.
const idSize = sha1cd.Size

type id [idSize]byte

func (i id) String() string { return hex.EncodeToString(i[:]) }

// sum is the SHA-1 of some bytes. As git's own, it knows the marks that all known ways to make
// two things of one SHA-1 leave behind.
func sum(b []byte) (id, error) {
	h, collides := sha1cd.Sum(b)
	if collides {
		return id{}, notPlain("what has the SHA-1 %s is part of an attack on SHA-1", id(h))
	}
	return h, nil
}

// index writes the index.
func (u *unpacker) index() (*Index, error) {
	sorted := slices.Clone(u.objects)
	slices.SortFunc(sorted, func(a, b object) int { return bytes.Compare(a.id[:], b.id[:]) })
	var counts [256]uint32
	for _, o := range sorted {
		counts[o.id[0]]++
	}
	const head, perObject = 8, idSize + 4 + 4
	b := make([]byte, 0, head+4*len(counts)+perObject*len(sorted)+2*idSize)
	b = append(b, "\xfftOc\x00\x00\x00\x02"...)
	total := uint32(0)
	for _, n := range counts {
		total += n
		b = binary.BigEndian.AppendUint32(b, total)
	}
	for _, o := range sorted {
		b = append(b, o.id[:]...)
	}
	for _, o := range sorted {
		b = binary.BigEndian.AppendUint32(b, o.crc)
	}
	for _, o := range sorted {
		b = binary.BigEndian.AppendUint32(b, uint32(o.offset)) // a small pack has no large offsets
	}
	trailer := u.pack[len(u.pack)-idSize:]
	b = append(b, trailer...)
	own, err := sum(b)
	if err != nil {
		return nil, err
	}
	return &Index{Name: hex.EncodeToString(trailer), Bytes: append(b, own[:]...)}, nil
}
