package testkit_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// recorder is a test that keeps what it is told.
type recorder struct {
	testing.TB
	said  []string
	ended bool
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.ended = true
	runtime.Goexit()
}

func record(check func(t testing.TB)) *recorder {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(r)
	}()
	<-done
	return r
}

func TestComparisonsPrintBothSides(t *testing.T) {
	for name, tt := range map[string]struct {
		check func(t testing.TB)
		says  []string
		ends  bool
	}{
		"an error": {check: func(t testing.TB) { testkit.OK(t, io.EOF, "of %d", 3) },
			says: []string{"of 3: EOF"}, ends: true},
		"a result": {check: func(t testing.TB) { testkit.Must(1, io.EOF)(t) }, says: []string{"EOF"}, ends: true},
		"two results": {check: func(t testing.TB) { testkit.Must2(1, 2, io.EOF)(t) },
			says: []string{"EOF"}, ends: true},
		"numbers": {check: func(t testing.TB) { testkit.Equal(t, 1, 2, "%s", "n") },
			says: []string{"n: got 1, want 2"}},
		"texts": {check: func(t testing.TB) { testkit.Equal(t, "a", "b") }, says: []string{`got "a", want "b"`}},
		"lines": {check: func(t testing.TB) { testkit.Equal(t, "a\nb", "a\nc") },
			says: []string{"-want +got", "b", "c"}},
		"pointers": {check: func(t testing.TB) { testkit.Equal(t, new(1), new(1)) }, says: []string{"got 0x"}},
		"a difference": {check: func(t testing.TB) { testkit.Diff(t, []int{1}, []int{2}) },
			says: []string{"-want +got", "-", "+"}},
		"a part": {check: func(t testing.TB) { testkit.Contains(t, "abc", "a", "d") },
			says: []string{`want "d" in`, "abc"}},
		"a part too much": {check: func(t testing.TB) { testkit.Lacks(t, "abc", "d", "a") },
			says: []string{`want no "a" in`, "abc"}},
		"no error": {check: func(t testing.TB) { testkit.Fails(t, nil, "x") }, says: []string{"x: got no error"}},
		"another error": {check: func(t testing.TB) { testkit.ErrorIs(t, io.EOF, io.ErrNoProgress) },
			says: []string{"EOF", io.ErrNoProgress.Error()}},
		"another type": {check: func(t testing.TB) { testkit.ErrorAs[*fs.PathError](t, io.EOF) },
			says: []string{"EOF", "fs.PathError"}, ends: true},
		"an error's text": {check: func(t testing.TB) { testkit.ErrorContains(t, io.EOF, "E", "x") },
			says: []string{"EOF", `"x"`}},
		"no error's text": {check: func(t testing.TB) { testkit.ErrorContains(t, nil, "x") },
			says: []string{"<nil>", `"x"`}},
		"no error at all":   {check: func(t testing.TB) { testkit.OK(t, nil) }},
		"a result as is":    {check: func(t testing.TB) { testkit.Equal(t, testkit.Must(1, nil)(t), 1) }},
		"the error alone":   {check: func(t testing.TB) { testkit.ErrorIs(t, testkit.ErrorOf(1, io.EOF), io.EOF) }},
		"this type":         {check: func(t testing.TB) { testkit.ErrorAs[*fs.PathError](t, &fs.PathError{}) }},
		"no difference":     {check: func(t testing.TB) { testkit.Diff(t, []int{1}, []int{1}) }},
		"the same":          {check: func(t testing.TB) { testkit.Equal(t, "a", "a") }},
		"all the parts":     {check: func(t testing.TB) { testkit.Contains(t, "abc", "a", "bc") }},
		"none of the parts": {check: func(t testing.TB) { testkit.Lacks(t, "abc", "d") }},
		"an error, wanted": {
			check: func(t testing.TB) { testkit.Fails(t, io.EOF); testkit.ErrorContains(t, errors.New("no"), "no") }},
	} {
		r := record(tt.check)
		said := strings.Join(r.said, "\n")
		if (len(r.said) > 0) != (len(tt.says) > 0) || r.ended != tt.ends {
			t.Errorf("%s: it says %q, and ended: %t", name, said, r.ended)
		}
		testkit.Contains(t, said, tt.says...)
	}
}

func TestKeyIsMadeOnce(t *testing.T) {
	testkit.Equal(t, testkit.Key(t), testkit.Key(t))
	if testkit.Key(t).Equal(testkit.NthKey(t, 1)) {
		t.Error("the second key is the first")
	}
}
