package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/fault"
)

// syslog is a sink of messages of RFC 5424: datagrams to a socket of this machine, or a TCP
// connection in which the length of each goes before it (RFC 6587). Nothing of syslog
// acknowledges a message: what is known is that the system has taken it.
type syslog struct {
	network, address string
	conn             net.Conn
	heading          string // what comes after the time
}

// priority is facility 13, log audit, and severity 6, informational.
const priority = 13<<3 | 6

func newSyslog(to string) (*syslog, error) {
	s := &syslog{}
	if to == "local" {
		to = "unix:/dev/log"
	}
	if path, ok := strings.CutPrefix(to, "unix:"); ok && strings.HasPrefix(path, "/") {
		s.network, s.address = "unixgram", path
	} else if address, ok := strings.CutPrefix(to, "tcp://"); ok {
		if _, _, err := net.SplitHostPort(address); err == nil {
			s.network, s.address = "tcp", address
		}
	}
	if s.network == "" {
		return nil, &fault.SettingError{
			Err: errors.New("syslog is not named so that it can be reached"), Hint: "write local, unix:/PATH or tcp://HOST:PORT",
		}
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	s.heading = fmt.Sprintf(" %s ghapp-server %d audit - ", host, os.Getpid())
	return s, nil
}

func (s *syslog) write(ctx context.Context, lines [][]byte, _ place) error {
	err := s.send(ctx, lines)
	if err != nil {
		_ = s.close()
		return fmt.Errorf("send the audit to syslog: %w", err)
	}
	return nil
}

func (s *syslog) send(ctx context.Context, lines [][]byte) (err error) {
	if s.conn != nil && s.gone() {
		_ = s.close()
	}
	if s.conn == nil {
		var dialer net.Dialer
		if s.conn, err = dialer.DialContext(ctx, s.network, s.address); err != nil {
			s.conn = nil
			return err
		}
	}
	until, _ := ctx.Deadline()
	if err := s.conn.SetWriteDeadline(until); err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := s.conn.Write(s.message(line)); err != nil {
			return err
		}
	}
	return nil
}

// gone reports whether the other end of a TCP connection has closed it, which a write would
// not tell the first time. It never sends anything.
func (s *syslog) gone() bool {
	if s.network != "tcp" {
		return false
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := s.conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *syslog) message(line []byte) []byte {
	var m bytes.Buffer
	fmt.Fprintf(&m, "<%d>1 %s", priority, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
	m.WriteString(s.heading)
	m.Write(bytes.TrimRight(line, "\n"))
	if s.network == "tcp" {
		return append([]byte(strconv.Itoa(m.Len())+" "), m.Bytes()...)
	}
	return m.Bytes()
}

func (s *syslog) reopen() error { return nil }

func (s *syslog) close() error {
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close()
}
