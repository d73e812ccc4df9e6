package gitcmd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The test program plays other programs of a test, by the variable's value.
const role = "GITCMD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		code := m.Run()
		_ = os.RemoveAll(shared())
		os.Exit(code)
	case "clone":
		r := &Runner{Environ: os.Environ(), Stderr: os.Stderr}
		origin, helper := os.Args[1], os.Args[2]
		err := r.Clone(context.Background(), CloneOptions{Scope: Scope{Origin: origin, Helper: helper},
			URL: origin + "/acme/site.git"})
		fmt.Println(err)
	case "destination":
		o := CloneOptions{Scope: Scope{Origin: "https://github.com", Helper: "x"},
			URL: "https://github.com/acme/site", Dir: os.Args[1]}
		_, err := (&Runner{}).Destination(o)
		fmt.Println(strings.TrimSpace(fmt.Sprint(err)))
	}
}
