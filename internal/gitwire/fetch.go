package gitwire

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// Request is what is to be fetched of a repository.
type Request struct {
	// Format is that of the object IDs, [SHA1] or [SHA256]. Empty: SHA-1.
	Format string
	// Wants are the objects that are asked for, with all that can be reached from them. One
	// at least is required.
	Wants []string
	// Haves are objects that are here, with all that can be reached from them. The pack may
	// then have differences from what is here ("thin"). None: nothing is here.
	Haves []string
	// Tip asks for the wants without the commits before them, nor tags of them ("deepen 1"): whoever
	// keeps them keeps them as shallow (git-clone(1), "--depth").
	Tip bool
	// Shallow are the commits here, of those that can be reached from the haves, whose parents are not.
	Shallow []string
	// Stays leaves it to git to be led to another repository, also to one on the host.
	Stays bool
	// MaxBytes bounds the pack. 0: there is no bound.
	MaxBytes int64
	// Stall ends a fetch in which no byte comes for so long, and one in which hardly any do for ten times
	// that. 0: a minute.
	Stall time.Duration
	// Progress is told what the server says that it does, a printable line of at most 500
	// bytes at a time, from the goroutine that fetches. Nil: it is asked to say nothing.
	Progress func(line string)
}

const (
	// defaultStall is twelve times what a server lets pass between two signs of life
	// (git-config(1), "uploadpack.keepAlive").
	defaultStall = time.Minute
	// maxIdle is how many times that a server may take, with nothing but signs of life, until
	// it sends more of the pack: it first counts objects, and compresses them.
	maxIdle = 60
	// maxProgress bounds what is said of progress. A line a second for a night is 3 MB.
	maxProgress = 4 << 20
	// largeRequest is from where on a request is compressed, as git's are.
	largeRequest = 1 << 10
)

// Fetch asks for a pack in one request (gitprotocol-v2(5), "fetch") and gives its bytes to w
// as they come. It returns how many they are; nothing is held against the pack's own hash.
// The memory that it takes does not grow with the pack.
//
// No more than one attempt gives w a byte, and after an error what w has got is not whole.
// An error of w is returned as it is. [ErrUnsupported] is also a service of protocol 0 or 1,
// one whose repository is shallow, and one that sends to other places for the pack: w has
// got nothing then. A *[TooLargeError] is a pack beyond MaxBytes, and a *[RemoteError] is
// within a [*ghapp.Error] what the server says that keeps it from going on.
func (s *Service) Fetch(ctx context.Context, r ghapp.RepositoryName, want Request, w io.Writer) (int64, error) {
	op := "fetch from " + r.String()
	if err := want.check(); err != nil {
		return 0, &ghapp.Error{Kind: ghapp.ErrInvalid, Op: op, Err: err}
	}
	asked := uploadPack("", want.command())
	asked.plain = true // objects in a pack are compressed
	asked.stays = want.Stays
	if len(asked.body) > largeRequest {
		var err error
		if asked.body, err = s.compress(asked.body); err != nil {
			return 0, err
		}
		asked.zipped = true
	}
	asked.limits = limits{stall: want.stall(), idle: maxIdle * want.stall(), most: math.MaxInt64}
	var pack *packReader
	err := s.ask(ctx, op, r, func(q *question) error {
		if s.form(r).version0 {
			return q.unsupported(errors.New("it speaks protocol 0"))
		}
		pack = &packReader{question: q, want: want, w: w}
		asked.path = q.path()
		_, err := q.roundTrip(ctx, asked, pack.read)
		return pack.explain(err)
	})
	if pack == nil {
		return 0, err
	}
	return pack.bytes, err
}

func (want Request) stall() time.Duration {
	if want.Stall <= 0 {
		return defaultStall
	}
	return want.Stall
}

// check holds the object IDs against what they may be.
func (want Request) check() error {
	if want.Format != "" && want.Format != SHA1 && want.Format != SHA256 {
		return fmt.Errorf("%q is not a format of objects", want.Format)
	}
	if len(want.Wants) == 0 {
		return errors.New("nothing is wanted")
	}
	for _, list := range [][]string{want.Wants, want.Haves, want.Shallow} {
		for _, id := range list {
			if !IsObjectID(id) || (formatOf(id) == SHA256) != (want.Format == SHA256) {
				return fmt.Errorf("%q is not an object ID of the repository's format", id)
			}
		}
	}
	return nil
}

// command is the request. With "done" in it there is no negotiation: the answer is the pack.
func (want Request) command() []byte {
	format := want.Format
	if format == SHA1 {
		format = "" // which is what is meant where nothing is said
	}
	body := command("fetch", format)
	if len(want.Haves) > 0 {
		body = appendPacket(body, "thin-pack")
	}
	body = appendPacket(body, "ofs-delta")
	if !want.Tip {
		body = appendPacket(body, "include-tag")
	}
	if want.Progress == nil {
		body = appendPacket(body, "no-progress")
	}
	body = appendObjects(body, "want ", want.Wants)
	body = appendObjects(body, "shallow ", want.Shallow)
	if want.Tip {
		body = appendPacket(body, "deepen 1")
	}
	body = appendObjects(body, "have ", want.Haves)
	body = appendPacket(body, "done")
	return append(body, "0000"...)
}

// appendObjects adds a line for each of the IDs, once.
func appendObjects(body []byte, word string, ids []string) []byte {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	body = slices.Grow(body, len(ids)*(lengthLen+len(word)+65))
	for _, id := range ids {
		body = appendPacket(body, word+id)
	}
	return body
}

func (s *Service) compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(body) * 2 / 3)
	z, ok := s.compressors.Get().(*gzip.Writer)
	if !ok {
		var err error
		if z, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			return nil, err
		}
	}
	defer s.compressors.Put(z)
	z.Reset(&b)
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
