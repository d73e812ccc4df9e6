package deploy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// entry is a file of a tree as git's index has it
// (https://git-scm.com/docs/index-format). It is what a file of a release is
// compared with: git wrote it down when it had just made the file.
type entry struct {
	path    string
	mode    uint32 // 0100644, 0100755, 0120000 or 0160000
	inode   uint32 // its lower half
	seconds uint32 // of the time of the last change
	nanos   uint32
	size    uint32 // its lower half
	object  string // hexadecimal
	absent  bool   // it is not in the work tree: it is outside of the sparse paths
}

const (
	modeFile      = 0o100644
	modeProgram   = 0o100755
	modeSymlink   = 0o120000
	modeSubmodule = 0o160000
)

var errIndex = errors.New("it is no index of version 2 or 3")

// parseIndex reads an index of version 2 or 3, which git writes where index.version
// says so. hash is the length of an object ID in bytes.
func parseIndex(data []byte, hash int) ([]entry, error) {
	const header, stat = 12, 40
	if len(data) < header+hash || !bytes.HasPrefix(data, []byte("DIRC")) {
		return nil, errIndex
	}
	version, count := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if version != 2 && version != 3 {
		return nil, errIndex
	}
	rest := data[header : len(data)-hash]
	least := stat + hash + 2 + 1
	if uint64(count)*uint64(least) > uint64(len(rest)) {
		return nil, errIndex
	}
	entries := make([]entry, 0, count)
	for range count {
		if len(rest) < least {
			return nil, errIndex
		}
		field := func(at int) uint32 { return binary.BigEndian.Uint32(rest[at:]) }
		e := entry{
			seconds: field(8), nanos: field(12), inode: field(20), mode: field(24), size: field(36),
			object: hex.EncodeToString(rest[stat : stat+hash]),
		}
		flags, at := binary.BigEndian.Uint16(rest[stat+hash:]), stat+hash+2
		if flags&0x4000 != 0 { // extended
			if version == 2 || len(rest) < at+2 {
				return nil, errIndex
			}
			e.absent = binary.BigEndian.Uint16(rest[at:])&0x4000 != 0
			at += 2
		}
		length := bytes.IndexByte(rest[at:], 0)
		if length < 0 || flags&0x3000 != 0 { // of a merge
			return nil, errIndex
		}
		e.path = string(rest[at : at+length])
		if !local(e.path) {
			return nil, fmt.Errorf("it has a path that leads elsewhere: %q", e.path)
		}
		end := (at + length + 8) &^ 7 // with NULs, to a multiple of eight
		if end > len(rest) {
			return nil, errIndex
		}
		rest = rest[end:]
		entries = append(entries, e)
	}
	return entries, nil
}

// local reports whether a path of git's stays below where it begins.
func local(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}
