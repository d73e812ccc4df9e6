package configured_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/configured"
	"github.com/ghapp-dev/ghapp/githubtest"
)

// A service that is configured as the command is: here by variables alone, on a stand-in
// for GitHub. On GitHub itself GHAPP_HOST is not set, and Environ stays nil.
func ExampleOpen() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	gh, err := githubtest.New(githubtest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	registration := gh.AddApp(githubtest.AppOptions{})
	registration.AddKey(&key.PublicKey)
	registration.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})
	server := httptest.NewServer(gh)
	defer server.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "app.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	app, err := configured.Open(ctx, configured.Options{
		Repository: server.URL + "/acme/site",
		Environ: []string{"HOME=" + dir, "GHAPP_HOST=" + server.URL,
			"GHAPP_APP=" + registration.ClientID, "GHAPP_KEY=" + file},
	})
	if err != nil {
		log.Fatal(err)
	}
	token, err := app.Token(ctx, ghapp.TokenRequest{Repositories: []string{"acme/site"}, Installation: app.Installation})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Repositories, token.Permissions)
	// Output: [acme/site] contents:read,metadata:read
}
