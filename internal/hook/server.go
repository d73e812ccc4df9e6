package hook

import (
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// maxConnections is how many there are at once; with the small bodies of all of them that is 32 MiB.
	maxConnections = 512
	// maxHeader bounds the headers of a request, in bytes; GitHub's are less than 1 KiB.
	maxHeader = 16 << 10
	// readFor is how long a request may take to arrive, and a connection may be silent between two: GitHub waits ten
	// seconds for the answer.
	readFor = 10 * time.Second
)

// NewServer returns a server for a [Handler], or for a mux with one in it, that no slow or silent client keeps busy.
// It speaks plain HTTP: on an address that others reach, it belongs behind a proxy that speaks TLS. A nil log is told
// nothing.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var open atomic.Int64
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readFor / 2,
		ReadTimeout:       readFor,
		WriteTimeout:      maxWait + readFor,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // connections that end halfway, mostly
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if open.Add(1) > maxConnections {
					c.Close()
				}
			case http.StateClosed, http.StateHijacked:
				open.Add(-1)
			}
		},
	}
}
