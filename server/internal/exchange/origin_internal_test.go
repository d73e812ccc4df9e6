package exchange

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Of many who wait for one token, one had it minted; who comes when it is there finds it.
func TestTokenIsMintedForOneAndMergedForThoseWhoWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o origins
		token := &ghapp.Token{ExpiresAt: time.Now().Add(time.Hour)}
		first, second := time.Now(), time.Now().Add(time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		testkit.Equal(t, o.of("a", token, first), "minted")
		testkit.Equal(t, o.of("a", token, second), "merged")
		testkit.Equal(t, o.of("a", token, time.Now()), "cached")
		testkit.Equal(t, o.of("b", token, time.Now()), "minted")
	})
}

// What has ended is forgotten.
func TestOriginsOfTokensThatHaveEndedAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o origins
		for i := range 1000 {
			token := &ghapp.Token{ExpiresAt: time.Now().Add(time.Minute)}
			o.of(fmt.Sprint(i), token, time.Now())
			time.Sleep(time.Second)
		}
		if n := len(o.tokens); n > 200 {
			t.Errorf("%d are remembered", n)
		}
	})
}
