package keystore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// The file of one key is overwritten, and nothing that another App or name leads to.
func TestShredRefusesWhatIsNotOneKeysOwn(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	testkit.OK(t, os.WriteFile(in("key"), []byte("canary"), 0o600))
	testkit.OK(t, os.Link(in("key"), in("hard")))
	testkit.OK(t, os.Symlink("key", in("soft")))
	for name, test := range map[string]struct {
		path   string
		others []keyInUse
		says   string // "": it may go
	}{
		"its own":         {in("key"), []keyInUse{{"other", ""}, {"other", in("none")}}, ""},
		"another's":       {in("key"), []keyInUse{{"other", in("key")}}, "is the key of other too"},
		"by another name": {in("key"), []keyInUse{{"other", in("hard")}}, "is the key of other too"},
		"by a link":       {in("key"), []keyInUse{{"other", in("soft")}}, "is the key of other too"},
		"a link":          {in("soft"), nil, "is no regular file"},
		"a directory":     {dir, nil, "is no regular file"},
		"nothing":         {in("none"), nil, "--shred"},
	} {
		t.Run(name, func(t *testing.T) {
			err := mayShred(test.path, test.others)
			if test.says == "" {
				testkit.OK(t, err)
				return
			}
			testkit.ErrorContains(t, err, test.says)
		})
	}
	testkit.OK(t, os.Remove(in("soft")))
	testkit.OK(t, shredFile(in("key")))
	testkit.ErrorIs(t, testkit.ErrorOf(os.Stat(in("key"))), os.ErrNotExist)
	testkit.Equal(t, string(testkit.Must(os.ReadFile(in("hard")))(t)), "\x00\x00\x00\x00\x00\x00", "its blocks")
}

func TestKeyIsWrittenOverNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.pem")
	testkit.OK(t, os.WriteFile(path, []byte("another"), 0o600))
	testkit.ErrorIs(t, writeKey(path, secret.New("a key")), errTaken)
	testkit.Equal(t, string(testkit.Must(os.ReadFile(path))(t)), "another")
}
