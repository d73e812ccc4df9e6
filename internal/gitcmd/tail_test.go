package gitcmd

import (
	"bytes"
	"testing"
)

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 100, 4096, 3 * tailSize} {
		var all bytes.Buffer
		tail := &tail{}
		for i := 0; all.Len() < 5*tailSize; i++ {
			text := bytes.Repeat([]byte{byte('a' + i%26)}, size)
			all.Write(text)
			if n, err := tail.Write(text); n != size || err != nil {
				t.Fatal(n, err)
			}
		}
		if got := tail.String(); got != all.String()[all.Len()-tailSize:] {
			t.Errorf("pieces of %d: %d bytes kept", size, len(got))
		}
	}
}
