package githubtest

import (
	"compress/gzip"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// IssuerFault is what is wrong with an [Issuer], until it is set anew. Issuer, KeysURL and MoreKeys change what is
// answered. The first of RedirectTo, Status, Endless, Compressed and Drip that is set answers in its place.
type IssuerFault struct {
	Path string // that is hit, such as KeysPath; empty means every path

	Issuer   string // stands in the discovery document, whoever was asked
	KeysURL  string // stands there as jwks_uri
	MoreKeys int    // the key set has so many more

	RedirectTo string        // answer with 302 and a Location: this; a bare "http://host" gets the path that was asked
	Status     int           // answer with this status, and no JSON
	Endless    bool          // ten GiB of JSON, or as much as the client reads
	Compressed bool          // one GiB of JSON that gzip makes small, whether the client takes gzip or not
	Drip       time.Duration // a byte of JSON each time this has passed, or until the client goes away
}

// SetFault makes the issuer faulty. The zero value mends it.
func (i *Issuer) SetFault(f IssuerFault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = f
}

// replaces reports whether the fault answers in place of the issuer.
func (f IssuerFault) replaces(path string) bool {
	return (f.Path == "" || f.Path == path) &&
		(f.RedirectTo != "" || f.Status != 0 || f.Endless || f.Compressed || f.Drip > 0)
}

// ServeHTTP answers in place of the issuer.
func (f IssuerFault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case f.RedirectTo != "":
		target := f.RedirectTo
		if u, err := url.Parse(target); err == nil && u.Host != "" && u.Path == "" {
			target += r.URL.RequestURI()
		}
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusFound)
	case f.Status != 0:
		http.Error(w, http.StatusText(f.Status), f.Status)
	case f.Endless:
		const size = 10 << 30
		w.Header().Set("Content-Length", strconv.Itoa(size))
		writeBlanks(w, size)
	case f.Compressed:
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		writeBlanks(packed, 1<<30)
		_ = packed.Close() // the client has gone away, or has it all
	default:
		f.drip(w, r)
	}
}

// writeBlanks writes so many blanks, which are JSON as far as they go, unless the client goes away.
func writeBlanks(w interface{ Write([]byte) (int, error) }, size int) {
	blanks := make([]byte, 64<<10)
	for n := range blanks {
		blanks[n] = ' '
	}
	for written := 0; written < size; written += len(blanks) {
		if _, err := w.Write(blanks); err != nil {
			return
		}
	}
}

func (f IssuerFault) drip(w http.ResponseWriter, r *http.Request) {
	ticks := time.NewTicker(f.Drip)
	defer ticks.Stop()
	for {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticks.C:
		}
	}
}
