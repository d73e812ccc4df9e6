package configedit_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/configedit"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func fileWith(t *testing.T, text string) (*configedit.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
	file, err := configedit.Open(map[string]string{"config": path}, func(string) (string, bool) { return "", false })
	testkit.OK(t, err)
	return file, path
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	text := testkit.Must(os.ReadFile(path))(t)
	return string(text)
}

func TestSetAndUnsetLeaveTheRestAsItIsWritten(t *testing.T) {
	const before = "# ours\napps:\n  a:   # the first\n    app: 1\n"
	file, path := fileWith(t, before)
	of, changed, err := file.Set("a.key", []string{"new.pem", "old.pem"})
	if err != nil || of != "key" || !changed {
		t.Errorf("set: %q, %t, %v", of, changed, err)
	}
	testkit.Equal(t, textOf(t, path), before+"    key: [new.pem, old.pem]\n")
	if changed, err := file.Unset("a.key"); err != nil || !changed {
		t.Errorf("unset: %t, %v", changed, err)
	}
	testkit.Equal(t, textOf(t, path), before)
}

func TestDoubtsOfAKeyThatIsNotThere(t *testing.T) {
	file, path := fileWith(t, "apps:\n  a:\n    app: 1\n")
	lookup := func(name string) (string, bool) { return map[string]string{"GHAPP_KEY": "k.pem"}[name], true }
	testkit.Diff(t, file.Doubts("key", []string{"gone.pem"}, lookup, "/home/x"), []string{
		"GHAPP_KEY is set, and goes before the config file",
		filepath.Join(filepath.Dir(path), "gone.pem") + " is not there; " +
			"a path in the config file is taken from the directory of that file",
	})
}
