package indexpack_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/indexpack"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The types of objects in a pack.
const (
	commitType = 1
	treeType   = 2
	blobType   = 3
	tagType    = 4
	ofsDelta   = 6
	refDelta   = 7
)

// pack is one that is made by hand.
type pack struct {
	body       bytes.Buffer
	count      int
	compressor *zlib.Writer
}

// compressor is one for all, since to make one takes longer than anything else here.
var compressor = sync.OnceValue(func() *zlib.Writer { return zlib.NewWriter(nil) })

func newPack() *pack { return &pack{compressor: compressor()} }

// entry adds one, whose head says that it has size bytes. It returns where it is.
func (p *pack) entry(kind, size int, base, data []byte) int {
	const head = 12
	at := head + p.body.Len()
	c := byte(kind<<4 | size&0xf)
	for size >>= 4; size > 0; size >>= 7 {
		p.body.WriteByte(c | 0x80)
		c = byte(size & 0x7f)
	}
	p.body.WriteByte(c)
	p.body.Write(base)
	p.compressor.Reset(&p.body)
	if _, err := p.compressor.Write(data); err != nil {
		panic(err)
	}
	if err := p.compressor.Close(); err != nil {
		panic(err)
	}
	p.count++
	return at
}

// add adds an object. It returns its ID and where it is.
func (p *pack) add(kind int, data string) (string, int) {
	return identify(kind, data), p.entry(kind, len(data), nil, []byte(data))
}

// identify is the ID of an object, raw.
func identify(kind int, data string) string {
	name := [...]string{commitType: "commit", treeType: "tree", blobType: "blob", tagType: "tag"}[kind]
	sum := sha1.Sum(fmt.Appendf(nil, "%s %d\x00%s", name, len(data), data))
	return string(sum[:])
}

// offsetDelta adds a delta of what is at an offset.
func (p *pack) offsetDelta(base int, delta []byte) int {
	back := 12 + p.body.Len() - base
	b := []byte{byte(back & 0x7f)}
	for back >>= 7; back > 0; back >>= 7 {
		back--
		b = append([]byte{byte(back&0x7f) | 0x80}, b...)
	}
	return p.entry(ofsDelta, len(delta), b, delta)
}

// bytes is the pack, as it is whole.
func (p *pack) bytes() []byte { return closed(p.count, p.body.Bytes()) }

// closed makes a pack of what is in it.
func closed(count int, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(count))
	b = append(b, body...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

// varint is a size as a delta has it.
func varint(n int) []byte {
	var b []byte
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// appended is a delta that adds something to all of a base.
func appended(base, more string) []byte {
	d := append(varint(len(base)), varint(len(base)+len(more))...)
	d = append(d, 0x80|0x10|0x20, byte(len(base)), byte(len(base)>>8))
	return append(append(d, byte(len(more))), more...)
}

const who = "A U Thor <author@example.com> 1700000000 +0000"

func entry(mode, name, id string) string { return mode + " " + name + "\x00" + id }

func commit(tree string, parents ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "tree %x\n", tree)
	for _, p := range parents {
		fmt.Fprintf(&b, "parent %x\n", p)
	}
	return b.String() + "author " + who + "\ncommitter " + who + "\n\nmessage\n"
}

// history is a pack of a plain history; its last commit, the tree of that, and a blob.
func history() (p *pack, last, tree, blob string) {
	p = newPack()
	blob, _ = p.add(blobType, "content\n")
	inner, _ := p.add(treeType, entry("100755", "run", blob))
	tree, _ = p.add(treeType, entry("100644", ".gitignore", blob)+entry("100644", "a", blob)+entry("40000", "dir", inner))
	first, _ := p.add(commitType, commit(tree))
	last, _ = p.add(commitType, commit(tree, first))
	return p, last, tree, blob
}

// judge has git index packs, in an empty repository.
type judge struct {
	t   testing.TB
	dir string
	n   int
}

func newJudge(t testing.TB) *judge {
	j := &judge{t: t, dir: t.TempDir()}
	_, err := j.git(nil, "init", "--quiet", "--bare", "empty.git")
	testkit.OK(t, err)
	return j
}

func (j *judge) git(stdin []byte, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = j.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C")
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// index is the index that git makes of a pack, if it takes the pack.
func (j *judge) index(pack []byte) ([]byte, error) {
	j.n++
	name := filepath.Join(j.dir, fmt.Sprintf("%d.pack", j.n))
	if err := os.WriteFile(name, pack, 0o600); err != nil {
		return nil, err
	}
	out, err := j.git(nil, "--git-dir=empty.git", "index-pack", "--strict", "--check-self-contained-and-connected",
		"--threads=1", name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(strings.TrimSuffix(name, ".pack") + ".idx")
}

// hold checks that git takes a pack that is taken here, and makes the same index of it. It reports
// whether it is taken here.
func (j *judge) hold(pack []byte, what string) bool {
	j.t.Helper()
	index, err := indexpack.Make(pack)
	if err != nil {
		return false
	}
	want, err := j.index(pack)
	switch {
	case err != nil:
		j.t.Errorf("%s: git refuses what is taken here: %v\n%s", what, err, hex.Dump(pack))
	case !bytes.Equal(index.Bytes, want):
		j.t.Errorf("%s: git makes another index\n%s", what, hex.Dump(pack))
	case index.Name != hex.EncodeToString(pack[len(pack)-sha1.Size:]):
		j.t.Errorf("%s: it is called %s", what, index.Name)
	}
	return true
}
