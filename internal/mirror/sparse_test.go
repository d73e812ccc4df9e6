package mirror

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A tar of a few bytes says of a file that it is large, and has holes: nothing of it is written.
func TestALargeFileWithHolesIsRefused(t *testing.T) {
	const size = "1099511627776"
	id := strings.Repeat("ab", 32)
	path := filepath.Join(t.TempDir(), "x.lfs.tar")
	for _, holes := range []map[string]string{
		{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": size, "GNU.sparse.name": id},
		{"GNU.sparse.map": "0,4", "GNU.sparse.numblocks": "1", "GNU.sparse.size": size},
	} {
		testkit.OK(t, os.WriteFile(path, sparseTar(id, holes), 0o600))
		file := testkit.Must(os.Open(path))(t)
		h := testkit.Must(tar.NewReader(file).Next())(t)
		testkit.OK(t, file.Close())
		testkit.Equal(t, h.Size, int64(1<<40), "it is read as one with holes")
		testkit.Equal(t, sparse(h), true)
		to := lfsstore.Of(t.TempDir())
		testkit.ErrorContains(t, unpackLarge(path, to), "is no large file")
		testkit.ErrorIs(t, testkit.ErrorOf(os.Lstat(to.Dir)), os.ErrNotExist)
	}
}

// sparseTar is a tar with one file of four bytes, of which records tell more. [tar.Writer] writes none with holes.
func sparseTar(name string, records map[string]string) []byte {
	var pax string
	for key, value := range records {
		pax += paxRecord(key, value)
	}
	body := "data"
	if records["GNU.sparse.major"] != "" {
		body = "1\n0\n4\n" + strings.Repeat("\x00", 512-6) + body
	}
	return []byte(tarBlock("pax", 'x', pax) + tarBlock(name, tar.TypeReg, body) + strings.Repeat("\x00", 1024))
}

// paxRecord is "length key=value\n", where the length counts itself (pax(1), "pax Extended Header").
func paxRecord(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest) + 2 // of two digits
	if n > 99 {
		n++
	}
	return strconv.Itoa(n) + rest
}

// tarBlock is the header of a file, and its content.
func tarBlock(name string, kind byte, body string) string {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000444\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00        ", len(body)))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(h) + body + strings.Repeat("\x00", (512-len(body)%512)%512)
}
