//go:build yubikey && cgo

package kms

import "testing"

func TestCloneWithAKeyInAYubiKey(t *testing.T) {
	t.Parallel()
	c := newCards(t)
	card := c.plug(yubiReader, &yubiKeyCard{serial: 1})
	m := machine(t, c.environ)
	uri := "yubikey:slot-id=9a?pin-source=file:" + writeFile(t, card.pin+"\n", t.TempDir(), "pin")
	path := writeFile(t, string(m.PEM()), t.TempDir(), "app.pem")
	if r := m.Ghapp("keys", "import", path, "--to", uri); r.Code != 0 {
		t.Fatalf("exit code %d\n%s", r.Code, r.Stderr)
	}
	m.Clone(uri, false)
	bad := machine(t, c.environ)
	for _, c := range []badClone{
		{"yubikey:slot-id=9a?pin-value=654321", configuration, "the PIN is wrong; it was tried once; 2 tries are left"},
		{"yubikey:slot-id=9a", configuration, "the PIN is missing"},
		{"yubikey:slot-id=9c", configuration, "there is no such key"},
	} {
		c.wantExit(t, bad)
	}
	delete(bad.Environ, "KMS_TEST_CARDS")
	badClone{uri, unreachable, "is pcscd running?"}.wantExit(t, bad)
}
