package doctor

import (
	"context"
	"os"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/signer"
)

// keyLinks are the file of the key and the key in it.
func (a *appChain) keyLinks() []link {
	return []link{
		{name: "key file", check: a.checkKeyFile},
		{name: "key", needs: []string{"key file"}, check: a.checkKey},
		{name: "key before", needs: []string{"settings"}, check: a.checkKeyBefore},
	}
}

func (a *appChain) checkKeyFile(ctx context.Context) Finding {
	path := keyuri.FilePath(a.settings.Key.Text)
	switch {
	case !a.settings.PrivateKey.IsZero():
		return ok("none: %s holds the key", a.settings.PrivateKeySource)
	case path == "":
		return ok("none: the key is %s (%s)", a.settings.Key.Text, a.settings.Key.Source)
	}
	exposure, err := keyfile.Exposed(path)
	if err != nil {
		if _, opened := signer.File(path); opened != nil {
			err = opened // which knows what to do about it
		}
		return broken(err, "%s (%s)", path, a.settings.Key.Source)
	}
	if exposure != nil {
		return warn(&diag.TroubleError{Trouble: diag.KeyOpen, Text: exposure.String(), Hint: exposure.Hint()},
			"%s (%s)", path, a.settings.Key.Source)
	}
	if unignored, err := a.x.git.Unignored(ctx, path); err == nil && unignored {
		return warn(&diag.TroubleError{Trouble: diag.KeyUnignored, Subject: path,
			Text: "it lies in a git work tree that does not ignore it"}, "%s (%s)", path, a.settings.Key.Source)
	}
	info, err := os.Stat(path)
	if err != nil {
		return ok("%s (%s)", path, a.settings.Key.Source)
	}
	return ok("%s, mode %04o (%s)", path, info.Mode().Perm(), a.settings.Key.Source)
}

func (a *appChain) checkKey(ctx context.Context) Finding {
	key, err := a.x.Key(ctx, a.settings)
	if err != nil {
		return broken(err, "there is no key that can sign")
	}
	a.key, a.signs = key, key
	return ok("%s", key.Fingerprint())
}

// checkKeyBefore opens the key that serves while GitHub refuses the newest one. Nothing
// needs it as long as GitHub does not.
func (a *appChain) checkKeyBefore(ctx context.Context) Finding {
	open := a.x.KeyBefore(a.settings)
	if open == nil {
		return Finding{}
	}
	before, err := open(ctx)
	if err != nil {
		return warn(err, "it would not serve if GitHub refused the newest one")
	}
	a.before = before
	fingerprint := ""
	if held, ok := before.(signer.Signer); ok {
		fingerprint = held.Fingerprint()
	}
	if a.key != nil && a.key.Fingerprint() == fingerprint {
		return note("%s is the newest one as well, and one of the two is not needed", fingerprint)
	}
	if path := keyuri.FilePath(a.settings.PreviousKey.Text); path != "" {
		if exposure, err := keyfile.Exposed(path); err == nil && exposure != nil {
			return warn(&diag.TroubleError{Trouble: diag.KeyOpen, Text: exposure.String(), Hint: exposure.Hint()}, "%s (%s)",
				path, a.settings.PreviousKey.Source)
		}
	}
	return note("%s serves while GitHub refuses the newest one; "+
		"`ghapp keys rotate` tells how far the rotation is", fingerprint)
}
