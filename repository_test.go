package ghapp_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestParseRepository(t *testing.T) {
	for text, want := range map[string]ghapp.RepositoryName{
		"acme/site":                                 {Owner: "acme", Name: "site"},
		" acme/site\n":                              {Owner: "acme", Name: "site"},
		"Acme/Site.JS":                              {Owner: "Acme", Name: "Site.JS"},
		"acme/site.git":                             {Owner: "acme", Name: "site"},
		"acme/site/":                                {Owner: "acme", Name: "site"},
		"acme/.github":                              {Owner: "acme", Name: ".github"},
		"acme/-_-":                                  {Owner: "acme", Name: "-_-"},
		"acme_corp/site":                            {Owner: "acme_corp", Name: "site"},
		"https://github.com/acme/site":              {Host: "github.com", Owner: "acme", Name: "site"},
		"https://github.com/acme/site/":             {Host: "github.com", Owner: "acme", Name: "site"},
		"https://github.com/acme/site.git":          {Host: "github.com", Owner: "acme", Name: "site"},
		"github.com/acme/site":                      {Host: "github.com", Owner: "acme", Name: "site"},
		"GHE.example.com/acme/site.git":             {Host: "ghe.example.com", Owner: "acme", Name: "site"},
		"HTTPS://GitHub.com/acme/site":              {Host: "github.com", Owner: "acme", Name: "site"},
		"https://github.com:443/acme/site":          {Host: "github.com", Owner: "acme", Name: "site"},
		"https://git.acme.example:8443/acme/site":   {Host: "git.acme.example:8443", Owner: "acme", Name: "site"},
		"https://acme.ghe.com/acme/site":            {Host: "acme.ghe.com", Owner: "acme", Name: "site"},
		"http://127.0.0.1:4040/acme/site.git":       {Host: "127.0.0.1:4040", Owner: "acme", Name: "site"},
		"http://localhost/acme/site":                {Host: "localhost", Owner: "acme", Name: "site"},
		"http://[::1]:4040/acme/site":               {Host: "[::1]:4040", Owner: "acme", Name: "site"},
		"git@github.com:acme/site.git":              {Host: "github.com", Owner: "acme", Name: "site"},
		"github.com:/acme/site":                     {Host: "github.com", Owner: "acme", Name: "site"},
		"git@github.com:/acme/site":                 {Host: "github.com", Owner: "acme", Name: "site"},
		"acme@acme.ghe.com:acme/site.git":           {Host: "acme.ghe.com", Owner: "acme", Name: "site"},
		"org-123@GitHub.com:acme/site":              {Host: "github.com", Owner: "acme", Name: "site"},
		"ssh://git@github.com/acme/site.git":        {Host: "github.com", Owner: "acme", Name: "site"},
		"ssh://git@github.com:22/acme/site.git":     {Host: "github.com", Owner: "acme", Name: "site"},
		"ssh://git@ssh.github.com:443/acme/site":    {Host: "github.com", Owner: "acme", Name: "site"},
		"git+ssh://git@github.com/acme/site.git":    {Host: "github.com", Owner: "acme", Name: "site"},
		"ssh://git@ssh.github.com.evil.example/a/b": {Host: "ssh.github.com.evil.example", Owner: "a", Name: "b"},
		"ssh://git@evilssh.github.com/a/b":          {Host: "evilssh.github.com", Owner: "a", Name: "b"},
		// As git reads them.
		"https://octocat@github.com/acme/site.git": {Host: "github.com", Owner: "acme", Name: "site"},
		"https://@github.com/acme/site":            {Host: "github.com", Owner: "acme", Name: "site"},
		"https://github.com//acme//site.git/":      {Host: "github.com", Owner: "acme", Name: "site"},
		"https://github.com/acme/%73ite":           {Host: "github.com", Owner: "acme", Name: "site"},
		"https://www.github.com/acme/site":         {Host: "github.com", Owner: "acme", Name: "site"},
		"http://github.com/acme/site":              {Host: "github.com", Owner: "acme", Name: "site"},
		"http://octocat@GitHub.com:80/acme/site":   {Host: "github.com", Owner: "acme", Name: "site"},
		"github.com:acme/site.git":                 {Host: "github.com", Owner: "acme", Name: "site"},
		"github.com:443/acme/site":                 {Host: "github.com", Owner: "acme", Name: "site"},
		"git@ssh.github.com:acme/site.git":         {Host: "github.com", Owner: "acme", Name: "site"},
		"git@work:acme/site":                       {Host: "work", Owner: "acme", Name: "site"},
		"ssh://github.com/acme/site":               {Host: "github.com", Owner: "acme", Name: "site"},
		"ssh+git://git@github.com/acme/site.git/":  {Host: "github.com", Owner: "acme", Name: "site"},
		"ssh://git@GHE.example.com:122//acme/site": {Host: "ghe.example.com", Owner: "acme", Name: "site"},
		"acme/site.wiki":                           {Owner: "acme", Name: "site", Wiki: true},
		"https://github.com/acme/site.wiki.git":    {Host: "github.com", Owner: "acme", Name: "site", Wiki: true},
		"git@github.com:acme/site.js.wiki.git":     {Host: "github.com", Owner: "acme", Name: "site.js", Wiki: true},
		"acme/.wiki":                               {Owner: "acme", Name: ".wiki"},
		"https://octocat@github.com/acme/wiki":     {Host: "github.com", Owner: "acme", Name: "wiki"},
		"ssh://git@[::1]:2222/acme/site":           {Host: "[::1]", Owner: "acme", Name: "site"},
	} {
		web := strings.HasPrefix(strings.ToLower(text), "http") ||
			strings.Contains(text, ":443/acme") && !strings.Contains(text, "@")
		want.AnyPort = !web && strings.Contains(text, ":") // by ssh
		got, err := ghapp.ParseRepository(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if name := strings.TrimSuffix(got.String(), ".wiki"); got.Wiki && name != want.Owner+"/"+want.Name ||
			!got.Wiki && got.String() != want.Owner+"/"+want.Name {
			t.Errorf("%q prints as %s", text, got)
		}
	}
}

func TestWhatNamesNoRepository(t *testing.T) {
	for text, says := range map[string]string{
		"": "empty", "  ": "empty", "acme": "not owner/name", "/": "not owner/name", "acme/": "not owner/name",
		"/site": "not owner/name", "acme//site": "not owner/name",
		"acme/site/tree/main": "not owner/name", "../../acme/site": "not owner/name",
		"git hub.com/acme/site":                  "not owner/name",
		"https://github.com/acme/site/tree/main": "a branch is given by --branch",
		"https://github.com/acme":                "not owner/name", "https://github.com": "not owner/name",
		"https://github.com/acme/site?tab=readme": "goes on after", "https://github.com/acme/site#readme": "goes on after",
		"http://github.com:8080/acme/site": "unencrypted; use https://github.com:8080/acme/site",
		"http://10.0.0.1:81/acme/site":     "unencrypted",
		"ftp://github.com/acme/site":       `scheme "ftp"`, "file:///acme/site": `scheme "file"`,
		"git://github.com/acme/site":          "nothing over git://; use https://github.com/acme/site",
		"ext::sh -c x/y":                      "a program that git would run",
		"https::https://github.com/acme/site": "names no host", "C:/acme/site": "a path on a drive",
		"https://github.com/acme%2Fsite": "%2F", "https://a@b@github.com/acme/site": "an @ in its user name",
		"git@github.com:site":             "neither owner/name nor a URL",
		"ssh://git@github.com/~acme/site": "not the name of an owner", "git@github.com:../acme/site": "goes on after",
		"https://github.com/acme/site?": "goes on after",
		"https:///acme/site":            "names no host", "ssh:///acme/site": "names no host",
		"https://:443/acme/site": "names no host",
		"http://:1/acme/site":    "unencrypted",
		"../..":                  "not the name of an owner", "acme/..": "not the name of a repository",
		"acme/.": "not the name of a repository", "acme/.git": "not the name of a repository",
		"-x/site": "not the name of an owner", "acme/si te": "not the name of a repository",
		"acme/s\x1b[31mite": "not the name of a repository", "acmé/site": "not the name of an owner",
		"--upload-pack=x/y": "not the name of an owner", strings.Repeat("a", 101) + "/site": "not the name of an owner",
		"acme/" + strings.Repeat("a", 101): "not the name of a repository",
		"https://github.com/acme/%2e%2e":   "not the name of a repository", "https://github.com/%zz/x": "not a URL",
		"acme\\site": "not owner/name",
	} {
		got, err := ghapp.ParseRepository(text)
		e := wantKind(t, err, ghapp.ErrInvalid)
		if !strings.Contains(e.Error(), says) || got != (ghapp.RepositoryName{}) || strings.Contains(e.Error(), "\x1b") {
			t.Errorf("%q: %v, error %q, want one that says %q", text, got, e, says)
		}
	}
}

func TestURLWithASecretIsRefusedWithoutRepeatingIt(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	for _, text := range []string{
		"https://x-access-token:" + canary + "@github.com/acme/site", "https://" + canary + "@github.com/acme/site",
		"http://x:" + canary + "@127.0.0.1/acme/site",
		"http://" + canary + "@127.0.0.1/acme/site", "http://x:" + canary + "@github.com/acme/site",
		"ssh://git:" + canary + "@github.com/acme/site",
		"https://x:" + canary + "@github.com/acme/%zz", "ftp://x:" + canary + "@github.com/acme/site",
		"https://x:" + canary + "@github.com/acme/site/tree/x",
		// Without a scheme, or with half of one, it is no URL.
		"x-access-token:" + canary + "@github.com/acme/site", "x:" + canary + "@github.com",
		"https:/x:" + canary + "@github.com/acme/site", "x:" + canary + "@github.com:acme/site",
		"https://x:" + canary + "@github.com/settings/installations/x", "x:" + canary +
			"@github.com/settings/installations/x", "https://x:" + canary + "%zz@github.com/settings/installations/5",
	} {
		_, err := ghapp.ParseRepository(text)
		_, found := app.FindInstallation(t.Context(), text)
		_, minted := app.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{text}})
		for _, err := range []error{err, found, minted} {
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("%q: error %v", text, err)
			}
		}
	}
}

func FuzzParseRepository(f *testing.F) {
	for _, seed := range []string{
		"acme/site", "https://github.com/acme/site.git", "git@github.com:acme/site.git",
		"ssh://git@ssh.github.com:443/acme/site", "http://127.0.0.1:1/a/b",
		"http://x:y@[::1]/a/b", "a@b:c/d", "://", "https://github.com/%2e%2e/%2f", "a/b\x00", "git+ssh://a/b/c",
		"..//..", "https://github.com:/a/b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ghapp.ParseRepository(text)
		if err != nil {
			testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrInvalid, "%q, %v", text, err)
			testkit.Equal(t, r, (ghapp.RepositoryName{}), "%q, %v", text, err)
			return
		}
		if strings.ContainsFunc(r.Owner+r.Name,
			func(c rune) bool { return c > unicode.MaxASCII || !unicode.IsPrint(c) || c == '/' || c == ' ' }) ||
			strings.HasPrefix(r.Owner, "-") || r.Name == ".." || r.Name == "." || r.Owner == "" || r.Name == "" ||
			r.Host != strings.ToLower(r.Host) {
			t.Errorf("%q gives %#v", text, r)
		}
		// What it prints is a repository's name again, and the same one.
		if strings.HasSuffix(r.Name, ".git") {
			return
		}
		again, err := ghapp.ParseRepository(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%q gives %s, which gives %s, %v", text, r, again, err)
		}
	})
}
