package main

import (
	"bytes"
	"io"

	"github.com/ghapp-dev/ghapp/credential"
)

// replayReader is git's request, which is read once here and perhaps once more by ghapp.
type replayReader struct {
	source io.Reader
	read   []byte // of source, so far
	whole  bool   // that is all there is to a request
	parsed *credential.Credential
}

// Read reads on from the source.
func (r *replayReader) Read(b []byte) (int, error) {
	n, err := r.source.Read(b)
	r.read = append(r.read, b[:n]...)
	return n, err
}

// parse reads the request. Once it has been read, it is the same again.
func (r *replayReader) parse() (*credential.Credential, error) {
	if r.parsed != nil {
		return r.parsed, nil
	}
	parsed, err := credential.Parse(r)
	if err == nil {
		r.parsed, r.whole = parsed, true
	}
	return parsed, err
}

// replay is the request from its beginning.
func (r *replayReader) replay() io.Reader {
	switch {
	case len(r.read) == 0:
		return r.source // a child can have the file itself
	case r.whole:
		return bytes.NewReader(r.read)
	}
	return io.MultiReader(bytes.NewReader(r.read), r.source)
}
