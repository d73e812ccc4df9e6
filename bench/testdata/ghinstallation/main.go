// Command ghinstallation prints a token of the App, installation and key it is given.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"

	"github.com/bradleyfalzon/ghinstallation/v2"
)

func main() {
	app, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	installation, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	transport, err := ghinstallation.NewKeyFromFile(http.DefaultTransport, app, installation, os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	token, err := transport.Token(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}
