package caller_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
)

func TestProofServesOnceUntilItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var memory caller.Memory
		first := func(c caller.Caller) bool { return testkit.Must(memory.First(t.Context(), c))(t) }
		proof := caller.Caller{Issuer: "https://a", ID: "1", Expires: time.Now().Add(5 * time.Minute)}
		testkit.Equal(t, first(proof), true)
		testkit.Equal(t, first(proof), false)
		time.Sleep(5*time.Minute + 29*time.Second)
		testkit.Equal(t, first(proof), false, "within the leeway it would still be taken")
		other := proof
		other.Issuer = "https://b"
		testkit.Equal(t, first(other), true, "the ID of another issuer's")
		apart := caller.Caller{Issuer: "https://a1", ID: "", Expires: proof.Expires}
		testkit.ErrorIs(t, testkit.ErrorOf(memory.First(t.Context(), apart)), caller.ErrNoID)
	})
}

func TestFullMemoryRefusesAndForgetsNothingThatCouldServeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := caller.Memory{Limit: 100}
		proof := func(n int) caller.Caller {
			return caller.Caller{Issuer: "https://a", ID: strconv.Itoa(n), Expires: time.Now().Add(5 * time.Minute)}
		}
		old := proof(0)
		for n := range 100 {
			testkit.Equal(t, testkit.Must(memory.First(t.Context(), proof(n)))(t), true)
		}
		testkit.ErrorIs(t, testkit.ErrorOf(memory.First(t.Context(), proof(100))), caller.ErrMemoryFull)
		testkit.Equal(t, testkit.Must(memory.First(t.Context(), old))(t), false)
		time.Sleep(6 * time.Minute)
		testkit.Equal(t, testkit.Must(memory.First(t.Context(), proof(100)))(t), true)
	})
}
