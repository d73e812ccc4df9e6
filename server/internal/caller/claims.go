package caller

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// parseClaims reads an object of JSON in which nothing can be read in two ways: no name is
// there twice, and all of it is UTF-8.
func parseClaims(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("its claims are not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	value, err := parseValue(decoder, 0)
	if err != nil {
		return nil, err
	}
	claims, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("its claims are no object")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its claims")
	}
	return claims, nil
}

func parseValue(decoder *json.Decoder, depth int) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, errors.New("its claims are not JSON")
	}
	delimiter, nested := token.(json.Delim)
	switch {
	case !nested:
		return token, nil
	case depth == maxDepth:
		return nil, errors.New("its claims are nested too deep")
	case delimiter == '[':
		return parseArray(decoder, depth+1)
	}
	return parseObject(decoder, depth+1)
}

func parseArray(decoder *json.Decoder, depth int) (any, error) {
	list := []any{}
	for decoder.More() {
		value, err := parseValue(decoder, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, closing(decoder)
}

func parseObject(decoder *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, errors.New("its claims are not JSON")
		}
		key, ok := name.(string)
		if !ok {
			return nil, errors.New("its claims are not JSON")
		}
		if _, twice := object[key]; twice {
			return nil, errors.New("a claim is there twice")
		}
		if object[key], err = parseValue(decoder, depth); err != nil {
			return nil, err
		}
	}
	return object, closing(decoder)
}

func closing(decoder *json.Decoder) error {
	if _, err := decoder.Token(); err != nil {
		return errors.New("its claims are not JSON")
	}
	return nil
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
