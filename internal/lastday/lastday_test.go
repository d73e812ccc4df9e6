package lastday_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/lastday"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// counted are the counts that are not 0, by how many quarters ago they were.
func counted(c *lastday.Counter) map[int]int64 {
	found := map[int]int64{}
	for i, n := range c.Counts() {
		if n != 0 {
			found[lastday.Quarters-1-i] = n
		}
	}
	return found
}

func TestWhatIsOlderThanADayIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c lastday.Counter
		testkit.Equal(t, len(c.Counts()), lastday.Quarters)
		c.Add(1)
		c.Add(2)
		testkit.Diff(t, counted(&c), map[int]int64{0: 3})
		time.Sleep(lastday.Quarter)
		c.Add(4)
		time.Sleep(2 * lastday.Quarter)
		testkit.Diff(t, counted(&c), map[int]int64{3: 3, 2: 4})
		time.Sleep(24*time.Hour - 3*lastday.Quarter - time.Second)
		testkit.Diff(t, counted(&c), map[int]int64{95: 3, 94: 4})
		time.Sleep(time.Second)
		c.Add(5)
		testkit.Diff(t, counted(&c), map[int]int64{95: 4, 0: 5})
		time.Sleep(1000 * time.Hour)
		c.Add(6)
		testkit.Diff(t, counted(&c), map[int]int64{0: 6})
	})
}

func TestManyCountAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c lastday.Counter
		for range 8 {
			go func() {
				for range 100 {
					c.Add(1)
					c.Counts()
				}
			}()
		}
		synctest.Wait()
		testkit.Equal(t, slices.Max(c.Counts()), int64(800))
	})
}
