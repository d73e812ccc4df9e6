//go:build unix

package syncer

import (
	"errors"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Whoever reaches the page is not told what only who runs the machine may know.
func TestStrangersAreToldNoCommandNoOutputAndNoToken(t *testing.T) {
	at := time.Now()
	for _, test := range []struct {
		err  error
		want string
	}{
		{&deploy.Error{Problem: deploy.ErrCheck, Op: `check "curl -u me:secret" for 1`, Output: "printed", Err: errors.New("exit status 1")},
			"the check failed: exit status 1"},
		{&deploy.Error{Problem: deploy.ErrExec, Op: `exec "curl -u me:secret" for 1`, Err: errors.New("it took longer than 5s")},
			"the release is published, but the command after it failed: it took longer than 5s"},
		{&deploy.Error{Problem: deploy.ErrDamaged, Op: "look", Output: "printed"}, "look: the release is not whole"},
		{errors.Join(&deploy.Error{Problem: deploy.ErrBusy}, &deploy.Error{Problem: deploy.ErrCheck, Op: "check secret"}),
			"the check failed"},
		{errors.Join(errors.New("one\nprinted"), errors.New("two")), "one\ntwo"},
		{errors.New("refused: ghs_" + "0123456789abcdefghijklmnopqrstuvwxyzAB"), "refused: [redacted]"},
	} {
		f := forStrangers(test.err, at)
		testkit.Equal(t, f.Message, test.want)
		testkit.Equal(t, f.At, at)
		testkit.Lacks(t, f.Hint, "secret", "printed")
	}
}
