// Package bridge tells our own commands of the library's inside what an importer has no use
// for, and which is therefore no part of what packages ghapp and signer export. It holds
// functions that those put there when they are linked, as golang.org/x/oauth2 and
// google.golang.org/grpc do with their internal packages: Go has no other way to let one
// package in and not all. Nothing else may set them.
package bridge

import (
	"context"
	"time"
)

// Entry is where the store of a token's App has the token. From From until Until, by this
// machine's clock, an App that starts anew would hand out what is there, for git to use
// with a repository, without asking GitHub for anything.
type Entry struct {
	Key         string // empty: no store has it
	From, Until time.Time
}

// EntryOf is the entry of a token, a *ghapp.Token, for git to use with a repository,
// owner/name. Another process may have changed it since.
var EntryOf func(token any, repository string) Entry

// RepositoriesOf says of an entry of a store which repositories the token in it is for, by
// their full names, and of which API. There are none where the entry is no token, or where
// that reaches all repositories. Nothing else of the entry is told.
var RepositoriesOf func(entry []byte) (api string, repositories []string)

// CheckKeyring proves that the keyring of the system keeps what it is given, before GitHub makes a
// key that it hands out once. options are a signer.Options, and the error is as that of
// signer.Import.
var CheckKeyring func(ctx context.Context, options any) error
