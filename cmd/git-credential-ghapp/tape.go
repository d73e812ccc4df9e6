package main

import (
	"bytes"
	"io"

	"github.com/ghapp-dev/ghapp/credential"
)

// tape is git's request, which is read once here and perhaps once more by ghapp.
type tape struct {
	source io.Reader
	read   []byte // of source, so far
	whole  bool   // that is all there is to a request
	parsed *credential.Credential
}

// Read reads on from the source.
func (t *tape) Read(b []byte) (int, error) {
	n, err := t.source.Read(b)
	t.read = append(t.read, b[:n]...)
	return n, err
}

// parse reads the request. Once it has been read, it is the same again.
func (t *tape) parse() (*credential.Credential, error) {
	if t.parsed != nil {
		return t.parsed, nil
	}
	parsed, err := credential.Parse(t)
	if err == nil {
		t.parsed, t.whole = parsed, true
	}
	return parsed, err
}

// rewound is the request from its beginning.
func (t *tape) rewound() io.Reader {
	switch {
	case len(t.read) == 0:
		return t.source // a child can have the file itself
	case t.whole:
		return bytes.NewReader(t.read)
	}
	return io.MultiReader(bytes.NewReader(t.read), t.source)
}
