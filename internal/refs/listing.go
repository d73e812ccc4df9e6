package refs

import (
	"errors"
	"io"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// ref is one of a server's.
type ref struct {
	name   string
	object string
	peeled string // of an annotated tag, what it points to in the end
	target string // of a symbolic ref, the full name of the one it stands for
}

// listing takes the refs of a server as they come and keeps the one that is wanted.
type listing struct {
	revision   Revision
	constraint *semver.Constraints // of revision.Version

	found   Found
	version *semver.Version // of found
	count   int
}

func newListing(w Revision) (*listing, error) {
	l := &listing{revision: w}
	var err error
	if w.Version != "" {
		l.constraint, err = parseConstraint(w.Version)
	}
	return l, err
}

// take looks at a ref. A server may send more than it was asked for.
func (l *listing) take(r ref) error {
	l.count++
	if !isObject(r.object) || r.peeled != "" && !isObject(r.peeled) {
		return unsuitablef("a ref has no object ID")
	}
	v, ok := l.matches(r.name)
	if !ok {
		return nil
	}
	if l.found.Ref == r.name || l.found.Ref != "" && l.constraint == nil {
		return unsuitablef("it has the ref that is wanted twice")
	}
	if l.version != nil {
		// Equal are 1.2.3 and v1.2.3, and those that differ in what was built.
		if order := v.Compare(l.version); order < 0 || order == 0 && r.name < l.found.Ref {
			return nil
		}
	}
	l.found.Ref, l.found.Commit, l.version = r.name, r.object, v
	if r.peeled != "" {
		l.found.Commit = r.peeled
	}
	if r.name == head && r.target != "" {
		branch, ok := strings.CutPrefix(r.target, heads)
		if !ok || checkName("branch", branch) != nil {
			return unsuitablef("HEAD stands for what is no branch")
		}
		l.found.Ref = r.target
	}
	return nil
}

func (l *listing) matches(name string) (v *semver.Version, ok bool) {
	if l.constraint == nil {
		return nil, name == l.revision.ref()
	}
	if tag, isTag := strings.CutPrefix(name, tags); isTag {
		v = versionOf(tag)
	}
	return v, v != nil && l.constraint.Check(v) && checkName("tag", strings.TrimPrefix(name, tags)) == nil
}

// ref is the full name of the ref that is wanted, where it can be told beforehand.
func (w Revision) ref() string {
	switch {
	case w.Branch != "":
		return heads + w.Branch
	case w.Tag != "":
		return tags + w.Tag
	}
	return head
}

// readListing reads the answer to ls-refs (gitprotocol-v2(5), "ls-refs").
func readListing(p *packets, l *listing) error {
	for {
		next, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return unsuitablef("it ends before its end")
		case err != nil:
			return err
		case next.mark == flush:
			return p.end()
		case next.mark != payload:
			return unsuitablef("a line is neither a ref nor the end")
		}
		r, err := parseRef(string(next.line))
		if err == nil {
			err = l.take(r)
		}
		if err != nil {
			return err
		}
	}
}

func parseRef(line string) (ref, error) {
	object, rest, _ := strings.Cut(line, " ")
	name, attributes, more := strings.Cut(rest, " ")
	r := ref{name: name, object: object}
	if name == "" {
		return ref{}, unsuitablef("a line is not a ref")
	}
	for more {
		var attribute string
		attribute, attributes, more = strings.Cut(attributes, " ")
		if text, ok := strings.CutPrefix(attribute, "peeled:"); ok {
			r.peeled = text
		} else if text, ok := strings.CutPrefix(attribute, "symref-target:"); ok {
			r.target = text
		}
	}
	return r, nil
}

// advertisement is the answer to git's first request
// (gitprotocol-http(5), "Smart Server Response"; gitprotocol-v2(5), "Capability
// Advertisement"). Protocol 0 has the refs in it, of protocol 2 there are capabilities.
type advertisement struct {
	version2 bool
	format   string // object-format; empty: SHA-1
}

func (ad *advertisement) setFormat(name string) {
	if name != sha1 {
		ad.format = name
	}
}

// readAdvertisement reads git's first answer; l takes the refs where they are in it.
func readAdvertisement(p *packets, l *listing) (advertisement, error) {
	var ad advertisement
	first, err := readLine(p)
	if err == nil && first == "# service=git-upload-pack" {
		var next packet
		if next, err = p.next(); err == nil && next.mark != flush {
			err = unsuitablef("the name of the service is not alone")
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
		return ad, unsuitablef("its first line is not of git's protocol")
	}
	var target string
	for word := range strings.FieldsSeq(capabilities) {
		if text, ok := strings.CutPrefix(word, "object-format="); ok {
			ad.setFormat(text)
		} else if text, ok := strings.CutPrefix(word, "symref=HEAD:"); ok {
			target = text
		}
	}
	return ad, readRefs(p, l, line, target)
}

// readRefs reads the refs of protocol 0 from the first line on. What a tag points to
// has a line of its own after that of the tag.
func readRefs(p *packets, l *listing, line, target string) error {
	var last ref
	take := func() error {
		if last.name == "" {
			return nil
		}
		return l.take(last)
	}
	for first := true; ; first = false {
		object, name, _ := strings.Cut(line, " ")
		tag, peeled := strings.CutSuffix(name, "^{}")
		switch {
		case first && name == "capabilities^{}": // there are no refs
		case object == "shallow":
		case name == "":
			return unsuitablef("a line is not a ref")
		case peeled && tag == last.name:
			last.peeled = object
		case peeled:
			return unsuitablef("a line peels the tag of another")
		default:
			if err := take(); err != nil {
				return err
			}
			last = ref{name: name, object: object}
			if name == head {
				last.target = target
			}
		}
		next, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return unsuitablef("it ends before its end")
		case err != nil:
			return err
		case next.mark == flush:
			if err := take(); err != nil {
				return err
			}
			return p.end()
		case next.mark != payload:
			return unsuitablef("a line is neither a ref nor the end")
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
			return ad, unsuitablef("it ends before its end")
		case err != nil:
			return ad, err
		case next.mark == flush && !lists:
			return ad, unsuitablef("the server does not list refs by protocol 2")
		case next.mark == flush:
			return ad, p.end()
		case next.mark != payload:
			return ad, unsuitablef("a line is neither a capability nor the end")
		}
		switch key, value, _ := strings.Cut(string(next.line), "="); key {
		case "ls-refs":
			lists = true
		case "object-format":
			ad.setFormat(value)
		}
	}
}

const (
	sha1   = "sha1"
	sha256 = "sha256"
)

// readLine reads a packet that has to have a payload.
func readLine(p *packets) (string, error) { return lineOf(p.next()) }

func lineOf(next packet, err error) (string, error) {
	switch {
	case errors.Is(err, io.EOF):
		return "", unsuitablef("it is empty")
	case err != nil:
		return "", err
	case next.mark != payload:
		return "", unsuitablef("its first line is not of git's protocol")
	}
	return string(next.line), nil
}
