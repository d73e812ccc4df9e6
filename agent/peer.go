//go:build linux || darwin || freebsd

package agent

import (
	"fmt"
	"net"
)

// checkPeer returns an error unless the process at the other end of conn
// belongs to uid. Root is another user like any.
func checkPeer(conn *net.UnixConn, uid int) error {
	peer, err := peerUID(conn)
	if err != nil {
		return err
	}
	if peer != uid {
		return fmt.Errorf("the other end belongs to user %d, not %d", peer, uid)
	}
	return nil
}
