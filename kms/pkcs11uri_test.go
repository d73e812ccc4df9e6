package kms

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestPKCS11URI(t *testing.T) {
	for uri, want := range map[string]map[string]string{
		"pkcs11:": {},
		"pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil%2C%20Inc.": {
			"token": "The Software PKCS#11 Softtoken", "manufacturer": "Snake Oil, Inc."},
		"pkcs11:object=a+b;id=%00%ff%3B;type=private": {"object": "a+b",
			"id": "\x00\xff;", "type": "private"},
		"PKCS11:object=;slot-id=327": {
			"object": "", "slot-id": "327"},
		"pkcs11:object=%E5%BA%94%E7%94%A8?pin-source=file:/etc/token_pin&module-path=/a;b": {"object": "应用",
			"pin-source": "file:/etc/token_pin", "module-path": "/a;b"},
		// a second question mark begins no attribute
		"pkcs11:object=a?b?module-name=x": nil,
		"pkcs11:module-path=/m.so;token=a?pin-value=%25%2B+": {"module-path": "/m.so",
			"token": "a", "pin-value": "%++"},
		"pkcs11:object=a=b":                     {"object": "a=b"},
		"pkcs11:object=a?x-vendor=1&x-vendor=2": {"object": "a"},

		"http:object=a":                          nil,
		"pkcs11":                                 nil,
		"pkcs11:object":                          nil,
		"pkcs11:=a":                              nil,
		"pkcs11:object=a;":                       nil,
		"pkcs11:object=a;object=b":               nil,
		"pkcs11:object=%":                        nil,
		"pkcs11:object=%4":                       nil,
		"pkcs11:object=%4g":                      nil,
		"pkcs11:object=%+1":                      nil,
		"pkcs11:Object=a":                        nil,
		"pkcs11:objekt=a":                        nil,
		"pkcs11:x-vendor=a":                      nil,
		"pkcs11:type=cert":                       nil,
		"pkcs11:type=":                           nil,
		"pkcs11:slot-id=0x1":                     nil,
		"pkcs11:slot-id=-1":                      nil,
		"pkcs11:?object=a":                       nil,
		"pkcs11:?pin-value=1&pin-source=a":       nil,
		"pkcs11:pin-value=1?pin-value=1":         nil,
		"pkcs11:?module-name=a/b":                nil,
		"pkcs11:?module-name=":                   nil,
		"pkcs11:?module-path=":                   nil,
		"pkcs11:?module-path=a%00b":              nil,
		"pkcs11:token=Card?pin-value=12&34":      nil,
		"pkcs11:token=Card?pin-value=12;name=34": {"token": "Card", "pin-value": "12;name=34"},
	} {
		u, err := parsePKCS11URI(uri)
		if want == nil {
			testkit.Fails(t, err, "%s is read as %v %v", uri, u.path, u.query)
			continue
		}
		got := maps.Clone(u.path)
		maps.Copy(got, u.query)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s is read as %q, %v; want %q", uri, got, err, want)
		}
	}
}

// What is read can be written again and means the same; no error has a value in it.
func FuzzPKCS11URI(f *testing.F) {
	for _, seed := range []string{
		"pkcs11:token=Card;object=app;id=%01%ff?pin-source=file:/run/pin&module-name=softhsm2",
		"pkcs11:slot-id=1;type=private?pin-value=47-canary", "pkcs11:a=%zz?pin-value=47-canary;b&47-canary",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		u, err := parsePKCS11URI(uri)
		if err != nil {
			for _, value := range []string{"47-canary", "%zz"} {
				testkit.Lacks(t, err.Error(), value)
			}
			return
		}
		join := func(attributes map[string]string, separator string) string {
			var parts []string
			for _, name := range slices.Sorted(maps.Keys(attributes)) {
				plain, err := url.PathUnescape(percentEncode(attributes[name]))
				if err != nil || plain != attributes[name] {
					t.Errorf("%q is written as %q", attributes[name], percentEncode(attributes[name]))
				}
				parts = append(parts, name+"="+percentEncode(attributes[name]))
			}
			return strings.Join(parts, separator)
		}
		again, err := parsePKCS11URI("pkcs11:" + join(u.path, ";") + "?" + join(u.query, "&"))
		if err != nil || !maps.Equal(again.path, u.path) || !maps.Equal(again.query, u.query) {
			t.Errorf("%q becomes %v, %v", uri, again, err)
		}
	})
}

func TestModuleIsFoundByItsName(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("modules have other names there")
	}
	root := t.TempDir()
	write := func(text string, name ...string) string {
		path := filepath.Join(append([]string{root}, name...)...)
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o700))
		testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("# a comment: module: /no\nmodule:  /opt/hsm/lib hsm.so \npriority: 1\n", "user", "hsm.module")
	write("module: /not/this.so\n", "system", "HSM.module")
	write("module: relative.so\n", "system", "rel.module")
	write("priority: 1\n", "system", "none.module")
	relative := write("", "lib", "relative.so")
	card := write("", "lib", "libcard.so")
	plain := write("", "lib", "opensc-pkcs11.so")
	dirs := moduleDirs{configs: []string{filepath.Join(root, "absent"), filepath.Join(root, "user"),
		filepath.Join(root, "system")}, libraries: []string{filepath.Join(root, "lib")}}
	for name, want := range map[string]string{
		"hsm": "/opt/hsm/lib hsm.so", "Hsm": "/opt/hsm/lib hsm.so", "rel": relative, "card": card,
		"opensc-pkcs11": plain, "none": "", "libcard.so": "",
	} {
		testkit.Equal(t, dirs.find(name), want, "the module %s", name)
	}
	u := pkcs11URI{}
	testkit.Equal(t, testkit.Must(u.module(dirs))(t), "p11-kit-proxy.so", "without a name")
}
