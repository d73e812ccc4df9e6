package servercli

// Modules that the rooms to come need, so that go.mod has them from the start.
import (
	_ "github.com/coreos/go-oidc/v3/oidc"
)
