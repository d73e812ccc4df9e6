package diag_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The helper shows one line, and a server may repeat what it was sent.
func TestOneLineHasTheHintAndNoToken(t *testing.T) {
	const token = "ghs_0123456789abcdefghijABCDEFGHIJ012345"
	refusal := diag.OneLine(&ghapp.Error{Kind: ghapp.ErrPermission, Op: "mint",
		Err: errors.New("you sent " + token)}).Error()
	if !strings.HasPrefix(refusal, "cannot mint: you sent ") ||
		!strings.Contains(refusal, "(wanted nothing, granted unknown: add the permission") {
		t.Errorf("refusal %q", refusal)
	}
	testkit.Lacks(t, refusal, token, "\n")
	testkit.Equal(t, diag.OneLine(errors.New("one\ntwo")).Error(), "one; two", "refusal")
}
