package secret_test

import (
	"encoding/json"
	"fmt"

	"github.com/ghapp-dev/ghapp/secret"
)

// However it is printed, the text stays where it is.
func ExampleText() {
	token := secret.New("ghs_x")
	text, err := json.Marshal(map[string]any{"token": token})
	fmt.Println(token, string(text), err)
	fmt.Println(len(token.Reveal()))
	// Output:
	// [redacted] {"token":"[redacted]"} <nil>
	// 5
}
