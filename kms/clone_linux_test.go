package kms_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/kms/internal/clonetest"
)

func init() { cleanUp, stay = clonetest.Clean, clonetest.Stay }

// services are the services that the tests play, each with its good key.
func services() map[string]func(*world) (uri string) {
	return map[string]func(*world) string{
		"awskms": func(w *world) string {
			newAWS(w)
			return "awskms:///alias/app"
		},
		"azurekms": func(w *world) string {
			newAzure(w)
			return azureURI
		},
		"gcpkms": func(w *world) string {
			newGCP(w)
			return gcpURI
		},
		"hashivault": func(w *world) string {
			newVault(w).put("app", appKey(), false)
			return "hashivault://app"
		},
	}
}

// machine is a machine of a world's, for an App with the services' key.
func (w *world) machine() *clonetest.Machine {
	w.t.Helper()
	m := clonetest.New(w.t, appKey())
	for name, value := range w.environ {
		if _, there := m.Environ[name]; !there {
			m.Environ[name] = value
		}
	}
	return m
}

func TestCloneWithAKeyInAService(t *testing.T) {
	t.Parallel()
	for name, start := range services() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			uri := start(w)
			m := w.machine()
			m.Clone(uri, false)
			// The token serves on while the service is down.
			w.mu.Lock()
			clear(w.hosts)
			w.mu.Unlock()
			if r := m.Ghapp("token", "acme/site", "--key", uri); r.Code != 0 {
				t.Errorf("exit code %d\n%s", r.Code, r.Stderr)
			}
		})
	}
}

// A key that was downloaded ends up where it only signs, and is the App's there.
func TestImportOfADownloadedKey(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*world) (uri string){
		"awskms": func(w *world) string {
			newAWS(w).keys[awsKeyID] = &awsHeld{spec: "RSA_2048", usage: "SIGN_VERIFY",
				origin: "EXTERNAL", state: "PendingImport"}
			return "awskms:///alias/app"
		},
		"azurekms": func(w *world) string {
			clear(newAzure(w).keys)
			return azureURI
		},
		"gcpkms": func(w *world) string {
			clear(newGCP(w).versions)
			return gcpURI
		},
		"hashivault": func(w *world) string {
			newVault(w)
			return "hashivault://app"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			uri := start(w)
			m := w.machine()
			path := w.write("app.pem", string(m.PEM()))
			for _, args := range [][]string{{"keys", "import", path, "--to", uri}, {"keys", "check", uri},
				{"token", "acme/site", "--key", uri}} {
				if r := m.Ghapp(args...); r.Code != 0 {
					t.Fatalf("%q: exit code %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
				}
			}
		})
	}
}

// What goes wrong at a service ends ghapp with the exit code that says whose turn it is.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	const configuration, unreachable = 3, 5
	cases := []struct {
		name string
		set  func(*world) (uri string)
		code int
		text string
	}{
		{"revoked rights", func(w *world) string {
			newAWS(w).deny["Sign"] = true
			return "awskms:///alias/app"
		}, configuration, "access is denied: AccessDeniedException: User: arn:aws:iam::" + awsAccount +
			":user/ci is not authorized to perform: kms:Sign"},
		{"wrong secret", func(w *world) string {
			newAWS(w)
			w.environ["AWS_SECRET_ACCESS_KEY"] = w.secret("another-secret-canary")
			return "awskms:///alias/app"
		}, configuration, "access is denied"},
		{"wrong region", func(w *world) string {
			newAWS(w)
			return "awskms:key-id=" + awsKeyID + ";region=eu-nowhere-1"
		}, unreachable, "it cannot be reached: "},
		{"missing key", func(w *world) string {
			newGCP(w)
			return "gcpkms://" + gcpRing + "/cryptoKeys/none/cryptoKeyVersions/1"
		}, configuration, "there is no such key: Cloud KMS: CryptoKeyVersion"},
		{"wrong key type", func(w *world) string {
			newAzure(w).keys["app"][0] = &azureHeld{"EC", []string{"sign"}, nil}
			return azureURI
		}, configuration, "EC"},
		{"sealed", func(w *world) string {
			newVault(w).sealed = true
			return "hashivault://app"
		}, unreachable, "it cannot be reached: Vault: Vault is sealed"},
		{"no token", func(w *world) string {
			newVault(w)
			delete(w.environ, "VAULT_TOKEN")
			return "hashivault://app"
		}, configuration, "vault login"},
		{"misspelt", func(w *world) string {
			newVault(w)
			return "hashivault:nmae=app"
		}, configuration, "not a key URI that can be read: it has an attribute \"nmae\""},
		{"slow", func(w *world) string {
			newVault(w)
			w.host(vaultHost, slow())
			w.environ["GHAPP_KEY_TIMEOUT"] = "2s"
			return "hashivault://app"
		}, unreachable, "no answer in time"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			uri := c.set(w)
			before := time.Now()
			r := w.machine().Ghapp("clone", "acme/site", "--key", uri)
			if r.Code != c.code || !strings.Contains(r.Stderr, c.text) || strings.Count(r.Stderr, "ghapp: error:") != 1 {
				t.Errorf("exit code %d after %v; want %d and %q\n%s", r.Code, time.Since(before), c.code, c.text, r.Stderr)
			}
			w.says("ghapp", r.Stdout+r.Stderr)
		})
	}
}
