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
	"github.com/ghapp-dev/ghapp/signer"
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
		Signer: signer.FromCryptoSigner(key),
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
	app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: server.URL}, Issuer: clientID,
		Signer: signer.FromCryptoSigner(key)})
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
	app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: server.URL}, Issuer: clientID,
		Signer: signer.FromCryptoSigner(key)})
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

// Libraries of git take a name and a password: go-git's http.BasicAuth, for example. The
// token is asked for anew before each operation, which costs nothing while it is good.
func ExampleApp_Token_basicAuth() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	server, clientID := standIn(key)
	defer server.Close()
	app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: server.URL}, Issuer: clientID,
		Signer: signer.FromCryptoSigner(key)})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	token, err := app.Token(ctx, ghapp.TokenRequest{Repositories: []string{"acme/site"}})
	if err != nil {
		log.Fatal(err)
	}

	// With go-git: &githttp.BasicAuth{Username: "x-access-token", Password: token.Secret.Reveal()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		server.URL+"/acme/site.git/info/refs?service=git-upload-pack", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.SetBasicAuth("x-access-token", token.Secret.Reveal())
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	fmt.Println(answer.Header.Get("Content-Type"))
	// Output: application/x-git-upload-pack-advertisement
}

// tokenSource has the shape of golang.org/x/oauth2's, whose Token takes no context and
// returns an *oauth2.Token. Nothing is cached here: the source does that.
type tokenSource struct {
	ctx    context.Context
	source ghapp.TokenSource
}

func (s tokenSource) Token() (accessToken string, expiry time.Time, err error) {
	token, err := s.source.Token(s.ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	return token.Secret.Reveal(), time.Now().Add(token.Life()), nil // by this machine's clock
}

// An adapter for what wants an oauth2.TokenSource. Its transport sends a token to every host
// it is used for, so [ghapp.Transport] is the better one where there is a choice.
func ExampleTokenSource_oauth2() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	server, clientID := standIn(key)
	defer server.Close()
	app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Host: server.URL}, Issuer: clientID,
		Signer: signer.FromCryptoSigner(key)})
	if err != nil {
		log.Fatal(err)
	}
	source := tokenSource{context.Background(), app.TokenSource(ghapp.TokenRequest{Repositories: []string{"acme/site"}})}
	_, expiry, err := source.Token()
	fmt.Println(time.Until(expiry).Round(time.Minute), err)
	// Output: 1h0m0s <nil>
}

// The details of an error are found by their types.
func ExampleError() {
	err := error(&ghapp.Error{
		Kind: ghapp.ErrPermission, Op: "mint an installation access token for acme/site", Status: 422,
		Detail: &ghapp.PermissionError{Wanted: ghapp.Permissions{"contents": "write"},
			Granted: ghapp.Permissions{"contents": "read"}},
	})
	if about, ok := errors.AsType[*ghapp.PermissionError](err); ok {
		fmt.Println("wanted", about.Wanted, "and was granted", about.Granted)
	}
	// Output: wanted contents:write and was granted contents:read
}
