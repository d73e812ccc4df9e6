package refs

import (
	"errors"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
)

func TestWhatGitListsIsReadLikeWhatTheServerSays(t *testing.T) {
	a, b, c := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)
	printed := "ref: refs/heads/main\tHEAD\n" + a + "\tHEAD\n" + b +
		"\trefs/heads/deployment\n" + a + "\trefs/heads/main\n" +
		b + "\trefs/tags/v1.2.0\n" + c + "\trefs/tags/v1.2.0^{}\n" + a + "\trefs/tags/v1.10.0\n"
	site := ghapp.RepositoryName{Owner: "acme", Name: "site"}
	for _, test := range []struct {
		want        Revision
		ref, commit string
	}{
		{Revision{}, "refs/heads/main", a},
		{Revision{Branch: "deployment"}, "refs/heads/deployment", b},
		{Revision{Tag: "v1.2.0"}, "refs/tags/v1.2.0", c},
		{Revision{Version: "*"}, "refs/tags/v1.10.0", a},
		{Revision{Version: "~1.2"}, "refs/tags/v1.2.0", c},
	} {
		found, err := test.want.ReadLsRemote(site, printed)
		if err != nil || found.Ref != test.ref || found.Commit != test.commit || found.Repository != site {
			t.Errorf("%s: %+v %v", test.want, found, err)
		}
	}
	if _, err := (Revision{Branch: "gone"}).ReadLsRemote(site, printed); !missing(err, false) {
		t.Error(err)
	}
	if _, err := (Revision{}).ReadLsRemote(site, ""); !missing(err, true) {
		t.Error(err)
	}
	if _, err := (Revision{}).ReadLsRemote(site, "fatal: no\n"); err == nil || missing(err, false) || missing(err, true) {
		t.Error(err)
	}
}

func missing(err error, empty bool) bool {
	e, ok := errors.AsType[*RefError](err)
	return ok && e.Empty == empty
}
