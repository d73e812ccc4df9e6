// Command importer prints a token of the App and key it is given.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/signer"
)

func main() {
	key, err := signer.File(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	app, err := ghapp.New(ghapp.Config{Issuer: os.Args[1], Signer: key})
	if err != nil {
		log.Fatal(err)
	}
	token, err := app.Token(context.Background(), ghapp.TokenRequest{Repositories: os.Args[3:]})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Secret.Reveal())
}
