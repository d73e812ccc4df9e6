//go:build darwin || freebsd

package agentproto

import "golang.org/x/sys/unix"

// solLocal is SOL_LOCAL of <sys/un.h>.
const solLocal = 0

// peerUID returns the effective user of the process at the other end when it
// connected, or listened (unix(4), LOCAL_PEERCRED).
func peerUID(fd int) (int, error) {
	peer, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(peer.Uid), nil
}
