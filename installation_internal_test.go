package ghapp

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
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
			if n := held(); n != 100 {
				t.Errorf("day %d: %d are held, want 100", day, n)
			}
			time.Sleep(missLife)
			a.installations.remember("another", installationRef{Installation: 1, FoundAt: time.Now()})
			if n := held(); n != 51 {
				t.Errorf("day %d: %d are held after the misses have ended, want 51", day, n)
			}
			time.Sleep(refLife)
		}
	})
}
