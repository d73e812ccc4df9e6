package signer

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
)

// decodeUTF returns text, from UTF-16 if it has a byte order mark of that; Windows
// PowerShell's ">" writes such files.
func decodeUTF(text []byte) string {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	default:
		return string(text) // the mark of UTF-8 is filler
	}
	var units []uint16
	for text = text[2:]; len(text) >= 2; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	return string(utf16.Decode(units))
}

// isFiller reports whether r may stand anywhere in copied PEM or base64 without
// meaning anything: blanks, line breaks, quotes, and the invisible characters
// that web pages add.
func isFiller(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || strings.ContainsRune("\"'`", r)
}

// mend gives text the one form that findBlocks reads: no escapes, line breaks
// that are \n, blanks that are ASCII, nothing invisible.
func mend(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r != '\n' && unicode.IsSpace(r):
			return ' '
		case unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, unescape(text))
}

// unescape undoes the escapes of JSON (RFC 8259 section 7), of .env files and of
// shells, also where they were escaped again on the way. It may be as free as
// this because no PEM has a backslash.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		text = after
		switch {
		case strings.HasPrefix(text, "n"), strings.HasPrefix(text, "r"):
			b.WriteByte('\n')
			text = text[1:]
		case strings.HasPrefix(text, "t"):
			b.WriteByte(' ')
			text = text[1:]
		case strings.HasPrefix(text, "u") && len(text) >= 5:
			if r, err := strconv.ParseUint(text[1:5], 16, 16); err == nil {
				b.WriteRune(rune(r))
				text = text[5:]
			}
		}
	}
}

// block is one BEGIN line with what follows it.
type block struct {
	label  string // without blanks
	body   string
	closed bool // by an END line
}

// armour matches a BEGIN or END line (RFC 7468 section 3) also where the blanks
// in it were lost.
var armour = sync.OnceValue(
	func() *regexp.Regexp { return regexp.MustCompile(`-----\s*(BEGIN|END)\s*([A-Z0-9\s]*?)\s*-----`) })

// brokenArmour matches what is left of a BEGIN line that lost its dashes.
var brokenArmour = sync.OnceValue(
	func() *regexp.Regexp { return regexp.MustCompile(`BEGIN\s*[A-Z0-9\s]*PRIVATE\s*KEY`) })

// onlyBegin matches a BEGIN line cut by a shell at a blank.
var onlyBegin = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-----BEGIN[A-Z0-9\s]*-*$`) })

// findBlocks returns the PEM blocks in text, none if there is no trace of PEM.
func findBlocks(text string) ([]block, *KeyError) {
	lines := armour().FindAllStringSubmatchIndex(text, -1)
	var blocks []block
	for i, line := range lines {
		if text[line[2]:line[3]] != "BEGIN" {
			continue
		}
		b := block{label: strings.Join(strings.Fields(text[line[4]:line[5]]), "")}
		if i+1 < len(lines) {
			b.body = text[line[1]:lines[i+1][0]]
			b.closed = text[lines[i+1][2]:lines[i+1][3]] == "END"
		} else {
			b.body = text[line[1]:]
		}
		blocks = append(blocks, b)
	}
	switch {
	case len(blocks) > 0:
		return blocks, nil
	case onlyBegin().MatchString(strings.TrimFunc(text, isFiller)):
		return nil, &KeyError{Problem: errFirstLine}
	case len(lines) > 0:
		return nil, &KeyError{Problem: errTruncated, Err: errNoBegin}
	case brokenArmour().MatchString(text):
		return nil, &KeyError{Problem: errDamaged}
	}
	return nil, nil
}

// base64 returns the body as one unpadded run, without headers (RFC 1421 section
// 4.4), which are the only lines with a colon.
func (b block) base64() string {
	var run strings.Builder
	for line := range strings.Lines(b.body) {
		if !strings.Contains(line, ":") {
			run.WriteString(line)
		}
	}
	return strings.TrimRight(dropFiller(run.String()), "=")
}

func dropFiller(text string) string {
	return strings.Map(func(r rune) rune {
		if isFiller(r) {
			return -1
		}
		return r
	}, text)
}

// unwrap returns what text is the base64 of (RFC 4648 sections 4 and 5, padded or
// not, wrapped or not), as far as it goes, or nil if it is something else.
func unwrap(text string) []byte {
	run := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(dropFiller(text)), "=")
	if len(run)%4 == 1 {
		run = run[:len(run)-1] // cut off within a group
	}
	inner, err := base64.RawStdEncoding.DecodeString(run)
	if err != nil {
		return nil
	}
	return inner
}

// shape is what a value looks like that is put where a private key belongs.
type shape struct {
	pattern string
	problem Problem
}

// mistakes have a form of their own.
var mistakes = []shape{
	{`^SHA256:[A-Za-z0-9+/]{43}=?$`, errFingerprint},
	{`^(?i:[0-9a-f]{2}(:[0-9a-f]{2}){15,31})$`, errFingerprint},
	{`^[0-9a-f]{40}$`, errClientSecret},
	{`^[0-9]{1,12}$`, errAppID},
	{`^Iv[0-9A-Za-z][0-9A-Za-z.]{8,30}$`, errAppID},
	{`^(gh[opsur]_|github_pat_)[A-Za-z0-9._-]+$`, errToken},
	{`^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`, errToken},
	{`^PuTTY-User-Key-File-`, errPuTTY},
	{`^(ssh-(rsa|ed25519|dss)|ecdsa-sha2-\S+) `, errPublicKey},
	{`^---- BEGIN SSH2 PUBLIC KEY`, errPublicKey},
	{`^\{[\s\S]*"kty"`, errJWK},
}

// references may be anything, so they are looked for last: the base64 of UTF-16
// begins with a slash.
var references = []shape{
	{`^(\$|\{\{|%\w+%$)`, errUnexpanded},
	{`^[^\n]*\.(pem|key|p8|der)$`, errPath},
	{`^(~|\.{1,2}|[A-Za-z]:|file:)?[/\\][^\n]*$`, errPath},
}

// recognise tells which of shapes value has, or errUnknown. The patterns are
// compiled here, where something has gone wrong already, and not at each start.
func recognise(shapes []shape, value string) Problem {
	for _, s := range shapes {
		if regexp.MustCompile(s.pattern).MatchString(value) {
			return s.problem
		}
	}
	return errUnknown
}
