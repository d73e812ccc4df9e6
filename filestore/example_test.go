package filestore_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/filestore"
	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/signer"
)

// Two Apps, which might be two processes, share one token. On GitHub itself the Transport
// stays nil.
func ExampleOpen() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	gh, err := githubtest.New(githubtest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer gh.Close()
	registration := gh.AddApp(githubtest.AppOptions{})
	registration.AddKey(&key.PublicKey)
	registration.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	var tokens []*ghapp.Token
	for range 2 {
		store, err := filestore.Open(filepath.Join(dir, "tokens"))
		if err != nil {
			log.Fatal(err)
		}
		app, err := ghapp.New(ghapp.Config{
			Client: ghapp.Client{Transport: gh.RoundTripper()},
			Issuer: registration.ClientID, Signer: signer.FromCryptoSigner(key), Store: store,
		})
		if err != nil {
			log.Fatal(err)
		}
		token, err := app.Token(context.Background(), ghapp.TokenRequest{Repositories: []string{"acme/site"}})
		if err != nil {
			log.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	fmt.Println("the same token:", tokens[0].Secret.Reveal() == tokens[1].Secret.Reveal())
	// Output: the same token: true
}
