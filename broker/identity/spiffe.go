package identity

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// endpointSocket names the socket of the Workload API
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_Endpoint.md#4-locating-the-endpoint).
const endpointSocket = "SPIFFE_ENDPOINT_SOCKET"

func hasWorkloadAPI(o opened) bool { return o.get(endpointSocket) != "" }

// openSPIFFE has the Workload API give a JWT-SVID. It is one call of gRPC with one text in it,
// which a library for all of gRPC would make the program 4 MB larger for
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md#6-jwt-svid-profile).
func openSPIFFE(o opened, socket string) (*Identity, error) {
	path, ok := strings.CutPrefix(cmp.Or(socket, o.get(endpointSocket)), "unix:")
	path = "/" + strings.TrimLeft(path, "/")
	switch {
	case socket == "" && o.get(endpointSocket) == "":
		return nil, fmt.Errorf("%s is not set: write spiffe:unix:///PATH", endpointSocket)
	case !ok && !filepath.IsAbs(cmp.Or(socket, o.get(endpointSocket))):
		return nil, errors.New("the address of the Workload API is not unix:///PATH")
	}
	return &Identity{
		subject: func() string { return path },
		token: func(ctx context.Context, whom audience) (string, error) {
			aud, err := whom(ctx)
			if err != nil {
				return "", err
			}
			return fetchSVID(ctx, path, aud)
		},
	}, nil
}

// fetchSVID is a call of gRPC (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
func fetchSVID(ctx context.Context, path, audience string) (string, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	message := appendText(nil, 1, audience) // JWTSVIDRequest.audience
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://workload/SpiffeWorkloadAPI/FetchJWTSVID",
		bytes.NewReader(append(frame, message...)))
	if err != nil {
		return "", err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/grpc", "Te": "trailers",
		"Workload.spiffe.io": "true", // so that nobody is led to ask it, as by a redirect
	} {
		req.Header.Set(name, value)
	}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("the Workload API at %s does not answer: %w", path, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 16*maxToken))
	if err != nil {
		return "", fmt.Errorf("the answer of the Workload API at %s is cut short: %w", path, err)
	}
	// An answer without a message has its trailers in the place of headers.
	status := cmp.Or(answer.Trailer.Get("Grpc-Status"), answer.Header.Get("Grpc-Status"))
	if answer.StatusCode != http.StatusOK || status != "0" {
		said := cmp.Or(answer.Trailer.Get("Grpc-Message"), answer.Header.Get("Grpc-Message"))
		return "", fmt.Errorf("the Workload API at %s refuses: gRPC status %q %s", path,
			text.Shorten(text.OneLine(status), 20), text.Shorten(text.OneLine(said), 300))
	}
	return svidIn(body)
}

// svidIn is the first JWT-SVID in the one message of an answer.
func svidIn(body []byte) (string, error) {
	broken := errors.New("the answer of the Workload API cannot be read")
	if len(body) < 5 || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:5])) != uint64(len(body)-5) {
		return "", broken
	}
	svid, ok := field(body[5:], 1) // JWTSVIDResponse.svids
	if !ok {
		return "", broken
	}
	token, ok := field(svid, 2) // JWTSVID.svid
	if !ok || len(token) == 0 {
		return "", broken
	}
	return string(token), nil
}

// The wire types of protobuf (https://protobuf.dev/programming-guides/encoding/).
const (
	varint     = 0
	fixed64    = 1
	delimited  = 2
	fixed32    = 5
	typeOfWire = 7 // its bits in a tag
)

func appendText(b []byte, number uint64, value string) []byte {
	b = binary.AppendUvarint(b, number<<3|delimited)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// field returns the bytes of the first field with a number in a message.
func field(message []byte, number uint64) ([]byte, bool) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return nil, false
		}
		message = message[n:]
		var size uint64
		switch tag & typeOfWire {
		case varint:
			_, n := binary.Uvarint(message)
			size = uint64(max(n, 0))
			if n <= 0 {
				return nil, false
			}
		case fixed64:
			size = 8
		case fixed32:
			size = 4
		case delimited:
			length, n := binary.Uvarint(message)
			if n <= 0 {
				return nil, false
			}
			message, size = message[n:], length
		default:
			return nil, false
		}
		if size > uint64(len(message)) {
			return nil, false
		}
		if tag == number<<3|delimited {
			return message[:size], true
		}
		message = message[size:]
	}
	return nil, false
}
