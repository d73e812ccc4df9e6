//go:build cgo

package kms

import "testing"

func TestCloneWithAKeyInAPKCS11Token(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	m := machine(t, h.environ)
	uri := h.uri("token=Card;object=app")
	path := writeFile(t, string(m.PEM()), t.TempDir(), "app.pem")
	if r := m.Ghapp("keys", "import", path, "--to", uri); r.Code != 0 {
		t.Fatalf("exit code %d\n%s", r.Code, r.Stderr)
	}
	m.Clone(uri, true) // SoftHSM is a library, and has the key where it is loaded

	h.misbehaving()
	for part, c := range map[string]badClone{
		"": {"pkcs11:token=Card;object=app?module-path=" + h.module + "&pin-value=" + testPIN + "0", configuration,
			"the PIN is wrong; it was tried once"},
		"no PIN":    {"pkcs11:token=Card;object=app?module-path=" + h.module, configuration, "the PIN is missing"},
		"no object": {h.uri("token=Card;object=none"), configuration, "there is no such key"},
		"no token":  {h.uri("token=Cart;object=app"), configuration, "no token is token=Cart"},
		"no module": {"pkcs11:object=app?module-path=/absent.so", configuration, "there is no PKCS#11 module"},
		"hang":      {h.uri("token=Card;object=app"), unreachable, noAnswer},
		"crash":     {h.uri("token=Card;object=app"), configuration, "module.so crashed"},
		"exit":      {h.uri("token=Card;object=app"), configuration, "the program said nothing"},
		"removed":   {h.uri("token=Card;object=app"), unreachable, "CKR_DEVICE_REMOVED"},
	} {
		h := h.misbehave(t, part)
		c.wantExit(t, machine(t, h.environ))
		if tries := h.tries(); part == "" && tries != "login 1" {
			t.Errorf("with a wrong PIN: %q", tries)
		}
	}
}
