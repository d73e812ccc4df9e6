// Command asker asks an origin for the branch main of acme/site, as many times as it is
// told. The token is on its standard input.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/secret"
)

func main() {
	times, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	secret, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	token := &ghapp.Token{Secret: secret.New(string(secret)), MintedAt: time.Now().Add(-time.Minute),
		ExpiresAt: time.Now().Add(time.Hour), API: os.Args[1] + "/api/v3"}
	asker := &refs.Asker{
		Origin: os.Args[1],
		Token:  func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return token, nil },
	}
	var found refs.Found
	for range times {
		found, err = asker.Ask(context.Background(), ghapp.RepositoryName{Owner: "acme", Name: "site"},
			refs.Revision{Branch: "main"})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(found.Commit)
}
