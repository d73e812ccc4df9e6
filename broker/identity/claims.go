package identity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
)

// maxToken bounds a token, in bytes: those of CI systems have 1 to 3 KiB.
const maxToken = 16 << 10

// Claims are what a token says of who asks (RFC 7519 section 4.1). Nobody has verified it.
type Claims struct {
	Issuer, Subject string
	Audience        []string
	ExpiresAt       time.Time // zero: it does not say
}

// Read reads the claims of a token. The error repeats nothing of it.
func Read(token secret.Text) (Claims, error) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 || len(token.Reveal()) > maxToken {
		return Claims{}, errors.New("it is no JSON Web Token")
	}
	for _, part := range parts {
		if strings.Trim(part, base64URL) != "" {
			return Claims{}, errors.New("it is no JSON Web Token: there are characters in it that none has")
		}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var said struct {
		Iss string
		Sub string
		Aud oneOrMore
		Exp float64
	}
	if err != nil || json.Unmarshal(text, &said) != nil {
		return Claims{}, errors.New("it is no JSON Web Token: its claims cannot be read")
	}
	claims := Claims{Issuer: said.Iss, Subject: said.Sub, Audience: said.Aud}
	if said.Exp > 0 && said.Exp < 1<<40 {
		claims.ExpiresAt = time.Unix(int64(said.Exp), 0)
	}
	return claims, nil
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// oneOrMore is a text, or a list of texts.
type oneOrMore []string

// UnmarshalJSON implements [json.Unmarshaler].
func (o *oneOrMore) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(o))
}

// subjectOf is who a token speaks of, as far as that can be read.
func subjectOf(token string) string {
	claims, err := Read(secret.New(strings.TrimSpace(token)))
	if err != nil {
		return ""
	}
	return claims.Issuer + "\x00" + claims.Subject
}
