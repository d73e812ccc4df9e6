package private

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// listsOthers reports whether the access list of a file (acl(5)) lets users or groups write
// that are named in it, other than root and a user. It is true where that cannot be told.
func listsOthers(path string, uid int) bool {
	const (
		namedUser, namedGroup = 0x02, 0x08 // ACL_USER, ACL_GROUP of linux/posix_acl.h
		write                 = 0x02
		header, entry         = 4, 8 // the sizes of both, linux/posix_acl_xattr.h
	)
	list := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(path, "system.posix_acl_access", list)
	if err != nil {
		return !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP)
	}
	for at := header; at+entry <= n; at += entry {
		tag, may := binary.LittleEndian.Uint16(list[at:]), binary.LittleEndian.Uint16(list[at+2:])
		id := int(binary.LittleEndian.Uint32(list[at+4:]))
		named := tag == namedUser && id != uid || tag == namedGroup
		if named && id != 0 && may&write != 0 {
			return true
		}
	}
	return n < header
}
