package gitcmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestNoPartOfAProxysAddressIsShown(t *testing.T) {
	const text = "Cloning into 'x'...\nfatal: unable to access 'https://h/x/': " +
		"Unsupported proxy syntax in 'corp:s3cret'\n" +
		"warning: Could not be found\rfatal: Could not resolve proxy: s3cret\r\nremote: done\nCould not"
	want := strings.NewReplacer("'corp:s3cret'", "(the address of the proxy)", "s3cret\r",
		"(the address of the proxy)\r").Replace(text)
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := &unnamedProxy{w: &out}
		for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			testkit.Must(w.Write(rest[:min(size, len(rest))]))(t)
		}
		if err := w.Close(); err != nil || out.String() != want {
			t.Fatalf("written by %d: %q, %v", size, out.String(), err)
		}
	}
}

func TestGitDoesNotStartWithAProxyThatCannotBeRead(t *testing.T) {
	s := Scope{Origin: "https://github.test", Helper: "x"}
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		r := Runner{Environ: []string{name + "=http://corp:s3#cret@proxy.test:3128"}}
		_, err := r.Output(t.Context(), s, "ls-remote", "https://github.test/x/y")
		refused := testkit.ErrorAs[*api.ProxyError](t, err)
		testkit.Equal(t, refused.Setting, name)
		testkit.Lacks(t, err.Error(), "cret", "s3")
		r.Environ = append(r.Environ, "no_proxy=other.test, .github.test")
		testkit.OK(t, testkit.ErrorOf(r.own(s)), "%s: refused where it is not used", name)
		testkit.OK(t, testkit.ErrorOf(r.own(Scope{})), "%s: refused where nothing is asked", name)
	}
}
