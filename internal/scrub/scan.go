package scrub

import (
	"github.com/ghapp-dev/ghapp/secret"
)

const (
	minCut = 8        // bytes of a known secret cut off by the end, to be taken for it
	maxPEM = 32 << 10 // bytes taken out from a BEGIN line on that has no END line
)

// scan decides byte by byte what of a text is secret. It may be handed the text
// in pieces; what it decides does not depend on where they were cut.
//
// A byte is secret if it is in any occurrence of anything secret, also where one
// begins within another.
type scan struct {
	secret int  // bytes of the text to come that are known to be secret
	token  bool // within a token, which goes on as long as its characters
	pem    int  // bytes of a PEM block that may still come; 0 outside of one
	hidden bool // the last byte was secret, and its placeholder is written
}

// next appends to out what text becomes, and returns with it the end of text that
// cannot be decided before more comes. If final, nothing more comes, and all of
// it is decided.
func (s *scan) next(out, text []byte, k *known, final bool) (written, rest []byte) {
	for i, c := range text {
		rest := text[i:]
		n, more := k.match(rest, final)
		token, moreToken := matchToken(rest)
		begin, moreBegin := matchArmour(rest, "-----BEGIN")
		end, moreEnd := 0, false
		if s.pem > 0 {
			end, moreEnd = matchArmour(rest, "-----END")
		}
		if !final && (more || moreToken || moreBegin || moreEnd) {
			return out, rest
		}

		s.token = token || s.token && isToken(c)
		if s.token {
			n = max(n, 1)
		}
		switch {
		case begin > 0:
			s.pem = maxPEM - 1
		case end > 0:
			s.pem = 0
		case s.pem > 0 && isPEM(c):
			s.pem--
			n = max(n, 1)
		default:
			s.pem = 0
		}
		s.secret = max(s.secret, n, begin, end)

		switch {
		case s.secret == 0:
			out = append(out, c)
			s.hidden = false
			continue
		case !s.hidden:
			out = append(out, secret.Placeholder...)
			s.hidden = true
		}
		s.secret--
	}
	return out, nil
}

// match returns how many bytes at the beginning of text are a known secret. If
// more, what comes behind text may make it one, or a longer one.
func (k *known) match(text []byte, final bool) (n int, more bool) {
	if k == nil {
		return 0, false
	}
	for _, form := range k.forms[text[0]] {
		whole, part := begins(text, form)
		switch {
		case whole:
			n = max(n, len(form))
		case part:
			more = true
			if final && len(text) >= minCut {
				n = len(text)
			}
		}
	}
	return n, more
}
