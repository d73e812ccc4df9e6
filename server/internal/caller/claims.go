package caller

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxToken  = 16 << 10 // in bytes; GitHub's have 2 KiB
	maxDepth  = 8        // of claims in claims
	maxSecond = 1 << 40  // of a time; more has no meaning, and float64 would lose it
	// leeway is how far an issuer's clock may be from ours.
	leeway = 30 * time.Second
)

// claimsOf reads the claims of a JWT in its compact form, whose signature nobody has looked at
// yet, with their text.
func claimsOf(token string) (claims map[string]any, text []byte, err error) {
	if len(token) > maxToken {
		return nil, nil, fmt.Errorf("it is longer than %d bytes", maxToken)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, errors.New("it is no JWT in the compact form")
	}
	text, err = base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil, nil, errors.New("its claims are not base64url")
	}
	claims, err = parseClaims(text)
	return claims, text, err
}

// parseClaims reads an object of JSON in which nothing can be read in two ways.
func parseClaims(text []byte) (claims map[string]any, err error) {
	if !utf8.Valid(text) || json.Unmarshal(text, &claims) != nil || claims == nil {
		return nil, errors.New("its claims are no object of JSON")
	}
	return claims, checkNames(text)
}

// checkNames refuses a name that an object in text, which is JSON, has twice: one reader takes
// the first, and another the last. For the same reason none may be written with an escape.
func checkNames(text []byte) error {
	var around []map[string]bool // the names so far of each object around; nil for an array
	isName := false
	for at := 0; at < len(text); at++ {
		switch text[at] {
		case '{', '[':
			if len(around) == maxDepth {
				return errors.New("its claims are nested too deep")
			}
			var names map[string]bool
			if isName = text[at] == '{'; isName {
				names = map[string]bool{}
			}
			around = append(around, names)
		case '}', ']':
			around = around[:len(around)-1]
		case ',':
			isName = around[len(around)-1] != nil
		case '"':
			begin := at + 1
			at = closingQuote(text, begin)
			if !isName {
				continue
			}
			isName = false
			name, names := string(text[begin:at]), around[len(around)-1]
			if names[name] || strings.Contains(name, `\`) {
				return errors.New("a claim is there twice, or has an escape in its name")
			}
			names[name] = true
		}
	}
	return nil
}

// closingQuote finds the end of a string of JSON.
func closingQuote(text []byte, at int) int {
	for ; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at
}

// checkAudience takes a token that is for us and for nobody else: what others are sent as well
// they could send on to us.
func checkAudience(claims map[string]any, audience string) error {
	switch value := claims["aud"].(type) {
	case string:
		if value == audience {
			return nil
		}
	case []any:
		if len(value) == 1 && value[0] == any(audience) {
			return nil
		}
	}
	return errors.New("its audience is not ours, or not ours alone")
}

// checkTimes returns when the token ends.
func checkTimes(claims map[string]any, now time.Time) (time.Time, error) {
	expires, there, err := timeClaim(claims, "exp")
	switch {
	case err != nil:
		return time.Time{}, err
	case !there:
		return time.Time{}, errors.New("it never ends: there is no exp")
	case !now.Before(expires.Add(leeway)):
		return time.Time{}, errors.New("it has ended")
	}
	for _, name := range []string{"nbf", "iat"} {
		from, there, err := timeClaim(claims, name)
		switch {
		case err != nil:
			return time.Time{}, err
		case there && from.After(now.Add(leeway)):
			return time.Time{}, fmt.Errorf("it is of the future: %s", name)
		}
	}
	return expires, nil
}

// timeClaim reads a NumericDate, RFC 7519 section 2.
func timeClaim(claims map[string]any, name string) (at time.Time, there bool, err error) {
	value, there := claims[name]
	if !there {
		return time.Time{}, false, nil
	}
	seconds, ok := value.(float64)
	if !ok || seconds < 0 || seconds > maxSecond {
		return time.Time{}, true, fmt.Errorf("%s is no time", name)
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), true, nil
}

// textClaim is a claim that is text, "" where there is none.
func textClaim(claims map[string]any, name string) (string, error) {
	value, there := claims[name]
	if !there {
		return "", nil
	}
	text, ok := value.(string)
	if !ok || strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("%s is no text in one line", name)
	}
	return text, nil
}
