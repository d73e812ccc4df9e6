package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// place is where a chain ends: at its newest record.
type place struct {
	Chain string `json:"chain"` // an ID
	Seq   uint64 `json:"seq"`   // of the newest record; 0: there is none
	Hash  string `json:"hash"`  // of the newest record, in hexadecimal digits; empty where there is none
}

// newChain is one without a record.
func newChain() place { return place{Chain: rand.Text()} }

// The members that place a record, which come last, in this order.
const (
	seqMember      = `,"seq":`
	chainMember    = `,"chain":"`
	previousMember = `","previous":"`
	hashMember     = `","hash":"`
	lineEnd        = "\"}\n"
)

// link makes a line of a record's JSON object, and moves on to it. The hash is that of all
// that comes before it in the line.
func (p *place) link(body []byte) []byte {
	line := make([]byte, 0, len(body)+256)
	line = append(line, body[:len(body)-1]...) // without the brace
	line = append(line, seqMember...)
	line = strconv.AppendUint(line, p.Seq+1, 10)
	line = append(line, chainMember...)
	line = append(line, p.Chain...)
	line = append(line, previousMember...)
	line = append(line, p.Hash...)
	sum := sha256.Sum256(line)
	p.Seq, p.Hash = p.Seq+1, hex.EncodeToString(sum[:])
	line = append(line, hashMember...)
	line = append(line, p.Hash...)
	return append(line, lineEnd...)
}

// linked is a line that has been read.
type linked struct {
	place
	Previous string `json:"previous"`
	Torn     *Torn  `json:"torn"`
}

// parse reads a line, without what ends it. It is not ok where the line is none of [place.link], or
// is none any more.
func parse(line []byte) (l linked, ok bool) {
	const tail = len(hashMember) + sha256.Size*2 + len(lineEnd) - 1
	at := len(line) - tail
	if at <= 0 || !bytes.HasPrefix(line[at:], []byte(hashMember)) {
		return l, false
	}
	sum := sha256.Sum256(line[:at])
	if string(line[at+len(hashMember):]) != hex.EncodeToString(sum[:])+lineEnd[:len(lineEnd)-1] {
		return l, false
	}
	return l, json.Unmarshal(line, &l) == nil && l.Seq > 0 && l.Chain != ""
}
