package agentproto

import "syscall"

// peerUID returns the effective user of the process at the other end when it
// connected, or listened (unix(7), SO_PEERCRED).
func peerUID(fd int) (int, error) {
	peer, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(peer.Uid), nil
}
