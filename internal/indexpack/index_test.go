package indexpack_test

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/indexpack"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What git itself packs of a history is taken, and the repository that it makes is whole.
func TestIndexIsThatOfGit(t *testing.T) {
	j := newJudge(t)
	var stream strings.Builder
	lines := strings.Repeat("a line that stays\n", 200)
	for i := range 60 {
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter Ünal Ö <u@example.com> %d +0130\ndata 4\nmsg\n",
			1_700_000_000+i)
		for _, name := range []string{
			"README.md", "src/main.go", "src/main.c/x", "Ä/ß", "src-a", ".github/w.yml", ".gitattributes",
		} {
			text := fmt.Sprintf("%sline %d of %s\n", lines, i, name)
			fmt.Fprintf(&stream, "M 644 inline %s\ndata %d\n%s\n", name, len(text), text)
		}
	}
	fmt.Fprintf(&stream, "tag v1.0\nfrom refs/heads/main\ntagger T <t@example.com> 1700000000 -0800\ndata 3\none\n")
	_, err := j.git(nil, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
	testkit.OK(t, err)
	_, err = j.git([]byte(stream.String()), "--git-dir=origin.git", "fast-import", "--quiet")
	testkit.OK(t, err)
	for _, args := range [][]string{
		{"--delta-base-offset"}, {}, {"--window=0"}, {"--delta-base-offset", "--depth=250", "--window=250"},
	} {
		args = append([]string{"--git-dir=origin.git", "pack-objects", "--quiet", "--all", "--stdout"}, args...)
		out, err := j.git(nil, args...)
		testkit.OK(t, err, out)
		pack := []byte(out)
		index, err := indexpack.Make(pack)
		testkit.OK(t, err, args)
		testkit.Equal(t, j.hold(pack, strings.Join(args, " ")), true)

		_, err = j.git(nil, "init", "--quiet", "--bare", "--initial-branch=main", index.Name+".git")
		testkit.OK(t, err)
		name := filepath.Join(j.dir, index.Name+".git", "objects", "pack", "pack-"+index.Name)
		testkit.OK(t, os.WriteFile(name+".pack", pack, 0o444))
		testkit.OK(t, os.WriteFile(name+".idx", index.Bytes, 0o444))
		head, err := j.git(nil, "--git-dir=origin.git", "rev-parse", "main")
		testkit.OK(t, err)
		_, err = j.git(nil, "--git-dir="+index.Name+".git", "update-ref", "refs/heads/main", strings.TrimSpace(head))
		testkit.OK(t, err)
		said, err := j.git(nil, "--git-dir="+index.Name+".git", "fsck", "--full", "--strict", "--no-dangling")
		testkit.OK(t, err, said)
		testkit.Equal(t, said, "")
	}
}

// alone is a pack of a history to which one object is added, of which nothing else knows.
func alone(kind int, data string) []byte {
	p, last, tree, blob := history()
	data = strings.NewReplacer("{commit}", hex.EncodeToString([]byte(last)), "{tree}", hex.EncodeToString([]byte(tree)),
		"{blob}", hex.EncodeToString([]byte(blob)), "{rawtree}", tree, "{rawblob}", blob, "{rawcommit}", last,
		"{none}", strings.Repeat("a", 40), "{rawnone}", strings.Repeat("a", 20), "{0}", "\x00",
		"{rawnull}", strings.Repeat("\x00", 20), "{who}", who).Replace(data)
	p.add(kind, data)
	return p.bytes()
}

// What is written as git writes it is taken.
func plainObjects() map[string]int {
	return map[string]int{
		"tree {tree}\nauthor {who}\ncommitter {who}\n\n":                                                   commitType,
		"tree {tree}\nparent {commit}\nauthor {who}\ncommitter {who}\n\nx":                                 commitType,
		"tree {tree}\nauthor {who}\ncommitter {who}\nencoding ISO-8859-1\n\n\xe4\n":                        commitType,
		"tree {tree}\nauthor {who}\ncommitter {who}\ngpgsig -----BEGIN\n a\n \n b\n\nx":                    commitType,
		"tree {tree}\nauthor web-flow[bot] <a b> 1 -1234\ncommitter Ö, \"x\" (y) <> 9999999999 +0000\n\nx": commitType,
		"object {commit}\ntype commit\ntag v1.0-rc.1+x/y_z\ntagger {who}\n\nx\n":                           tagType,
		"object {blob}\ntype blob\ntag b\ntagger {who}\n\n":                                                tagType,
		"object {tree}\ntype tree\ntag t\ntagger {who}\n\nx":                                               tagType,
		"": treeType,
		"100644 .gitattributes{0}{rawblob}40000 .github{0}{rawtree}100644 .gitkeep{0}{rawblob}": treeType,
		"40000 a{0}{rawtree}100644 a!{0}{rawblob}100644 ab{0}{rawblob}":                         blobType, // as its bytes are
		"100644 a!{0}{rawblob}40000 a{0}{rawtree}100644 ab{0}{rawblob}":                         treeType,
		"100644 .{0}{rawblob}": blobType,
		"100644 \xc3\x84{0}{rawblob}100644 \xe4\xb8\xad.c{0}{rawblob}": treeType,
	}
}

// What git refuses, and what only some gits refuse, is left to git.
func doubtfulObjects() map[string]int {
	objects := map[string]int{
		"tree {none}\nauthor {who}\ncommitter {who}\n\nx":                commitType,
		"tree {blob}\nauthor {who}\ncommitter {who}\n\nx":                commitType,
		"tree {tree}\nparent {none}\nauthor {who}\ncommitter {who}\n\nx": commitType,
		"tree {tree}\nparent {tree}\nauthor {who}\ncommitter {who}\n\nx": commitType,
		"tree {tree}\nauthor {who}\nauthor {who}\ncommitter {who}\n\nx":  commitType,
		"tree {tree}\nauthor {who}\n\nx":                                 commitType,
		"tree {tree}\ncommitter {who}\n\nx":                              commitType,
		"author {who}\ncommitter {who}\n\nx":                             commitType,
		"tree {tree}\nauthor {who}\ncommitter {who}":                     commitType,
		"tree {tree}\nauthor {who}\ncommitter {who}\n":                   commitType,
		"tree {tree}\nauthor {who}\ncommitter {who}\n\nx{0}":             commitType,
		"tree {tree}\nauthor {who}\ncommitter {who}\nother x{0}\n\nx":    commitType,
		"tree {tree}\nauthor {who}\ncommitter {who}\nother x\n\nx":       commitType,
		"tree  {tree}\nauthor {who}\ncommitter {who}\n\nx":               commitType,
		"": commitType,
		"object {commit}\ntype blob\ntag a\ntagger {who}\n\nx":               tagType,
		"object {commit}\ntype \ntag a\ntagger {who}\n\nx":                   tagType,
		"object {commit}\ntype nothing\ntag a\ntagger {who}\n\nx":            tagType,
		"object {none}\ntype commit\ntag a\ntagger {who}\n\nx":               tagType,
		"object {commit}\ntype commit\ntag a\n\nx":                           tagType,
		"object {commit}\ntype commit\ntag a\ntagger {who}\nmore x\n\nx":     tagType,
		"object {commit}\ntype commit\ntagger {who}\n\nx":                    tagType,
		"100644 a{0}{rawnone}":                                               treeType,
		"100644 a{0}{rawnull}":                                               treeType,
		"100644 a{0}{rawtree}":                                               treeType,
		"40000 a{0}{rawblob}":                                                treeType,
		"100664 a{0}{rawblob}":                                               treeType,
		"100600 a{0}{rawblob}":                                               treeType,
		"0100644 a{0}{rawblob}":                                              treeType,
		"040000 a{0}{rawtree}":                                               treeType,
		"120000 a{0}{rawblob}":                                               treeType,
		"160000 a{0}{rawcommit}":                                             treeType,
		"100644 a{0}":                                                        treeType,
		"100644 a":                                                           treeType,
		"100644":                                                             treeType,
		"100644 b{0}{rawblob}100644 a{0}{rawblob}":                           treeType,
		"100644 a{0}{rawblob}100644 a{0}{rawblob}":                           treeType,
		"100644 a{0}{rawblob}40000 a{0}{rawtree}":                            treeType,
		"100644 a{0}{rawblob}100644 a!{0}{rawblob}40000 a{0}{rawtree}":       treeType,
		"40000 .git{0}{rawtree}":                                             treeType,
		"100644 .gitattributes{0}{rawblob}100644 .gitattributes{0}{rawblob}": treeType,
		"40000 .gitattributes{0}{rawtree}":                                   treeType,
		"40000 .gitignore{0}{rawtree}":                                       treeType,
		"100644 \xff{0}{rawblob}":                                            treeType,
	}
	for _, name := range []string{
		"", ".", "..", "...", ". .", ".git", ".GIT", ".Git ", ".git.", ".git\x01", ".git:x", "git~1",
		"GIT~1", "a~1", ".gitmodules", ".GITMODULES",
		"gitmod~1", "GI7EBA~1", ".git\\x", "a\\..\\.git", "a/b", "/", ".g\u200cit", "\u200c.git",
		".gi\ufefft", ".gitattributes ", ".gitmodules.",
		".GitIgnore", ".gitfoo", ".gi\x80t", ".git\x80", "\x7f", "a\nb", strings.Repeat("n", 256), ".mailmap\u206a",
	} {
		objects["100644 "+name+"{0}{rawblob}"] = treeType
		objects["40000 "+name+"{0}{rawtree}"] = treeType
	}
	for _, who := range []string{
		"", "<e> 1 +0000", " <e> 1 +0000", "  A <e> 1 +0000", "A<e> 1 +0000", "A e> 1 +0000",
		"A <e 1 +0000", "A <e>1 +0000", "A <e> 01 +0000",
		"A <e> 0 +0000", "A <e> 1+0000", "A <e> 1 0000", "A <e> 1 +000", "A <e> 1 +00000",
		"A <e> 1 +00:0", "A <e> -1 +0000", "A <e>  1 +0000",
		"A <e> 18446744073709551615 +0000", "A <e> 99999999999 +0000", "A <e> 1 +0000 ",
		"A <<e> 1 +0000", "A <e>> 1 +0000", "A <e>", "A > <e> 1 +0000",
		"A <e> x +0000", "A\x01 <e> 1 +0000", "A <e>  +0000", "A <e> 1  0000", "A <e> 1 +0000\r",
	} {
		objects["tree {tree}\nauthor "+who+"\ncommitter {who}\n\nx"] = commitType
		objects["tree {tree}\nauthor {who}\ncommitter "+who+"\n\nx"] = commitType
		objects["object {commit}\ntype commit\ntag a\ntagger "+who+"\n\nx"] = tagType
	}
	for _, name := range []string{
		"", ".", "..", ".a", "a..b", "a.lock", "a.lock/b", "a//b", "/a", "a/", "a b", "a~b", "a^",
		"a:b", "a?", "a*", "a[", "a\\", "a@{b", "a.", "-a",
		"ü", "a\x01", "a/.b",
	} {
		objects["object {commit}\ntype commit\ntag "+name+"\ntagger {who}\n\nx"] = tagType
	}
	return objects
}

func TestOnlyPlainObjectsAreTaken(t *testing.T) {
	j := newJudge(t)
	for data, kind := range plainObjects() {
		testkit.Equal(t, j.hold(alone(kind, data), data), true, "%q", data)
	}
	for data, kind := range doubtfulObjects() {
		testkit.Fails(t, testkit.ErrorOf(indexpack.Make(alone(kind, data))), "%q", data)
	}
	p, _, _, _ := history()
	attributes, _ := p.add(blobType, strings.Repeat("a", 3000)+" text\n")
	p.add(treeType, entry("100644", ".gitattributes", attributes))
	testkit.Fails(t, testkit.ErrorOf(indexpack.Make(p.bytes())), "long attributes")
}

// Packs that are not what they say are left to git, with little work and little memory.
func TestHostilePacksAreLeftToGit(t *testing.T) {
	whole, _, _, _ := history()
	plain := whole.bytes()
	testkit.OK(t, testkit.ErrorOf(indexpack.Make(plain)))
	reclosed := func(change func([]byte) []byte) []byte {
		return closed(whole.count, change(slices.Clone(whole.body.Bytes())))
	}
	packs := map[string][]byte{
		"nothing":           nil,
		"a head":            plain[:12],
		"no objects":        closed(0, nil),
		"cut off":           plain[:len(plain)-1],
		"another checksum":  append(slices.Clone(plain[:len(plain)-1]), plain[len(plain)-1]^1),
		"another version":   bytes.Replace(plain, []byte("PACK\x00\x00\x00\x02"), []byte("PACK\x00\x00\x00\x03"), 1),
		"more after it":     append(slices.Clone(plain), 'x'),
		"more in it":        reclosed(func(b []byte) []byte { return append(b, "garbage"...) }),
		"one object more":   closed(whole.count+1, whole.body.Bytes()),
		"one object less":   closed(whole.count-1, whole.body.Bytes()),
		"4 billion objects": closed(1<<32-1, whole.body.Bytes()),
		"a bit in it":       reclosed(func(b []byte) []byte { b[5] ^= 0x10; return b }),
		"a checksum in it":  reclosed(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		"another window":    reclosed(func(b []byte) []byte { b[1], b[2] = 0x68, 0x81; return b }),
		"too large":         closed(1, make([]byte, 2<<20)),
	}
	add := func(name string, change func(p *pack)) {
		p, _, _, _ := history()
		change(p)
		packs[name] = p.bytes()
	}
	zeros := strings.Repeat("\x00", 1<<20)
	add("an object twice", func(p *pack) { p.add(blobType, "content\n") })
	add("an object of a type that is none", func(p *pack) { p.entry(5, 1, nil, []byte("x")) })
	add("an object of another type that is none", func(p *pack) { p.entry(0, 1, nil, []byte("x")) })
	add("an object that claims a gigabyte", func(p *pack) { p.entry(blobType, 1<<30, nil, []byte("x")) })
	add("an object that claims all there is", func(p *pack) { p.entry(blobType, 1<<62, nil, []byte("x")) })
	add("an object that claims less", func(p *pack) { p.entry(blobType, 1, nil, []byte("xyz")) })
	add("an object that claims more", func(p *pack) { p.entry(blobType, 4, nil, []byte("xyz")) })
	add("a lot of nothing", func(p *pack) {
		for i := range 100 {
			p.add(blobType, zeros[i:])
		}
	})
	add("a delta of nothing", func(p *pack) {
		p.entry(refDelta, 6, bytes.Repeat([]byte("x"), 20), []byte("\x01\x03\x03abc"))
	})
	add("a delta of itself", func(p *pack) { p.entry(ofsDelta, 6, []byte{0}, []byte("\x01\x03\x03abc")) })
	add("a delta of what is before the pack", func(p *pack) {
		p.entry(ofsDelta, 6, []byte{0xff, 0x7f}, []byte("\x01\x03\x03abc"))
	})
	add("a delta of the middle of an object", func(p *pack) { p.offsetDelta(14, []byte("\x01\x03\x03abc")) })
	add("a delta of far away", func(p *pack) {
		p.entry(ofsDelta, 6, bytes.Repeat([]byte{0xff}, 20), []byte("\x01\x03\x03abc"))
	})
	for name, delta := range map[string]string{
		"that is empty":                "",
		"that is short":                "\x01",
		"of another size":              "\x01\x03\x03abc",
		"that makes more":              "\x08\x03\x04abcd",
		"that makes less":              "\x08\x03\x02ab",
		"with the command 0":           "\x08\x03\x00\x03abc",
		"that copies too much":         "\x08\x0a\x90\x0a",
		"that copies from beyond":      "\x08\x04\x91\x08\x04",
		"that copies 64 KiB":           "\x08\x80\x80\x04\x80",
		"whose copy is cut off":        "\x08\x04\x91\x01",
		"whose insert is cut off":      "\x08\x04\x04a",
		"that claims a gigabyte":       "\x08\xff\xff\xff\xff\x03\x90\x08",
		"that claims 250 megabytes":    "\x08\xff\xff\xff\x7f\x90\x08",
		"whose size has no end":        "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"that copies with a huge jump": "\x08\x04\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		add("a delta "+name, func(p *pack) { p.offsetDelta(12, []byte(delta)) })
	}
	add("a delta bomb", func(p *pack) {
		// Each makes of a base of 64 KiB a hundred times as much.
		base := strings.Repeat("b", 0x10000)
		_, at := p.add(blobType, base)
		for i := range 100 {
			d := append(varint(len(base)), varint(100*len(base)+1)...)
			for range 100 {
				d = append(d, 0x80)
			}
			p.offsetDelta(at, append(d, 1, byte(i)))
		}
	})
	add("deltas of each other", func(p *pack) {
		p.entry(refDelta, 6, bytes.Repeat([]byte("x"), 20), []byte("\x01\x03\x03abc"))
		p.entry(refDelta, 6, bytes.Repeat([]byte("y"), 20), []byte("\x01\x03\x03abc"))
	})
	add("many deltas before what they are of", func(p *pack) {
		texts := []string{"x"}
		for i := range 200 {
			texts = append(texts, texts[i]+"y")
		}
		for i := 199; i >= 0; i-- {
			delta := appended(texts[i], "y")
			p.entry(refDelta, len(delta), []byte(identify(blobType, texts[i])), delta)
		}
		p.add(blobType, "x")
	})
	j := newJudge(t)
	for name, pack := range packs {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := indexpack.Make(pack)
		runtime.ReadMemStats(&after)
		testkit.Fails(t, err, name)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 64<<20 {
			t.Errorf("%s: %d bytes of memory", name, spent)
		}
		if len(pack) < 100<<10 { // for those who look: which of them git takes
			_, byGit := j.index(pack)
			t.Logf("%s: %v; git: %v", name, err, byGit)
		}
	}
}

// Deltas in every form that git makes, and some that it does not.
func TestDeltasAreResolvedAsByGit(t *testing.T) {
	j := newJudge(t)
	for _, level := range []int{0, 1, 9, -2} {
		p, _, _, _ := history()
		p.compressor = testkit.Must(zlib.NewWriterLevel(nil, level))(t)
		// A chain that is long.
		text := strings.Repeat("long enough\n", 50)
		_, at := p.add(blobType, text)
		for i := range 1000 {
			more := fmt.Sprint(i)
			at = p.offsetDelta(at, appended(text, more))
			text += more
		}
		// One that comes before what it is of.
		delta := appended("the base", "more")
		p.entry(refDelta, len(delta), []byte(identify(blobType, "the base")), delta)
		p.add(blobType, "the base")
		testkit.Equal(t, j.hold(p.bytes(), fmt.Sprint("level ", level)), true)
	}
}

func TestCollisionsAreLeftToGit(t *testing.T) {
	for _, name := range []string{"shattered-1", "shattered-2"} {
		text := strings.ReplaceAll(string(testkit.Must(os.ReadFile("testdata/"+name+".hex"))(t)), "\n", "")
		testkit.Fails(t, indexpack.Sum(testkit.Must(hex.DecodeString(text))(t)), name)
	}
	testkit.OK(t, indexpack.Sum([]byte("anything else")))
}

// What is changed at random is taken only where git takes it.
func TestWhatIsTakenGitTakes(t *testing.T) {
	j := newJudge(t)
	random := rand.New(rand.NewPCG(1, 2))
	objects := plainObjects()
	for data, kind := range doubtfulObjects() {
		objects[data] = kind
	}
	var texts []string
	for data := range objects {
		texts = append(texts, data)
	}
	slices.Sort(texts)
	taken := 0
	for range 20_000 {
		data := texts[random.IntN(len(texts))]
		kind := objects[data]
		mutated := mutate(random, data, texts)
		if mutated != data && j.hold(alone(kind, mutated), mutated) {
			if taken++; taken == 40 {
				break
			}
		}
	}
	t.Log(taken, "were taken")
}

func mutate(random *rand.Rand, data string, others []string) string {
	b := []byte(data)
	for range 1 + random.IntN(2) {
		at := random.IntN(len(b) + 1)
		switch random.IntN(4) {
		case 0:
			b = slices.Insert(b, at, byte(random.IntN(256)))
		case 1:
			if at < len(b) {
				b = slices.Delete(b, at, at+1)
			}
		case 2:
			if at < len(b) {
				b[at] = byte(random.IntN(256))
			}
		case 3:
			other := others[random.IntN(len(others))]
			b = append(b[:at:at], other[random.IntN(len(other)+1):]...)
		}
	}
	return string(b)
}

// What says that it is large, and what says that it is small, is not unpacked further than it may be.
func TestABombIsNotUnpacked(t *testing.T) {
	var bomb, liar bytes.Buffer
	testkit.OK(t, githubtest.ZlibBomb("sha1", 64<<20)(t.Context(), &bomb))
	p := testkit.Must(githubtest.NewPackWriter(&liar, "sha1", 1))(t)
	testkit.OK(t, p.Stream("blob", 5, io.LimitReader(zeros{}, 64<<20)))
	testkit.OK(t, p.Close())
	for _, pack := range [][]byte{bomb.Bytes(), liar.Bytes()} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := indexpack.Make(pack)
		runtime.ReadMemStats(&after)
		testkit.ErrorContains(t, err, "more than")
		if used := after.TotalAlloc - before.TotalAlloc; len(pack) > indexpack.MaxBytes || used > 20<<20 {
			t.Errorf("%d bytes of memory for %d", used, len(pack))
		}
	}
}

type zeros struct{}

// Read implements [io.Reader].
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
