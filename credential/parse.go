package credential

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
)

const (
	// MaxLine is the longest line of a description in bytes, its newline
	// included, https://git-scm.com/docs/git-credential#IOFMT.
	MaxLine = 65535
	// MaxSize is the longest description in bytes. git sets no such limit; this
	// one is sixteen of the longest lines.
	MaxSize = 1 << 20
)

// maxExpiry is the last second of the year 9999, the last one RFC 3339 can
// write. git's own numbers are wider; what lies beyond it never expires.
const maxExpiry = 253402300799

// Parse reads one description from r, up to an empty line or the end of the
// input. Attributes it does not know are ignored, the last of several values
// counts, and an empty value of a list attribute empties the list. Given a
// [bufio.Reader] it leaves what follows the empty line unread.
//
// It returns an error, which names no value, for a line without "=", a line
// over [MaxLine], a description over [MaxSize], a carriage return or NUL
// anywhere, a malformed boolean or expiry, and a URL that git refuses.
func Parse(r io.Reader) (*Credential, error) {
	input, ok := r.(*bufio.Reader)
	if !ok {
		input = bufio.NewReader(r)
	}
	c := new(Credential)
	size := 0
	for number := 1; ; number++ {
		line, err := readLine(input)
		if err != nil {
			return nil, fmt.Errorf("credential: line %d: %w", number, err)
		}
		if line == "" {
			return c, nil
		}
		if size += len(line) + 1; size > MaxSize {
			return nil, fmt.Errorf("credential: more than %d bytes", MaxSize)
		}
		if err := c.set(line); err != nil {
			return nil, fmt.Errorf("credential: line %d: %w", number, err)
		}
	}
}

// readLine returns the next line without its newline, and "" for both an empty
// line and the end of the input.
func readLine(input *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := input.ReadSlice('\n')
		line = append(line, part...)
		text := bytes.TrimSuffix(line, []byte("\n"))
		if len(text)+1 > MaxLine {
			return "", fmt.Errorf("longer than %d bytes", MaxLine)
		}
		switch {
		case err == nil, errors.Is(err, io.EOF):
			return string(text), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

func (c *Credential) set(line string) error {
	if strings.ContainsAny(line, "\r\x00") {
		return errors.New("carriage return or NUL")
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return errors.New("no equals sign")
	}
	var err error
	switch key {
	case "capability[]":
		setList(&c.Capabilities, value)
	case "authtype":
		c.AuthType = value
	case "credential":
		c.Encoded = secret.New(value)
	case "ephemeral":
		c.Ephemeral, err = parseBool(value)
	case "protocol":
		c.Protocol = value
	case "host":
		c.Host = value
	case "path":
		c.Path = value
	case "username":
		c.Username = value
	case "password":
		c.Password = secret.New(value)
	case "oauth_refresh_token":
		c.OAuthRefreshToken = secret.New(value)
	case "password_expiry_utc":
		c.PasswordExpiry, err = parseExpiry(value)
	case "wwwauth[]":
		setList(&c.WWWAuth, value)
	case "continue":
		c.Continue, err = parseBool(value)
	case "state[]":
		setList(&c.State, value)
	case "quit":
		c.Quit, err = parseBool(value)
	case "url":
		// git forgets all it has read so far when it meets a URL.
		*c, err = fromURL(value)
	}
	if err != nil {
		return fmt.Errorf("attribute %s: %w", key, err)
	}
	return nil
}

func setList(list *[]string, value string) {
	if value == "" {
		*list = nil
		return
	}
	*list = append(*list, value)
}

// parseBool takes the spellings of git's configuration,
// https://git-scm.com/docs/git-config#Documentation/git-config.txt-boolean.
func parseBool(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off", "":
		return false, nil
	}
	number, err := strconv.Atoi(value)
	if err != nil {
		return false, errors.New("not a boolean")
	}
	return number != 0, nil
}

func parseExpiry(value string) (time.Time, error) {
	seconds, err := strconv.ParseUint(value, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return time.Time{}, nil
	case err != nil:
		// git reads "12x" as 12 and "x" as never; neither is what was meant.
		return time.Time{}, errors.New("not a number of seconds")
	case seconds == 0 || seconds > maxExpiry:
		return time.Time{}, nil
	}
	return time.Unix(int64(seconds), 0), nil
}
