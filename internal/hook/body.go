package hook

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// maxBody is how large a delivery is at most, in bytes: GitHub sends none of over 25 MB.
	// https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap
	maxBody = 25 << 20
	// maxSmall is how much of any body is read, in bytes, before there has to be room for a large one. A push of some
	// forty commits fits in.
	maxSmall = 64 << 10
)

// errNoRoom is a large body while there are too many of them.
var errNoRoom = errors.New("too many large bodies")

// read reads the body of a delivery. The caller has to call release when it needs the body no longer. It fails with
// errNoRoom, or an [http.MaxBytesError] for a body of over 25 MB.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	release = func() {}
	if r.ContentLength > maxBody {
		return nil, release, &http.MaxBytesError{Limit: maxBody}
	}
	from := http.MaxBytesReader(w, r.Body, maxBody)
	var buffer bytes.Buffer
	if _, err := io.CopyN(&buffer, from, maxSmall); err != nil {
		if errors.Is(err, io.EOF) {
			return buffer.Bytes(), release, nil
		}
		return nil, release, err
	}
	// The connections bound how many get to here; now it takes room as well.
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case h.large <- struct{}{}:
		release = func() { <-h.large }
	case <-late.C:
		return nil, release, errNoRoom
	case <-r.Context().Done():
		return nil, release, r.Context().Err()
	}
	if n := int(r.ContentLength); n > buffer.Len() {
		buffer.Grow(n - buffer.Len() + bytes.MinRead) // once, instead of by doubling
	}
	if _, err := buffer.ReadFrom(from); err != nil {
		release()
		return nil, func() {}, err
	}
	return buffer.Bytes(), release, nil
}
