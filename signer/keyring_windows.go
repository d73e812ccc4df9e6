package signer

import (
	"context"
	"errors"

	"github.com/danieljoos/wincred"
)

// The Credential Manager has a generic credential with the target SERVICE:NAME.

func (i item) target() string { return i.service + ":" + i.account }

func (Options) fromKeyring(_ context.Context, item item) (string, error) {
	found, err := wincred.GetGenericCredential(item.target())
	if errors.Is(err, wincred.ErrElementNotFound) {
		return "", &KeyError{Problem: ErrNoKey, hint: "store it as a generic credential with the target " + item.target()}
	}
	if err != nil {
		return "", err
	}
	return string(found.CredentialBlob), nil
}

func (Options) intoKeyring(_ context.Context, item item, text string) error {
	credential := wincred.NewGenericCredential(item.target())
	credential.UserName, credential.CredentialBlob = item.account, []byte(text)
	return credential.Write()
}

func (Options) outOfKeyring(_ context.Context, item item) error {
	return (&wincred.GenericCredential{Credential: wincred.Credential{TargetName: item.target()}}).Delete()
}

func (i item) takenHint() string {
	return "take another name, or take the generic credential " + i.target() + " away first"
}
