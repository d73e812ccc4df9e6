package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// contestant is one of those measured side by side.
type contestant struct {
	name string
	// turn does the contestant's work once and says how long that took. What has to
	// be prepared or checked for it is left out of the time.
	turn func() (time.Duration, error)
}

// race lets the contestants take turns, in as many rounds as are asked for and more
// while the benchmark has time, and reports how the first compares with the others.
// ops is how many operations there are in a turn.
func race(b *testing.B, rounds, ops int, contestants ...contestant) {
	b.Helper()
	times := make([][]time.Duration, len(contestants))
	for b.Loop() {
		for range rounds {
			if err := round(contestants, times); err != nil {
				b.Fatal(err)
			}
		}
	}
	for unit, value := range compare(contestants, times, ops) {
		b.ReportMetric(value, unit)
	}
}

// round gives each contestant a turn and adds its time to the others of its own. Who
// begins changes from round to round, so that what one leaves behind for the next (a
// cold cache, garbage, a hot processor) burdens all alike.
func round(contestants []contestant, times [][]time.Duration) error {
	first := len(times[0]) % len(contestants)
	for i := range contestants {
		i = (first + i) % len(contestants)
		took, err := contestants[i].turn()
		if err != nil {
			return fmt.Errorf("%s: %w", contestants[i].name, err)
		}
		times[i] = append(times[i], took)
	}
	return nil
}

// compare gives what is reported: the value of each unit.
func compare(contestants []contestant, times [][]time.Duration, ops int) map[string]float64 {
	ours := times[0]
	metrics := map[string]float64{"ns/op": median(ours) / float64(ops)}
	for i, c := range contestants[1:] {
		theirs := times[i+1]
		ratios := make([]float64, len(ours))
		for turn := range ours {
			ratios[turn] = float64(ours[turn]) / float64(theirs[turn])
		}
		ratio := contestants[0].name + "/" + c.name
		metrics[c.name+"-ns/op"] = median(theirs) / float64(ops)
		metrics[ratio] = median(ours) / median(theirs)
		metrics[ratio+"-paired"] = median(ratios)
		metrics[ratio+"-min"] = float64(slices.Min(ours)) / float64(slices.Min(theirs))
	}
	return metrics
}

func median[T time.Duration | float64](list []T) float64 {
	list = slices.Sorted(slices.Values(list))
	middle := len(list) / 2
	if len(list)%2 == 1 {
		return float64(list[middle])
	}
	return float64(list[middle-1]+list[middle]) / 2
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		list []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{100, 1, 3}, 3},
		{[]float64{4, 1, 1000, 2}, 3},
	} {
		if got := median(c.list); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.list, got, c.want)
		}
	}
}

func TestCompare(t *testing.T) {
	got := compare(
		[]contestant{{name: "ours"}, {name: "steady"}, {name: "uneven"}},
		[][]time.Duration{{200, 100, 600}, {400, 400, 400}, {100, 400, 600}},
		10,
	)
	want := map[string]float64{
		"ns/op":              20,
		"steady-ns/op":       40,
		"ours/steady":        0.5,
		"ours/steady-paired": 0.5, // of 0.5, 0.25 and 1.5
		"ours/steady-min":    0.25,
		"uneven-ns/op":       40,
		"ours/uneven":        0.5,
		"ours/uneven-paired": 1, // of 2, 0.25 and 1
		"ours/uneven-min":    1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRoundChangesWhoBegins(t *testing.T) {
	var order strings.Builder
	var contestants []contestant
	for _, name := range []string{"a", "b", "c"} {
		contestants = append(contestants, contestant{name, func() (time.Duration, error) {
			order.WriteString(name)
			return time.Duration(name[0]), nil
		}})
	}
	times := make([][]time.Duration, 3)
	for range 4 {
		if err := round(contestants, times); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := order.String(), "abc"+"bca"+"cab"+"abc"; got != want {
		t.Errorf("turns were taken in the order %s, want %s", got, want)
	}
	want := [][]time.Duration{{'a', 'a', 'a', 'a'}, {'b', 'b', 'b', 'b'}, {'c', 'c', 'c', 'c'}}
	if diff := cmp.Diff(want, times); diff != "" {
		t.Errorf("times went to the wrong contestant (-want +got):\n%s", diff)
	}
}
