package gitcmd

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/api"
)

func TestNoPartOfAProxysAddressIsShown(t *testing.T) {
	const text = "Cloning into 'x'...\nfatal: unable to access 'https://h/x/': Unsupported proxy syntax in 'corp:s3cret'\n" +
		"warning: Could not be found\rfatal: Could not resolve proxy: s3cret\r\nremote: done\nCould not"
	want := strings.NewReplacer("'corp:s3cret'", "(the address of the proxy)", "s3cret\r", "(the address of the proxy)\r").Replace(text)
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := &unnamedProxy{w: &out}
		for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			if _, err := w.Write(rest[:min(size, len(rest))]); err != nil {
				t.Fatal(err)
			}
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
		refused, ok := errors.AsType[*api.ProxyError](err)
		if !ok || refused.Setting != name || strings.Contains(err.Error(), "cret") || strings.Contains(err.Error(), "s3") {
			t.Errorf("%s: %v", name, err)
		}
		r.Environ = append(r.Environ, "no_proxy=other.test, .github.test")
		if _, err := r.own(s); err != nil {
			t.Errorf("%s: refused where it is not used: %v", name, err)
		}
		if _, err := r.own(Scope{}); err != nil {
			t.Errorf("%s: refused where nothing is asked: %v", name, err)
		}
	}
}
