package spelling

import (
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestNearest(t *testing.T) {
	names := []string{"app", "key", "installation", "api_url"}
	for text, want := range map[string]string{
		"App": "app", "ap": "app", "appp": "app", "keys": "key", "instalation": "installation",
		"installation-id": "installation",
		"api_uri":         "api_url", "apiurl": "api_url", "app_id": "app", "x": "", "colour": "", "": "", "abc": "",
	} {
		testkit.Equal(t, Nearest(text, names), want, "Nearest(%q)", text)
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		testkit.Equal(t, distance(test.a, test.b), test.want, "distance(%q, %q)", test.a, test.b)
	}
}
