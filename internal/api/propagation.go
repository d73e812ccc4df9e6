package api

import (
	"iter"
	"time"
)

// PropagationPauses yields how long to wait before each further try of a token that some of
// GitHub's servers do not know yet: one second, two seconds and so on, as Octokit does, so
// often as tries says.
func PropagationPauses(tries int) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for n := 1; n <= tries; n++ {
			if !yield(time.Duration(n) * time.Second) {
				return
			}
		}
	}
}
