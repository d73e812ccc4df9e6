// Package testkit is what the tests of all packages share: comparisons that
// print both sides, results without their error, a key that is made once in a
// process, and an [http.RoundTripper] that is a function.
//
// Of our packages it imports none, so that the tests inside of any package can
// use it. What ends the test, as [testing.TB.FailNow] does, says so; it must
// be called by the test's own goroutine. Where a context is taken, it is a
// format and its arguments as for [fmt.Sprintf], and stands before what is
// reported.
package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// OK ends the test if err is not nil.
func OK(t testing.TB, err error, context ...any) {
	if err != nil {
		t.Helper()
		t.Fatalf("%s%v", before(context), err)
	}
}

// Must returns what a call has returned beside its error, and ends the test if
// there is one: Must(os.ReadFile(name))(t).
func Must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		OK(t, err)
		return value
	}
}

// Must2 is [Must] for a call with two results beside its error.
func Must2[A, B any](a A, b B, err error) func(testing.TB) (A, B) {
	return func(t testing.TB) (A, B) {
		t.Helper()
		OK(t, err)
		return a, b
	}
}

// ErrorOf returns the error of a call that returns one thing beside it.
func ErrorOf[T any](_ T, err error) error { return err }

// Equal fails the test if got is not want, by the operator ==.
func Equal[T comparable](t testing.TB, got, want T, context ...any) {
	if got != want {
		t.Helper()
		t.Errorf("%s%s", before(context), sides(got, want))
	}
}

// Diff fails the test if got is not what want is, by [cmp.Diff], and shows
// where they differ.
func Diff(t testing.TB, got, want any, options ...cmp.Option) {
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Helper()
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Contains fails the test if text lacks one of the parts.
func Contains(t testing.TB, text string, parts ...string) {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Helper()
			t.Errorf("want %q in\n%s", part, text)
		}
	}
}

// Lacks fails the test if text contains one of the parts.
func Lacks(t testing.TB, text string, parts ...string) {
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Helper()
			t.Errorf("want no %q in\n%s", part, text)
		}
	}
}

// Fails fails the test if err is nil.
func Fails(t testing.TB, err error, context ...any) {
	if err == nil {
		t.Helper()
		t.Errorf("%sgot no error, want one", before(context))
	}
}

// ErrorIs fails the test if [errors.Is] does not find target in err.
func ErrorIs(t testing.TB, err, target error, context ...any) {
	if !errors.Is(err, target) {
		t.Helper()
		t.Errorf("%sgot the error %v, want %v", before(context), err, target)
	}
}

// ErrorAs returns the error of this type in err, by [errors.AsType], and ends the test if there is none.
func ErrorAs[E error](t testing.TB, err error) E {
	found, ok := errors.AsType[E](err)
	if !ok {
		t.Helper()
		t.Fatalf("got the error %v (%T), want a %T", err, err, found)
	}
	return found
}

// ErrorContains fails the test if err is nil or its text lacks one of the parts.
func ErrorContains(t testing.TB, err error, parts ...string) {
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Helper()
			t.Errorf("got the error %v, want %q in it", err, part)
		}
	}
}

func before(context []any) string {
	if len(context) == 0 {
		return ""
	}
	return fmt.Sprintf(context[0].(string), context[1:]...) + ": "
}

// sides writes texts so that one sees where they differ, and anything else with the names of its fields.
func sides(got, want any) string {
	if g, ok := got.(string); ok {
		w := want.(string)
		if strings.Contains(g+w, "\n") {
			return "(-want +got):\n" + cmp.Diff(w, g)
		}
		return fmt.Sprintf("got %q, want %q", g, w)
	}
	return fmt.Sprintf("got %+v, want %+v", got, want)
}

// Long skips a test that takes long where the flag -short is given, as make quick does.
func Long(t testing.TB) {
	if testing.Short() {
		t.Helper()
		t.Skip("long: make test runs it")
	}
}

// Program returns where a program is that a test needs besides Go and git. Without it
// the test is skipped, but fails where CI is set in the environment: there, every
// program is to be (scripts/need).
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%v; scripts/need brings it on Debian", err)
	default:
		t.Skipf("needs %s; scripts/need brings it on Debian", name)
	}
	return path
}
