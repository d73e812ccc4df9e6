package signer

import (
	"context"
	"errors"

	"github.com/danieljoos/wincred"
)

// fromKeyring asks the Credential Manager for a generic credential with the target
// SERVICE:NAME.
func (Options) fromKeyring(_ context.Context, service, account string) (string, error) {
	found, err := wincred.GetGenericCredential(service + ":" + account)
	if errors.Is(err, wincred.ErrElementNotFound) {
		return "", &KeyError{Problem: ErrNoKey, cure: "store it as a generic credential with the target " + service + ":" + account}
	}
	if err != nil {
		return "", err
	}
	return string(found.CredentialBlob), nil
}
