package engine

import (
	"errors"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a server in this process that nobody else can reach.
type embedded struct {
	server *server.Server
	dir    string
}

// startEmbedded starts a server without a port, which keeps all in memory. It wants a
// directory all the same, in which nothing is but the names of its accounts.
func startEmbedded() (*embedded, error) {
	dir, err := os.MkdirTemp("", "ghapp-server-")
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "ghapp-server", DontListen: true, NoSigs: true, NoLog: true, NoSystemAccount: true,
		JetStream: true, StoreDir: dir, JetStreamMaxMemory: 256 << 20, JetStreamMaxStore: 1 << 20,
		DisableJetStreamBanner: true,
	})
	if err == nil {
		s.Start()
		if !s.ReadyForConnections(5 * time.Second) {
			s.Shutdown()
			err = errors.New("NATS is not ready after 5s")
		}
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return &embedded{s, dir}, nil
}

func (s *embedded) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	_ = os.RemoveAll(s.dir)
}
