package mirror

import (
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// git leaves a server of which hardly anything comes, unless somebody has it otherwise.
func TestGitIsToldWhatIsTooSlow(t *testing.T) {
	for set, want := range map[string]string{
		"":                         "GIT_HTTP_LOW_SPEED_LIMIT=1000 GIT_HTTP_LOW_SPEED_TIME=600",
		"GIT_HTTP_LOW_SPEED_TIME":  "GIT_HTTP_LOW_SPEED_LIMIT=1000",
		"GIT_HTTP_LOW_SPEED_LIMIT": "GIT_HTTP_LOW_SPEED_TIME=600",
	} {
		got := lowSpeed(func(name string) (string, bool) { return "5", name == set })
		testkit.Equal(t, strings.Join(got, " "), want)
	}
}
