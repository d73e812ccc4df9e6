//go:build linux || darwin || freebsd

package agentproto

import (
	"fmt"
	"syscall"
)

// CheckPeer returns an error unless the process at the other end of conn
// belongs to uid. Root is another user like any.
func CheckPeer(conn syscall.Conn, uid int) error {
	return withDescriptor(conn, func(fd int) error {
		peer, err := peerUID(fd)
		if err != nil {
			return err
		}
		if peer != uid {
			return fmt.Errorf("the other end belongs to user %d, not %d", peer, uid)
		}
		return nil
	})
}
