package doctor

import (
	"strings"
	"testing"
)

func TestFlawsAreOfTheReleasesThatHaveThem(t *testing.T) {
	for _, test := range []struct {
		text  string
		flaws []flaw
		want  string // of the flaw; "" none
	}{
		{"2.39.5", gitFlaws(), "CVE-2024-52006"},
		{"2.39.5 (Apple Git-154)", gitFlaws(), "CVE-2024-52006"},
		{"2.40.3", gitFlaws(), "CVE-2024-52006"},
		{"2.40.4", gitFlaws(), "CVE-2025-48384"},
		{"2.43.6", gitFlaws(), "CVE-2025-48385"},
		{"2.43.7", gitFlaws(), ""},
		{"2.48.0", gitFlaws(), "CVE-2024-52006"},
		{"2.48.1", gitFlaws(), "update to 2.50.1"},
		{"2.48.2", gitFlaws(), ""},
		{"2.49.0", gitFlaws(), "CVE-2025-48384"},
		{"2.50.0", gitFlaws(), "CVE-2025-48385"},
		{"2.50.1", gitFlaws(), ""},
		{"2.51.0", gitFlaws(), ""},
		{"2.55.GIT", gitFlaws(), ""},
		{"2.47.1.windows.1", gitFlaws(), "CVE-2024-52006"},
		{"3.6.0", lfsFlaws(), "CVE-2024-53263"},
		{"3.6.0", lfsFlaws(), "CVE-2025-26625"},
		{"3.6.1", lfsFlaws(), "CVE-2025-26625"},
		{"3.7.0", lfsFlaws(), "update to 3.7.1"},
		{"3.7.1", lfsFlaws(), ""},
		{"7.13.0", curlFlaws(), ""},
		{"7.88.1", curlFlaws(), "CVE-2026-6429"},
		{"8.11.0", curlFlaws(), "CVE-2026-6429"},
		{"8.11.1", curlFlaws(), "CVE-2026-8926"},
		{"8.14.1", curlFlaws(), "CVE-2026-8926"},
		{"8.14.2", curlFlaws(), ""},
		{"8.15.0", curlFlaws(), "CVE-2026-8926"},
		{"8.16.1", curlFlaws(), ""},
		{"8.20.0", curlFlaws(), "CVE-2026-8926"},
		{"8.21.0", curlFlaws(), ""},
		{"nothing that is known", gitFlaws(), ""},
	} {
		got := known(test.text, test.flaws)
		if named := got.State == Note; named != (test.want != "") || !strings.Contains(got.Text, test.want) ||
			!strings.HasPrefix(got.Text, test.text) {
			t.Errorf("%s: %+v, want %q", test.text, got, test.want)
		}
		if got.Cause+got.Hint != "" || got.State == Warn || got.State == Broken {
			t.Errorf("%s is blamed: a distribution may have mended it: %+v", test.text, got)
		}
	}
}
