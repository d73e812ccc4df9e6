package githubtest

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
)

// GitObject is an object of git's, good or bad.
type GitObject struct {
	Kind    string // "commit", "tree", "blob" or "tag"
	Content []byte
}

// ID is the object's name in a format, "sha1" or "sha256".
func (o GitObject) ID(format string) string {
	h := newHash(format)
	fmt.Fprintf(h, "%s %d\x00", o.Kind, len(o.Content))
	h.Write(o.Content)
	return hex.EncodeToString(h.Sum(nil))
}

func newHash(format string) hash.Hash {
	if format == "sha256" {
		return sha256.New()
	}
	return sha1.New()
}

// History is so many commits in a line, each with one file of its own, made without git: the last object is the commit
// that all of them can be reached from.
func History(format string, commits int) []GitObject {
	var list []GitObject
	parent := ""
	for i := range commits {
		blob := GitObject{"blob", fmt.Appendf(nil, "text %d\n", i)}
		raw, _ := hex.DecodeString(blob.ID(format))
		tree := GitObject{"tree", append([]byte("100644 file\x00"), raw...)}
		who := fmt.Sprintf("A U Thor <author@example.com> %d +0000", firstCommit+60*i)
		commit := GitObject{"commit", fmt.Appendf(nil, "tree %s\n%sauthor %s\ncommitter %s\n\ncommit %d\n",
			tree.ID(format), parent, who, who, i)}
		parent = "parent " + commit.ID(format) + "\n"
		list = append(list, blob, tree, commit)
	}
	return list
}

// PackWriter writes a pack, an object at a time. https://git-scm.com/docs/gitformat-pack
type PackWriter struct {
	w   io.Writer
	sum hash.Hash
}

// NewPackWriter begins a pack that says it has so many objects, be that so or not.
func NewPackWriter(w io.Writer, format string, objects uint32) (*PackWriter, error) {
	p := &PackWriter{sum: newHash(format)}
	p.w = io.MultiWriter(w, p.sum)
	_, err := p.w.Write(binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), objects))
	return p, err
}

// The kinds of what stands in a pack.
var packKinds = map[string]byte{"commit": 1, "tree": 2, "blob": 3, "tag": 4, "ref-delta": 7}

// Object writes an object.
func (p *PackWriter) Object(o GitObject) error {
	return p.Stream(o.Kind, int64(len(o.Content)), bytes.NewReader(o.Content))
}

// Stream writes an object that says it has so many bytes, with what is read, be that as much or not.
func (p *PackWriter) Stream(kind string, size int64, content io.Reader) error {
	return p.entry(kind, size, nil, content)
}

// Delta writes an object as what is to be done to another, see [AppendCopy].
func (p *PackWriter) Delta(base string, instructions []byte) error {
	raw, err := hex.DecodeString(base)
	if err != nil {
		return fmt.Errorf("githubtest: %w", err)
	}
	return p.entry("ref-delta", int64(len(instructions)), raw, bytes.NewReader(instructions))
}

func (p *PackWriter) entry(kind string, size int64, base []byte, content io.Reader) error {
	head := []byte{packKinds[kind]<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	if _, err := p.w.Write(append(head, base...)); err != nil {
		return err
	}
	z := zlib.NewWriter(p.w)
	if _, err := io.Copy(z, content); err != nil {
		return err
	}
	return z.Close()
}

// Close writes the hash of all that was written.
func (p *PackWriter) Close() error {
	_, err := p.w.Write(p.sum.Sum(nil))
	return err
}

// AppendCopy adds to the instructions of a delta that so many bytes of its base are to stand there next, at most
// 2^24-1, from an offset on. Instructions begin with the sizes of the base and of what is made of it, which
// [binary.AppendUvarint] writes.
func AppendCopy(instructions []byte, offset uint32, size uint32) []byte {
	op, arguments := byte(0x80), []byte{}
	for i := range 4 {
		if b := byte(offset >> (8 * i)); b != 0 {
			op |= 1 << i
			arguments = append(arguments, b)
		}
	}
	for i := range 3 {
		if b := byte(size >> (8 * i)); b != 0 {
			op |= 0x10 << i
			arguments = append(arguments, b)
		}
	}
	return append(append(instructions, op), arguments...)
}

// PackSource sends a pack. A [GitServer] ends its answer in the middle of it, as if it were complete, when that fails
// with [ErrEnd], and cuts the connection with any other error.
type PackSource func(ctx context.Context, w io.Writer) error

// ErrEnd ends an answer where it is.
var ErrEnd = errors.New("githubtest: the answer ends here")

// Pack is an honest one of these objects.
func Pack(format string, objects ...GitObject) PackSource {
	return func(_ context.Context, w io.Writer) error {
		p, err := NewPackWriter(w, format, uint32(len(objects)))
		for _, o := range objects {
			if err == nil {
				err = p.Object(o)
			}
		}
		if err != nil {
			return err
		}
		return p.Close()
	}
}

// EndlessPack has four billion blobs that nobody can have seen before, a megabyte each, and is sent for as long as
// somebody reads it.
func EndlessPack(format string) PackSource {
	return func(ctx context.Context, w io.Writer) error {
		p, err := NewPackWriter(w, format, 1<<32-1)
		noise := make([]byte, 1<<20)
		for err == nil && ctx.Err() == nil {
			rand.Read(noise)
			err = p.Object(GitObject{"blob", noise})
		}
		return errors.Join(err, ctx.Err())
	}
}

// After does something to a pack after so many bytes of it: [ErrEnd] ends it, [ErrStall] waits, and any other error
// cuts the connection.
func (s PackSource) After(bytes int, stop error) PackSource {
	return func(ctx context.Context, w io.Writer) error {
		err := s(ctx, &limitedWriter{w, bytes, stop})
		if errors.Is(err, ErrStall) {
			<-ctx.Done()
		}
		return err
	}
}

// ErrStall is for [PackSource.After]: nothing more comes until the client goes away.
var ErrStall = errors.New("githubtest: the answer stalls here")

type limitedWriter struct {
	w    io.Writer
	left int
	stop error
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if len(p) <= l.left {
		l.left -= len(p)
		return l.w.Write(p)
	}
	n, err := l.w.Write(p[:l.left])
	l.left = 0
	if err == nil {
		err = l.stop
	}
	return n, err
}

// Flipped is a pack with a bit turned over in the byte that stands there; one before 0 is counted from the end, where
// the hash of the whole is.
func (s PackSource) Flipped(at int) PackSource {
	return func(ctx context.Context, w io.Writer) error {
		var b bytes.Buffer
		if err := s(ctx, &b); err != nil {
			return err
		}
		if at < 0 {
			at += b.Len()
		}
		b.Bytes()[at] ^= 1
		_, err := w.Write(b.Bytes())
		return err
	}
}

// DeltaBomb is a pack of these objects, and of a few kilobytes more that are a blob of so many bytes, by deltas upon a
// blob of 16 MB.
func DeltaBomb(format string, size int64, objects ...GitObject) PackSource {
	return func(_ context.Context, w io.Writer) error {
		const most = 1<<24 - 1
		base := GitObject{"blob", make([]byte, most)}
		delta := binary.AppendUvarint(binary.AppendUvarint(nil, most), uint64(size))
		for left := size; left > 0; left -= most {
			delta = AppendCopy(delta, 0, uint32(min(left, most)))
		}
		p, err := NewPackWriter(w, format, uint32(len(objects)+2))
		for _, o := range append([]GitObject{base}, objects...) {
			if err == nil {
				err = p.Object(o)
			}
		}
		if err == nil {
			err = p.Delta(base.ID(format), delta)
		}
		if err != nil {
			return err
		}
		return p.Close()
	}
}

// ZlibBomb is a pack of these objects, and of a blob of so many zeros, a thousandth of which is sent.
func ZlibBomb(format string, size int64, objects ...GitObject) PackSource {
	return func(_ context.Context, w io.Writer) error {
		p, err := NewPackWriter(w, format, uint32(len(objects)+1))
		for _, o := range objects {
			if err == nil {
				err = p.Object(o)
			}
		}
		if err == nil {
			err = p.Stream("blob", size, io.LimitReader(zeros{}, size))
		}
		if err != nil {
			return err
		}
		return p.Close()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// HostileRefNames are names of refs that a host must not send, or that would harm who takes them for paths, prints
// them, or has refs of its own.
func HostileRefNames() []string {
	list := []string{
		"refs/heads/../../x", "../x", "/etc/x", "refs/heads/..", "refs/heads/.", "refs/heads/", "refs/heads", "HEAD/x",
		"refs/heads/x.lock", "refs/heads/x.lock/y", "refs/heads/.x", "refs/heads/x.", "refs/heads//x", "refs/heads/x/",
		"refs/heads/@{-1}", "refs/heads/a b", "refs/heads/a~1", "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?",
		"refs/heads/a*", "refs/heads/[a", `refs/heads/a\b`, `refs\heads\x`, "refs/heads/a\x00b", "refs/heads/a\tb",
		"refs/heads/a\rb", "refs/heads/\x1b[2J", "refs/heads/a\x7fb", "refs/heads/\xff\xfe", "refs/heads/\u202egnp.x",
		"refs/heads/\u2028x", "refs/heads/-x", "-x", "@", "config", "objects/info/alternates", "hooks/post-update",
		"refs/ghapp/kept/20260101T000000Z/heads/main", "refs/ghapp/x", "refs/GHAPP/x", "refs/replace/x",
		"refs/heads/con", "refs/heads/d", "refs/heads/d/f", "refs/heads/Case", "refs/heads/case",
	}
	for _, n := range []int{255, 4096} {
		name := make([]byte, n)
		for i := range name {
			name[i] = 'a' + byte(i%26)
		}
		list = append(list, "refs/heads/"+strconv.Itoa(n)+string(name))
	}
	return list
}
