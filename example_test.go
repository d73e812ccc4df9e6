package ghapp_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/githubtest"
)

// standIn starts a GitHub on this machine, with an App that is installed on acme
// and may read the repository acme/site.
func standIn(key *rsa.PrivateKey) (server *httptest.Server, clientID string) {
	gh, err := githubtest.New(githubtest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	app := gh.AddApp(githubtest.AppOptions{})
	app.AddKey(&key.PublicKey)
	app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	return httptest.NewServer(gh), app.ClientID
}

// The way from a key to a token, here on a stand-in for GitHub; on GitHub itself,
// Host stays empty and the key comes from a file.
func Example() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	server, clientID := standIn(key)
	defer server.Close()

	app, err := ghapp.New(ghapp.Config{
		Client: ghapp.Client{Host: server.URL},
		Issuer: clientID,
		Signer: ghapp.FromCryptoSigner(key),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	token, err := app.Token(ctx, ghapp.TokenRequest{Repositories: []string{"acme/site"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := app.Revoke(ctx, token); err != nil {
			log.Print(err)
		}
	}()

	fmt.Println("for ", token.Repositories)
	fmt.Println("may ", token.Permissions)
	fmt.Println("live", token.Life().Round(time.Minute))
	fmt.Println("is  ", token.Secret) // only token.Secret.Reveal() tells
	// Output:
	// for  [acme/site]
	// may  contents:read,metadata:read
	// live 1h0m0s
	// is   [redacted]
}

// An http.Client whose requests to the API carry a token, renewed as needed;
// requests to any other host carry none.
func ExampleTransport() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	server, clientID := standIn(key)
	defer server.Close()
	app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: server.URL}, Issuer: clientID, Signer: ghapp.FromCryptoSigner(key)})
	if err != nil {
		log.Fatal(err)
	}

	source := app.TokenSource(ghapp.TokenRequest{Repositories: []string{"acme/site"}})
	client := &http.Client{Transport: &ghapp.Transport{Source: source}}
	answer, err := client.Get(server.URL + "/api/v3/repos/acme/site")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	fmt.Println(answer.Status)
	// Output: 200 OK
}

// What GitHub refuses has a Kind.
func ExampleKind() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	server, clientID := standIn(key)
	defer server.Close()
	app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: server.URL}, Issuer: clientID, Signer: ghapp.FromCryptoSigner(key)})
	if err != nil {
		log.Fatal(err)
	}

	_, err = app.Token(context.Background(), ghapp.TokenRequest{Repositories: []string{"globex/site"}})
	if errors.Is(err, ghapp.ErrNotInstalled) {
		fmt.Println("the App is not installed on globex")
	}
	// Output: the App is not installed on globex
}

func ExampleParseRepository() {
	for _, text := range []string{"acme/site", "https://github.com/acme/site.git", "git@github.com:acme/site.git"} {
		repository, err := ghapp.ParseRepository(text)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s, host %q\n", repository, repository.Host)
	}
	// Output:
	// acme/site, host ""
	// acme/site, host "github.com"
	// acme/site, host "github.com"
}
