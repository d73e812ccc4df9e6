package spelling

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"app", "key", "installation", "api_url"}
	for text, want := range map[string]string{
		"App": "app", "ap": "app", "appp": "app", "keys": "key", "instalation": "installation", "installation-id": "installation",
		"api_uri": "api_url", "apiurl": "api_url", "app_id": "app", "x": "", "colour": "", "": "", "abc": "",
	} {
		if got := Nearest(text, names); got != want {
			t.Errorf("Nearest(%q) is %q, want %q", text, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) is %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
