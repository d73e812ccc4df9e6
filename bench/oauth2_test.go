package bench

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"golang.org/x/oauth2"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/signer"
)

// oauth2Source hands ghapp's tokens to whatever takes an [oauth2.TokenSource]. That
// interface knows no context, so one is kept here: it bounds every call.
type oauth2Source struct {
	ctx    context.Context
	source ghapp.TokenSource
}

func (s oauth2Source) Token() (*oauth2.Token, error) {
	t, err := s.source.Token(s.ctx)
	if err != nil {
		return nil, err
	}
	// ExpiresAt is on GitHub's clock, oauth2 goes by this machine's.
	return &oauth2.Token{AccessToken: t.Secret.Reveal(), Expiry: time.Now().Add(t.Life())}, nil
}

// An [oauth2.Transport] is given the source itself. [oauth2.NewClient] would put a
// ReuseTokenSource around it, which is a second cache and a lock, and would go on
// handing out a token that has been revoked.
//
// oauth2.Transport sends the token to every host it is used for, redirects to other
// hosts included. Where the client is yours to choose, take [ghapp.Transport].
func Example_oauth2() {
	ctx := context.Background()

	// A GitHub to try it on: leave this out, and Host below, for the real one.
	gh, err := githubtest.New(githubtest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer gh.Close()
	server := httptest.NewServer(gh)
	defer server.Close()
	registered := gh.AddApp(githubtest.AppOptions{})
	private, err := registered.RotateKey()
	if err != nil {
		log.Fatal(err)
	}
	registered.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	keyFile := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})

	key, err := signer.Parse(keyFile)
	if err != nil {
		log.Fatal(err)
	}
	app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: server.URL}, Issuer: registered.ClientID, Signer: key})
	if err != nil {
		log.Fatal(err)
	}
	source := app.TokenSource(ghapp.TokenRequest{Repositories: []string{"acme/site"}})
	client := &http.Client{Transport: &oauth2.Transport{Source: oauth2Source{ctx, source}}}

	response, err := client.Get(server.URL + "/api/v3/installation/repositories")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	var list struct {
		Repositories []struct {
			FullName string `json:"full_name"`
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		log.Fatal(err)
	}
	for _, repository := range list.Repositories {
		fmt.Println(repository.FullName)
	}
	// Output: acme/site
}
