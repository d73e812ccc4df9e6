package gitwire

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// Ref is one of a server's.
type Ref struct {
	// Name is the full name, as it was sent: it may be one that git itself would not have.
	Name string
	// ID is the object's, in lower-case hex. It is empty where a HEAD that was asked for
	// stands for no branch yet.
	ID string
	// Peeled is of an annotated tag what it points to in the end; else it is empty.
	Peeled string
	// Target is of a symbolic ref the full name of the one it stands for, as it was sent;
	// else it is empty.
	Target string
}

// head is the ref that stands for the default branch.
const head = "HEAD"

// check holds the IDs against what they may be.
func (r Ref) check() error {
	if !IsObjectID(r.ID) || r.Peeled != "" && !IsObjectID(r.Peeled) {
		return protocolErrorf("a ref has no object ID")
	}
	return nil
}

// IsObjectID reports whether text is an object ID, of SHA-1 or SHA-256, in lower case. The
// ID of all zeros is none (gitglossary(7), "null").
func IsObjectID(text string) bool {
	return (len(text) == 40 || len(text) == 64) &&
		strings.Trim(text, "0123456789abcdef") == "" && strings.Trim(text, "0") != ""
}

// The formats of objects (gitprotocol-capabilities(5), "object-format").
const (
	SHA1   = "sha1"
	SHA256 = "sha256"
)

// Listing is what is asked about the refs of a repository.
type Listing struct {
	// Op is what is being done, to which repository, for errors. Empty: that refs are listed.
	Op string
	// Prefixes are those of the refs that are wanted. A server may send more. None: all.
	Prefixes []string
	// Unborn asks for a HEAD that stands for no branch yet, too.
	Unborn bool
	// Begin is called for each answer, of which there are several where the first was not
	// understood, and returns what takes its refs in their order. An error of that ends the
	// listing; a [*ProtocolError] has the service asked in another way. Required.
	Begin func() (take func(Ref) error)

	limits // the zero value: those of a few refs
}

// Listed is what there is to know of an answer besides its refs.
type Listed struct {
	// Repository is the one that answered: another name than was asked for after a
	// renaming or a transfer.
	Repository ghapp.RepositoryName
	// Format is that of the object IDs, sha1 or sha256, where the server was asked for it;
	// else it is empty.
	Format string
	// All says that every ref was sent, whatever was asked for.
	All bool
	// Requests is how many were sent.
	Requests int
}

const (
	// maxAnswer bounds an answer, and with it the refs in it: protocol 0 needs about 65
	// bytes for each.
	maxAnswer = 32 << 20
	// requestTimeout ends a request that hangs.
	requestTimeout = 30 * time.Second
)

// List asks for refs. As a rule that is one request, ls-refs of protocol 2
// (gitprotocol-v2(5)); a service that refuses it by itself is asked as git does, from the
// discovery of refs on (gitprotocol-http(5)), and from then on at once in the form that
// served. An answer of more than 32 MB, and one that takes longer than 30 seconds, is an
// error.
func (s *Service) List(ctx context.Context, r ghapp.RepositoryName, l Listing) (Listed, error) {
	if l.Op == "" {
		l.Op = "list the refs of " + r.String()
	}
	if l.most == 0 {
		l.limits = limits{within: requestTimeout, most: maxAnswer,
			bound: &ProtocolError{Problem: "it is larger than was to be expected"}}
	}
	var listed Listed
	err := s.ask(ctx, l.Op, r, func(q *question) (err error) {
		listed, err = q.list(ctx, &l)
		listed.Requests = q.requests
		return err
	})
	if err != nil {
		return Listed{}, err
	}
	return listed, nil
}

// list asks in the form that served last time, or finds out which one does.
func (q *question) list(ctx context.Context, l *Listing) (Listed, error) {
	f := q.service.form(q.repository)
	var problem error
	if !f.discover {
		listed, err := q.lsRefs(ctx, q.path(), f, l)
		if !isProtocol(err) {
			return listed, err
		}
		problem = err
	}
	listed, served, err := q.discover(ctx, l)
	if isProtocol(err) {
		q.service.forms.Delete(key(q.repository)) // begin at the beginning next time
		if problem == nil {
			problem = err
		}
		return Listed{}, q.unsupported(problem)
	}
	if problem != nil && err == nil {
		same := served.format == f.format && (served.noUnborn == f.noUnborn || !l.Unborn)
		served.discover = served.version0 || same // else the form was what was wrong
		q.service.forms.Store(key(q.repository), served)
		q.service.log().Debug("the git service is asked in another way", "repository", q.repository.String(),
			"since", problem, "discover", served.discover, "format", served.format)
	}
	return listed, err
}

// lsRefs asks with ls-refs.
func (q *question) lsRefs(ctx context.Context, path string, f form, l *Listing) (Listed, error) {
	unborn := l.Unborn && !f.noUnborn
	asked := uploadPack(path, l.command(f.format, unborn))
	asked.limits = l.limits
	path, err := q.roundTrip(ctx, asked, func(p *packets) error { return readListing(p, unborn, l.Begin()) })
	if err != nil {
		return Listed{}, err
	}
	r, err := q.answered(path)
	return Listed{Repository: r, Format: f.format, All: len(l.Prefixes) == 0}, err
}

// uploadPack is a request to git's service of that name.
func uploadPack(path string, body []byte) request {
	return request{
		path: path, suffix: "/git-upload-pack", body: body, media: "application/x-git-upload-pack-result",
	}
}

// command is the request (gitprotocol-v2(5), "Command Request").
func (l *Listing) command(format string, unborn bool) []byte {
	body := command("ls-refs", format)
	body = appendPacket(body, "peel")
	body = appendPacket(body, "symrefs")
	if unborn {
		body = appendPacket(body, "unborn")
	}
	for _, prefix := range l.Prefixes {
		body = appendPacket(body, "ref-prefix "+prefix)
	}
	return append(body, "0000"...)
}

// command begins a request, up to its arguments.
func command(name, format string) []byte {
	body := appendPacket(nil, "command="+name)
	body = appendPacket(body, "agent=ghapp")
	if format != "" {
		body = appendPacket(body, "object-format="+format)
	}
	return append(body, "0001"...)
}

// discover asks as git does, beginning with the discovery of refs.
func (q *question) discover(ctx context.Context, l *Listing) (Listed, form, error) {
	var ad advertisement
	discovery := request{
		path: q.path(), suffix: "/info/refs", query: "?service=git-upload-pack",
		media: "application/x-git-upload-pack-advertisement", limits: l.limits,
	}
	path, err := q.roundTrip(ctx, discovery, func(p *packets) (err error) {
		ad, err = readAdvertisement(p, l.Begin())
		return err
	})
	var listed Listed
	f := form{version0: !ad.version2, format: ad.format, noUnborn: !ad.unborn}
	switch {
	case err != nil:
	case ad.format != "" && ad.format != SHA256:
		err = protocolErrorf("its objects are in a format that is not known")
	case ad.version2:
		listed, err = q.lsRefs(ctx, path, f, l)
	default:
		listed = Listed{Format: f.format, All: true}
		listed.Repository, err = q.answered(path)
	}
	return listed, f, err
}

// readListing reads the answer to ls-refs (gitprotocol-v2(5), "ls-refs").
func readListing(p *packets, unborn bool, take func(Ref) error) error {
	for {
		next, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return protocolErrorf("it ends before its end")
		case err != nil:
			return err
		case next.mark == flush:
			return p.end()
		case next.mark != payload:
			return protocolErrorf("a line is neither a ref nor the end")
		}
		r, err := parseRef(string(next.line), unborn)
		if err == nil {
			err = take(r)
		}
		if err != nil {
			return err
		}
	}
}

func parseRef(line string, unborn bool) (Ref, error) {
	object, rest, _ := strings.Cut(line, " ")
	name, attributes, more := strings.Cut(rest, " ")
	r := Ref{Name: name, ID: object}
	if name == "" {
		return Ref{}, protocolErrorf("a line is not a ref")
	}
	for more {
		var attribute string
		attribute, attributes, more = strings.Cut(attributes, " ")
		if text, ok := strings.CutPrefix(attribute, "peeled:"); ok {
			r.Peeled = text
		} else if text, ok := strings.CutPrefix(attribute, "symref-target:"); ok {
			r.Target = text
		}
	}
	if unborn && object == "unborn" && name == head {
		r.ID = ""
		return r, nil
	}
	return r, r.check()
}
