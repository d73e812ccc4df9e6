package indexpack_test

import (
	"testing"

	"github.com/ghapp-dev/ghapp/internal/indexpack"
)

// FuzzMake has git take what is taken: a pack of one more object than a plain history has, or of
// one more delta, or of other bytes behind it.
func FuzzMake(f *testing.F) {
	for data, kind := range plainObjects() {
		f.Add(byte(kind), data, []byte(nil), []byte(nil))
	}
	for data, kind := range doubtfulObjects() {
		f.Add(byte(kind), data, []byte(nil), []byte(nil))
	}
	f.Add(byte(blobType), "x", appended("content\n", "more"), []byte(nil))
	f.Add(byte(blobType), "x", []byte("\x08\x04\x91\x01\x04"), []byte(nil))
	p := newPack()
	p.add(blobType, "y")
	f.Add(byte(blobType), "x", []byte(nil), p.body.Bytes())
	f.Fuzz(func(t *testing.T, kind byte, data string, delta, raw []byte) {
		pack := alone(int(kind-1)%4+1, data)
		if len(delta) > 0 || len(raw) > 0 {
			p, _, _, _ := history()
			if len(delta) > 0 {
				p.offsetDelta(12, delta)
			}
			if len(raw) > 0 {
				p.body.Write(raw)
				p.count++
			}
			pack = p.bytes()
		}
		// Git is started only for what is taken.
		if _, err := indexpack.Make(pack); err == nil {
			newJudge(t).hold(pack, "fuzzed")
		}
	})
}
