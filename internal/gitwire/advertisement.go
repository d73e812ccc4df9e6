package gitwire

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// advertisement is the answer to git's first request
// (gitprotocol-http(5), "Smart Server Response"; gitprotocol-v2(5), "Capability
// Advertisement"). Protocol 0 has the refs in it, of protocol 2 there are capabilities.
type advertisement struct {
	version2 bool
	unborn   bool   // it tells of a HEAD that stands for no branch yet
	format   string // object-format; empty: SHA-1
}

func (ad *advertisement) setFormat(name string) {
	if name != SHA1 {
		ad.format = name
	}
}

// readAdvertisement reads git's first answer; take gets the refs where they are in it.
func readAdvertisement(p *packets, take func(Ref) error) (advertisement, error) {
	var ad advertisement
	first, err := readLine(p)
	if err == nil && first == "# service=git-upload-pack" {
		var next packet
		if next, err = p.next(); err == nil && next.mark != flush {
			err = protocolErrorf("the name of the service is not alone")
		}
		if err == nil {
			next, err = p.next()
		}
		if err == nil && next.mark == flush { // an older git has nothing to say of an empty repository
			return ad, p.end()
		}
		first, err = lineOf(next, err)
	}
	if err != nil {
		return ad, err
	}
	if first == "version 2" {
		return readCapabilities(p)
	}
	line, capabilities, ok := strings.Cut(first, "\x00")
	if !ok {
		return ad, protocolErrorf("its first line is not of git's protocol")
	}
	var target string
	for word := range strings.FieldsSeq(capabilities) {
		if text, ok := strings.CutPrefix(word, "object-format="); ok {
			ad.setFormat(text)
		} else if text, ok := strings.CutPrefix(word, "symref=HEAD:"); ok {
			target = text
		}
	}
	return ad, readRefs(p, take, line, target)
}

// readRefs reads the refs of protocol 0 from the first line on. What a tag points to
// has a line of its own after that of the tag.
func readRefs(p *packets, take func(Ref) error, line, target string) error {
	var last Ref
	takeLast := func() error {
		if last.Name == "" {
			return nil
		}
		if err := last.check(); err != nil {
			return err
		}
		return take(last)
	}
	for first := true; ; first = false {
		object, name, _ := strings.Cut(line, " ")
		tag, peeled := strings.CutSuffix(name, "^{}")
		switch {
		case first && name == "capabilities^{}": // there are no refs
		case object == "shallow":
		case name == "":
			return protocolErrorf("a line is not a ref")
		case peeled && tag == last.Name:
			last.Peeled = object
		case peeled:
			return protocolErrorf("a line peels the tag of another")
		default:
			if err := takeLast(); err != nil {
				return err
			}
			last = Ref{Name: name, ID: object}
			if name == head {
				last.Target = target
			}
		}
		next, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return protocolErrorf("it ends before its end")
		case err != nil:
			return err
		case next.mark == flush:
			if err := takeLast(); err != nil {
				return err
			}
			return p.end()
		case next.mark != payload:
			return protocolErrorf("a line is neither a ref nor the end")
		}
		line = string(next.line)
	}
}

func readCapabilities(p *packets) (advertisement, error) {
	ad := advertisement{version2: true}
	lists := false
	for {
		next, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return ad, protocolErrorf("it ends before its end")
		case err != nil:
			return ad, err
		case next.mark == flush && !lists:
			return ad, protocolErrorf("the server does not list refs by protocol 2")
		case next.mark == flush:
			return ad, p.end()
		case next.mark != payload:
			return ad, protocolErrorf("a line is neither a capability nor the end")
		}
		switch key, value, _ := strings.Cut(string(next.line), "="); key {
		case "ls-refs":
			lists = true
			ad.unborn = slices.Contains(strings.Fields(value), "unborn")
		case "object-format":
			ad.setFormat(value)
		}
	}
}

// readLine reads a packet that has to have a payload.
func readLine(p *packets) (string, error) { return lineOf(p.next()) }

func lineOf(next packet, err error) (string, error) {
	switch {
	case errors.Is(err, io.EOF):
		return "", protocolErrorf("it is empty")
	case err != nil:
		return "", err
	case next.mark != payload:
		return "", protocolErrorf("its first line is not of git's protocol")
	}
	return string(next.line), nil
}
