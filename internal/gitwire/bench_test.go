package gitwire_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// BenchmarkFetch is a pack of 1 KB and one of 1 GB: from memory, which is what the protocol
// costs, and over loopback, from a server in this process, with all that HTTP costs on both
// sides.
func BenchmarkFetch(b *testing.B) {
	small := packAnswer(band(1, strings.Repeat("x", 1000)))
	b.Run("small", func(b *testing.B) {
		s := answering(small)
		fetchAgain(b, s, 1000)
	})
	line := band(1, strings.Repeat("x", 65515))
	const lines = 16_000
	large := func() io.ReadCloser { return endless(line1("packfile\n"), line, int64(len(line))*lines) }
	b.Run("1GB", func(b *testing.B) { fetchAgain(b, fetchOf(large), 65515*lines) })
	b.Run("1GB-loopback", func(b *testing.B) {
		s, _ := serve(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			_, _ = io.CopyBuffer(struct{ io.Writer }{w}, large(), make([]byte, 64<<10))
		}))
		fetchAgain(b, s, 65515*lines)
	})
}

func fetchAgain(b *testing.B, s *gitwire.Service, size int64) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(size)
	for b.Loop() {
		n := testkit.Must(s.Fetch(b.Context(), site, gitwire.Request{Wants: []string{oid1}}, io.Discard))(b)
		testkit.Equal(b, n, size)
	}
}
