package kms

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// notice tells the person something while the program works. Who runs it shows the line.
func notice(format string, args ...any) {
	fmt.Fprintln(os.Stderr, oneLine(fmt.Sprintf(format, args...)))
}

// within runs what cannot be interrupted, such as a call into a module or a device that may
// hang, and leaves it where it is when ctx ends. The process ends soon after.
func within[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// list is for messages: the first of what there is.
func list(prefix string, names []string) string {
	const most = 5
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return prefix + strings.Join(names, ", "+prefix) + more
}
