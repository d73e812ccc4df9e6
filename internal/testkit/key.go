package testkit

import (
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"
)

var keys sync.Map // int, which one, to func() (*rsa.PrivateKey, error)

// Key returns an RSA key of 2048 bits, as GitHub makes them. It is made once in
// a process, since that takes a moment: every test gets the same one.
func Key(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	return NthKey(t, 0)
}

// NthKey is [Key] for tests that need several: the same key for the same n.
func NthKey(t testing.TB, n int) *rsa.PrivateKey {
	t.Helper()
	made, _ := keys.LoadOrStore(n, sync.OnceValues(func() (*rsa.PrivateKey, error) {
		return rsa.GenerateKey(rand.Reader, 2048)
	}))
	return Must(made.(func() (*rsa.PrivateKey, error))())(t)
}
