package gitauth

import "testing"

func TestRepositoryOfEveryPathGitAsksFor(t *testing.T) {
	good := map[string]string{
		"acme/site":                             "acme/site",
		"acme/site.git":                         "acme/site",
		"acme/site.git/":                        "acme/site",
		"/acme/site.git":                        "acme/site",
		"//acme//site.git//":                    "acme/site",
		"acme/site.wiki":                        "acme/site",
		"acme/site.wiki.git":                    "acme/site",
		"acme/site.git/info/lfs":                "acme/site",
		"acme/site.git/info/lfs/objects/batch":  "acme/site",
		"acme/site/info/lfs/locks/verify":       "acme/site",
		"Acme/.github.git":                      "Acme/.github",
		"acme/site.github.io.git":               "acme/site.github.io",
		"acme-corp_emu/a.b-c_d.git/info/lfs/x/": "acme-corp_emu/a.b-c_d",
	}
	for path, want := range good {
		got, err := RepositoryOf(path)
		if err != nil || got.String() != want {
			t.Errorf("RepositoryOf(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
	for _, path := range []string{
		"", "/", "acme", "acme/", "/site.git", "acme/site/tree/main", "acme/site.git/info", "acme/site.git/info/lfsx",
		"../site", "acme/..", "acme/.git", "acme/si te", "acme/site\nhost=evil", "acme/%2e%2e",
		"a/b/c/d", "acme/site.git/../other",
	} {
		if got, err := RepositoryOf(path); err == nil {
			t.Errorf("RepositoryOf(%q) = %q; want an error", path, got)
		}
	}
}
