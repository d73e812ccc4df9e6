// Package bench measures ghapp beside the programs and libraries a user would take
// instead, in one run, so that the figures are ratios and the machine cancels out:
//
//	go test -run '^$' -bench . -count 6 ./... | tee new.txt
//	benchstat new.txt
//
// ns/op is ghapp's own time, NAME-ns/op that of another; both are medians. The
// ratios come in three kinds: ghapp/NAME is the ratio of the medians,
// ghapp/NAME-paired the median of the ratios of turns taken one after the other,
// and ghapp/NAME-min the ratio of the shortest turns. On a quiet machine they agree.
//
// Without -bench the tests check what must hold on any machine: how often GitHub is
// asked, and what an importer links. No test looks at a clock. RESULTS.md has the
// figures.
package bench
