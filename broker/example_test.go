package broker_test

import (
	"fmt"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/broker/identity"
)

// An App whose key a broker has gives tokens as one with a key does, and shares them.
func Example() {
	who, err := identity.Open("env:MY_ID_TOKEN", identity.Options{Environ: []string{"MY_ID_TOKEN=eyJ…"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := broker.New(broker.Config{URL: "https://broker.example.com", Identity: who})
	if err != nil {
		fmt.Println(err)
		return
	}
	app, err := ghapp.New(ghapp.Config{Broker: client})
	fmt.Println(app, err)
	// Output: App of the broker https://broker.example.com (as env:MY_ID_TOKEN) on github.com <nil>
}
