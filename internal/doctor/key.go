package doctor

import (
	"context"
	"os"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/signer"
)

// keyLinks are the file of the key and the key in it.
func (a *appChain) keyLinks() []link {
	return []link{
		{name: "key file", check: a.checkKeyFile},
		{name: "key", needs: []string{"key file"}, check: a.checkKey},
	}
}

func (a *appChain) checkKeyFile(ctx context.Context) Finding {
	path := signer.FilePath(a.settings.Key.Text)
	switch {
	case !a.settings.PrivateKey.IsZero():
		return ok("none: %s holds the key", a.settings.PrivateKeySource)
	case path == "":
		return ok("none: the key is %s (%s)", a.settings.Key.Text, a.settings.Key.Source)
	}
	exposure, err := signer.Exposed(path)
	if err != nil {
		return broken(err, "%s (%s)", path, a.settings.Key.Source)
	}
	if exposure != nil {
		return warn(&diag.TroubleError{Trouble: diag.KeyOpen, Text: exposure.String(), Cure: exposure.Cure()}, "%s (%s)", path, a.settings.Key.Source)
	}
	if unignored, err := a.x.git.Unignored(ctx, path); err == nil && unignored {
		return warn(&diag.TroubleError{Trouble: diag.KeyUnignored, Subject: path, Text: "it lies in a git work tree that does not ignore it"}, "%s (%s)", path, a.settings.Key.Source)
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
