package ghapp

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A process that is asked about whatever names come along, for weeks.
func TestLookupsThatAreBelievedNoMoreAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := openApp(t, Config{})
		held := func() int {
			n := 0
			a.installations.memory.Range(func(any, any) bool { n++; return true })
			return n
		}
		miss := errors.New("not installed")
		for day := range 10 {
			for i := range 50 {
				a.installations.remember(fmt.Sprint("found", day, i), installationRef{Installation: 1, FoundAt: time.Now()})
				a.installations.remember(fmt.Sprint("missed", day, i), installationRef{FoundAt: time.Now(), err: miss})
			}
			testkit.Equal(t, held(), 100, "day %d", day)
			time.Sleep(missLife)
			a.installations.remember("another", installationRef{Installation: 1, FoundAt: time.Now()})
			testkit.Equal(t, held(), 51, "day %d", day)
			time.Sleep(refLife)
		}
	})
}
