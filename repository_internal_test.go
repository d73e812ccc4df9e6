package ghapp

import (
	"errors"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{
		"acme", "acme/site", "12345", "https://github.com/settings/installations/5",
		"https://github.com/organizations/acme/settings/installations/5/",
		"github.com/apps/x/installations/5", "https://evil.example/settings/installations/5", "git@github.com:acme/site.git",
		"0", "-1", "99999999999999999999",
		"https://x:y@github.com/settings/installations/5", "/installations/5", "//installations/5", "a/installations/", "@",
		"://", "https:///acme/site", "https://:443/acme/site",
	} {
		f.Add(seed)
	}
	host := testkit.Must(api.ParseHost("", ""))(f)
	f.Fuzz(func(t *testing.T, text string) {
		found, err := parseTarget(text, host)
		if err != nil {
			if found != (target{}) || !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrWrongHost) {
				t.Errorf("%q: %+v, %v", text, found, err)
			}
			return
		}
		byID, byName := found.id > 0, found.owner != ""
		if byID == byName || found.id < 0 || found.owner == "" && found.name != "" {
			t.Errorf("%q gives %+v: it is to name one thing", text, found)
		}
		if byName && (!validOwner(found.owner) || found.name != "" && !validName(found.name)) {
			t.Errorf("%q gives %+v", text, found)
		}
		// A host that stands in the text is the host in use, or it was refused.
		if strings.Contains(text, "://") && !strings.Contains(strings.ToLower(text), "github.com") {
			t.Errorf("%q gives %+v although it is on another host", text, found)
		}
	})
}
