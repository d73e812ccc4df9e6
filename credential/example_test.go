package credential_test

import (
	"log"
	"os"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/secret"
)

// A credential helper reads git's question from standard input, and answers on standard
// output.
func ExampleAnswer() {
	question := "protocol=https\nhost=github.com\npath=acme/site.git\n\n"
	asked, err := credential.Parse(strings.NewReader(question))
	if err != nil {
		log.Fatal(err)
	}
	answer := credential.Answer(asked, "x-access-token", secret.New("ghs_x"), time.Time{})
	if err := answer.Encode(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// username=x-access-token
	// password=ghs_x
}
