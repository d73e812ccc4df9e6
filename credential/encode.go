package credential

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Encode writes c to w in one piece, secrets included, in the order git itself
// writes. Attributes that are zero are left out, and no empty line follows the
// last: that is the caller's, if more is to come on w.
//
// It returns an error, which names no value, and writes nothing, when a value
// has a newline, carriage return or NUL in it, when a list has an empty item
// (it would empty the list), and when c exceeds [MaxLine] or [MaxSize].
func (c *Credential) Encode(w io.Writer) error {
	var e encoder
	e.list("capability[]", c.Capabilities)
	e.text("authtype", c.AuthType)
	e.text("credential", c.Encoded.Reveal())
	e.flag("ephemeral", c.Ephemeral)
	e.text("protocol", c.Protocol)
	e.text("host", c.Host)
	e.text("path", c.Path)
	e.text("username", c.Username)
	e.text("password", c.Password.Reveal())
	e.text("oauth_refresh_token", c.OAuthRefreshToken.Reveal())
	if !c.PasswordExpiry.IsZero() {
		// To git zero is "never" and a negative number is far in the future.
		e.text("password_expiry_utc", strconv.FormatInt(max(1, c.PasswordExpiry.Unix()), 10))
	}
	e.list("wwwauth[]", c.WWWAuth)
	e.flag("continue", c.Continue)
	e.list("state[]", c.State)
	e.flag("quit", c.Quit)
	if e.err != nil {
		return fmt.Errorf("credential: %w", e.err)
	}
	if e.out.Len() > MaxSize {
		return fmt.Errorf("credential: more than %d bytes", MaxSize)
	}
	_, err := w.Write(e.out.Bytes())
	return err
}

// encoder collects lines and keeps the first error.
type encoder struct {
	out bytes.Buffer
	err error
}

func (e *encoder) line(key, value string) {
	switch {
	case e.err != nil:
	case strings.ContainsAny(value, "\n\r\x00"):
		e.err = fmt.Errorf("attribute %s: newline, carriage return or NUL", key)
	case len(key)+len(value)+2 > MaxLine:
		e.err = fmt.Errorf("attribute %s: longer than %d bytes", key, MaxLine)
	default:
		e.out.WriteString(key)
		e.out.WriteByte('=')
		e.out.WriteString(value)
		e.out.WriteByte('\n')
	}
}

func (e *encoder) text(key, value string) {
	if value != "" {
		e.line(key, value)
	}
}

func (e *encoder) flag(key string, value bool) {
	if value {
		e.line(key, "1")
	}
}

func (e *encoder) list(key string, values []string) {
	for _, value := range values {
		if value == "" && e.err == nil {
			e.err = fmt.Errorf("attribute %s: empty item", key)
		}
		e.line(key, value)
	}
}
