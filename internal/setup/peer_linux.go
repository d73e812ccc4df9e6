package setup

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// stranger names the user at the other end of a loopback connection, if it is not this
// one, root, or the one who became root by sudo. The kernel lists every TCP socket of
// the network namespace with its owner (proc_net(5)): the other end is one of them. One
// that is not, such as a forwarder from outside of the namespace has, is none of a
// user of this machine who could be meant here.
func stranger(conn net.Conn, sudoUID string) string {
	theirs, ours := addrOf(conn.RemoteAddr()), addrOf(conn.LocalAddr())
	if !theirs.IsValid() || !ours.IsValid() {
		return ""
	}
	return ownerIn([]string{"/proc/net/tcp", "/proc/net/tcp6"}, theirs, ours, sudoUID)
}

// ownerIn is [stranger] by tables of the kernel. Where one cannot be read, as without a
// descriptor that is free, nobody is let in; that of IPv6 is missing where the system has
// none.
func ownerIn(tables []string, theirs, ours netip.AddrPort, sudoUID string) string {
	for i, table := range tables {
		owner, state, found, err := socketOwner(table, theirs, ours)
		switch {
		case i > 0 && errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "somebody of whom this system does not tell (" + err.Error() + ")"
		case !found:
		case state != established:
			// The owner of a socket that is being closed is always given as 0.
			return "a connection that is ending"
		case mayTakePart(owner, os.Geteuid(), sudoUID):
			return ""
		default:
			return "user " + strconv.Itoa(owner)
		}
	}
	return ""
}

// established is TCP_ESTABLISHED of the kernel's tcp_states.h.
const established = 1

func mayTakePart(owner, own int, sudoUID string) bool {
	return owner == 0 || owner == own || own == 0 && strconv.Itoa(owner) == sudoUID
}

func addrOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := tcp.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// socketOwner finds the socket between two addresses in a table of the kernel.
func socketOwner(table string, local, remote netip.AddrPort) (owner, state int, found bool, err error) {
	file, err := os.Open(table)
	if err != nil {
		return 0, 0, false, err
	}
	defer file.Close()
	wide := strings.HasSuffix(table, "6")
	ends := [2]string{inTable(local, wide), inTable(remote, wide)}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[1] != ends[0] || fields[2] != ends[1] {
			continue
		}
		s, err := strconv.ParseInt(fields[3], 16, 32)
		uid, err2 := strconv.Atoi(fields[7])
		return uid, int(s), true, errors.Join(err, err2)
	}
	return 0, 0, false, lines.Err()
}

// inTable is an address as the kernel prints it: words of four bytes, each as a number
// of this machine.
func inTable(a netip.AddrPort, wide bool) string {
	bytes := a.Addr().AsSlice()
	if wide && a.Addr().Is4() {
		mapped := a.Addr().As16()
		bytes = mapped[:]
	}
	var text strings.Builder
	for ; len(bytes) >= 4; bytes = bytes[4:] {
		fmt.Fprintf(&text, "%08X", binary.NativeEndian.Uint32(bytes))
	}
	return fmt.Sprintf("%s:%04X", &text, a.Port())
}
