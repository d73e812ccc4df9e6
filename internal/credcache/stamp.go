package credcache

import "strconv"

// Stamp tells one state of a file from another: the same path with the same bytes in
// it again is another state. The zero Stamp is that of a file that is not there.
type Stamp struct {
	dev, ino          int64
	size              int64
	modified, changed int64 // nanoseconds since 1970
}

// String is the stamp's form in a file.
func (s Stamp) String() string {
	text := ""
	for i, n := range []int64{s.dev, s.ino, s.size, s.modified, s.changed} {
		if i > 0 {
			text += " "
		}
		text += strconv.FormatInt(n, 10)
	}
	return text
}
