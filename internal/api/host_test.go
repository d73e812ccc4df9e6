package api

import (
	"net/url"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

func TestParseHost(t *testing.T) {
	github := Host{"github.com", "https://github.com", "https://api.github.com"}
	residency := Host{"acme.ghe.com", "https://acme.ghe.com", "https://api.acme.ghe.com"}
	server := Host{"git.acme.example", "https://git.acme.example", "https://git.acme.example/api/v3"}
	for _, test := range []struct {
		name, api string
		want      Host
	}{
		{"", "", github}, {"github.com", "", github}, {"GitHub.com", "", github}, {"https://github.com/", "", github},
		{" github.com\n", "", github}, {"www.github.com", "", github}, {"api.github.com", "", github},
		{"https://github.com:443", "", github},
		{"acme.ghe.com", "", residency}, {"https://ACME.ghe.com", "", residency}, {"api.acme.ghe.com", "", residency},
		{"git.acme.example", "", server}, {"HTTPS://git.acme.example//", "", server},
		{"git.acme.example:8443", "", Host{"git.acme.example:8443", "https://git.acme.example:8443",
			"https://git.acme.example:8443/api/v3"}},
		{"[2001:db8::1]:8443", "", Host{"[2001:db8::1]:8443", "https://[2001:db8::1]:8443",
			"https://[2001:db8::1]:8443/api/v3"}},
		{"http://127.0.0.1:4040", "", Host{"127.0.0.1:4040", "http://127.0.0.1:4040", "http://127.0.0.1:4040/api/v3"}},
		{"http://localhost:80", "", Host{"localhost", "http://localhost", "http://localhost/api/v3"}},
		{"http://[::1]:4040", "", Host{"[::1]:4040", "http://[::1]:4040", "http://[::1]:4040/api/v3"}},
		// An api-url of its own stays as it is, whatever the host.
		{"github.com", "https://gateway.example/github/",
			Host{"github.com", "https://github.com", "https://gateway.example/github"}},
		{"git.acme.example", "git.acme.example/api/v3", server},
		{"git.acme.example", "http://127.0.0.1:1/api/v3",
			Host{"git.acme.example", "https://git.acme.example", "http://127.0.0.1:1/api/v3"}},
		// A name that only looks like GitHub's is an Enterprise Server of its own.
		{"notghe.com", "", Host{"notghe.com", "https://notghe.com", "https://notghe.com/api/v3"}},
		{"github.com.evil.example", "", Host{"github.com.evil.example", "https://github.com.evil.example",
			"https://github.com.evil.example/api/v3"}},
	} {
		got, err := ParseHost(test.name, test.api)
		if err != nil {
			t.Errorf("ParseHost(%q, %q): %v", test.name, test.api, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("ParseHost(%q, %q) (-want +got):\n%s", test.name, test.api, diff)
		}
	}
}

func TestParseHostRefuses(t *testing.T) {
	for _, test := range []struct{ name, api, says string }{
		{"http://github.com", "", "unencrypted"}, {"http://10.0.0.1", "", "unencrypted"},
		{"http://127.0.0.1.evil.example", "", "unencrypted"},
		{"http://localhost.evil.example", "", "unencrypted"}, {"http://0.0.0.0", "", "unencrypted"},
		{"github.com", "http://api.github.com", "unencrypted"},
		{"github.com/acme", "", "has a path"}, {"https://github.com/acme/site", "", "has a path"},
		{"ftp://github.com", "", `scheme "ftp"`}, {"https://", "", "not a host name"}, {"github com", "", "not a URL"},
		{"git_hub..com", "", "not a host name"}, {"-x.example", "", "not a host name"},
		{"github.com.", "", "not a host name"},
		{"gıthub.com", "", "not a host name"}, {strings.Repeat("a", 64) + ".com", "", "not a host name"},
		{"github.com?x=1", "", "query"}, {"github.com#x", "", "query"}, {"github.com?", "", "query"},
	} {
		_, err := ParseHost(test.name, test.api)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("ParseHost(%q, %q): error %v, want one that says %q", test.name, test.api, err, test.says)
		}
	}
}

func TestParseHostDoesNotRepeatAPassword(t *testing.T) {
	for _, name := range []string{
		"https://user:" + canary + "@github.com", "user:" + canary + "@github.com", "https://" + canary + "@github.com/x",
		"https://user:" + canary + "%zz@github.com", "https://user:" + canary + "@git hub.com",
		"https://github.com?token=" + canary,
	} {
		for _, try := range [][2]string{{name, ""}, {"github.com", name}} {
			_, err := ParseHost(try[0], try[1])
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("ParseHost(%q, %q): error %v", try[0], try[1], err)
			}
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for name, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "127.0.0.1": true, "127.9.8.7": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "0.0.0.0": false,
		"10.0.0.1": false, "::": false, "127.1": false,
	} {
		testkit.Equal(t, IsLoopback(name), want, "IsLoopback(%q)", name)
	}
}

func FuzzParseHost(f *testing.F) {
	for _, seed := range []string{"github.com", "https://git.acme.example:8443/", "http://127.0.0.1:1", "[::1]",
		"user:p@h", "api.acme.ghe.com", "://", "http://localhost:80"} {
		f.Add(seed, "")
		f.Add("github.com", seed+"/api/v3")
	}
	f.Fuzz(func(t *testing.T, name, apiURL string) {
		h, err := ParseHost(name, apiURL)
		if err != nil {
			return
		}
		for _, text := range []string{h.Origin, h.API} {
			u, err := url.Parse(text)
			testkit.OK(t, err, "ParseHost(%q, %q): %q is no URL", name, apiURL, text)
			if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(text, "/") ||
				u.Scheme != "https" && (u.Scheme != "http" || !IsLoopback(u.Hostname())) {
				t.Errorf("ParseHost(%q, %q) gives %q", name, apiURL, text)
			}
		}
		if h.Name != strings.ToLower(h.Name) || !strings.HasSuffix(h.Origin, "://"+h.Name) {
			t.Errorf("ParseHost(%q, %q) = %+v", name, apiURL, h)
		}
		again, err := ParseHost(h.Origin, h.API)
		if err != nil || again != h {
			t.Errorf("ParseHost(%q, %q) = %+v, but read again it is %+v, %v", name, apiURL, h, again, err)
		}
	})
}
