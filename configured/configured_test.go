package configured_test

import (
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/configured"
)

func TestWhatIsMissingOrWrongIsSaid(t *testing.T) {
	home := "HOME=" + t.TempDir()
	for name, test := range map[string]struct {
		options configured.Options
		says    string
	}{
		"nothing configured": {configured.Options{Environ: []string{home}}, "App"},
		"no key":             {configured.Options{Environ: []string{home, "GHAPP_APP=1"}}, "key"},
		"a CA file not there": {configured.Options{Environ: []string{home, "GHAPP_APP=1", "GHAPP_KEY=env:KEY",
			"GHAPP_CA_FILE=/nowhere.pem"}}, ""},
		"no repository's name": {configured.Options{Repository: "acme", Environ: []string{home}}, "owner/name"},
	} {
		app, err := configured.Open(t.Context(), test.options)
		if err == nil || app != nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: App %v, error %v, want one that says %q", name, app, err, test.says)
		}
	}
}
