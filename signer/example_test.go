package signer_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/signer"
)

// The key as GitHub hands it out, a PEM file.
func ExampleParse() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})

	parsed, err := signer.Parse(file)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(parsed.Fingerprint()), parsed.Public().(*rsa.PublicKey).Equal(&key.PublicKey))
	// Output: 51 true
}

// A key service whose adapter is a [crypto.Signer], such as those of the clouds' SDKs: the
// private key never comes here. An RSA key stands in for it.
func Example_keyService() {
	var service crypto.Signer
	service, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	app, err := ghapp.New(ghapp.Config{Issuer: "Iv23liABCDEFGHIJKLMN", Signer: signer.FromCryptoSigner(service)})
	if err != nil {
		log.Fatal(err)
	}
	jwt, err := app.JWT(context.Background())
	fmt.Println(jwt.Secret, err)
	// Output: [redacted] <nil>
}
