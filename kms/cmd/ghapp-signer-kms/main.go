// Command ghapp-signer-kms signs with keys that key services and devices hold. It
// speaks ghapp's exec protocol on standard input and output: docs/key-services.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ghapp-dev/ghapp/internal/process"
	"github.com/ghapp-dev/ghapp/kms"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

func main() {
	process.NoCore()
	// Google's library logs its requests where this is set, credentials too.
	_ = os.Unsetenv("GOOGLE_SDK_GO_LOGGING_LEVEL")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := execsigner.Answer(ctx, os.Stdin, kms.Stdout(), kms.Holder{}); err != nil {
		fmt.Fprintln(os.Stderr, "ghapp-signer-kms:", err)
		os.Exit(1)
	}
}
