package keyuri

import (
	"strings"
	"testing"
	"unicode"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// testPIN is looked for in what is shown.
const testPIN = "canary-4321"

func TestScheme(t *testing.T) {
	for text, want := range map[string]string{
		"env:KEY": "env", "SSH-AGENT:x": "ssh-agent", "awskms:///alias/x": "awskms", "pkcs11:object=a": "pkcs11",
		"app.pem": "", "/a:b": "", "./a:b": "", `C:\app.pem`: "", "c:app.pem": "", "1a:b": "", "": "", ":": "", "a b:c": "",
	} {
		testkit.Equal(t, Scheme(text), want, "%q has the scheme", text)
	}
}

func TestFilePath(t *testing.T) {
	for text, want := range map[string]string{
		"app.pem": "app.pem", "file:app.pem": "app.pem", "file:/etc/a%20b.pem": "/etc/a b.pem",
		"file:///etc/app.pem":      "/etc/app.pem",
		"file://localhost/app.pem": "/app.pem", "FILE:app.pem": "app.pem", "file:///C:/app.pem": "C:/app.pem",
		"file:env:KEY":          "./env:KEY", // not a key URI again
		"file://server/app.pem": "", "file:%zz": "", "env:KEY": "",
	} {
		testkit.Equal(t, FilePath(text), want, "%q has the path", text)
	}
}

func TestSecretsOfAURIAreNotShown(t *testing.T) {
	for uri, want := range map[string]string{
		"pkcs11:token=Card;object=app?pin-value=" + testPIN +
			"&module-name=x": "pkcs11:token=Card;object=app?pin-value=[redacted]&module-name=x",
		"pkcs11:object=app?PIN%2Dvalue=" +
			testPIN: "pkcs11:object=app?PIN%2Dvalue=[redacted]",
		"pkcs11:object=app?pin-source=file:/run/pin": "pkcs11:object=app?pin-source=file:/run/pin",
		"yubikey:slot-id=9a;pin-value=" + testPIN + ";management-key=ab" + testPIN +
			"?x": "yubikey:slot-id=9a;pin-value=[redacted];management-key=[redacted]?x",
		"hashivault://key?token=" +
			testPIN: "hashivault://key?token=[redacted]",
		"hashivault://me:" + testPIN +
			"@host:8200/key": "hashivault://me:[redacted]@host:8200/key",
		"azurekms:name=a;vault=b?client_secret=" +
			testPIN: "azurekms:name=a;vault=b?client_secret=[redacted]",
		"awskms:///alias/app":        "awskms:///alias/app",
		"pkcs11:object=a?pin-value=": "pkcs11:object=a?pin-value=",
		"/etc/a?pin-value=b":         "/etc/a?pin-value=b", // a path
	} {
		testkit.Equal(t, Redacted(uri), want, "%s is shown as", uri)
		testkit.Equal(t, HasSecret(uri), strings.Contains(uri, "canary"), "%s has a secret", uri)
	}
}

func FuzzRedacted(f *testing.F) {
	f.Add("pkcs11:object=a?pin-value=", "1234", "&x=y")
	f.Add("yubikey:slot-id=9a;pin-value=", "%31", ";x")
	f.Add("hashivault://a@b?token=", "x", "")
	f.Add("tpmkms:name=a;password=", "\x00", "?b")
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		secret = "<" + strings.NewReplacer("?", "", ";", "", "&", "").Replace(secret) + ">"
		if strings.Contains(before, secret) || strings.Contains(after, secret) {
			t.Skip()
		}
		uri := before + secret + after
		text, secrets := SplitSecrets(uri)
		if strings.HasSuffix(before, ";pin-value=") && Scheme(before) != "" && Scheme(before) != "file" &&
			strings.Contains(text, secret) {
			t.Errorf("%q is shown as %q", uri, text)
		}
		if len(secrets) == 0 && text != uri {
			t.Errorf("%q became %q, and has no secret", uri, text)
		}
		if line := Shown(uri); strings.ContainsFunc(line, unicode.IsControl) || len(line) > mostShown+3 {
			t.Errorf("%q is shown as %q", uri, line)
		}
	})
}
