package configedit_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/configedit"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const oneApp = "apps:\n  a:\n    app: 1\n"

func TestSetRefusesWhatItWouldNotWriteAsItIsMeant(t *testing.T) {
	for _, test := range []struct{ key, value, want string }{
		{"a.key", "pkcs11:token=t;object=o?pin-value=12345678", "has a PIN or a password in it"},
		{"b.key", "k.pem", "there is no App b in "},
		{"sync.site.branch", "main", "write it with `ghapp config edit`"},
		{"a.previous_key", "k.pem", "ghapp config set a.key NEWEST PREVIOUS"},
		{"a.permissions", "all", "want contents:read"},
		{strings.Repeat("x", 40) + ".key", "k.pem", "(a name of 40 characters)"},
	} {
		file, path := fileWith(t, oneApp)
		_, changed, err := file.Set(test.key, []string{test.value})
		said := ""
		if usage, ok := errors.AsType[*fault.UsageError](err); ok {
			said = usage.Error() + usage.Hint
		} else if setting, ok := errors.AsType[*fault.SettingError](err); ok {
			said = setting.Error() + setting.Hint
		}
		if changed || !strings.Contains(said, test.want) || strings.Contains(said, "12345678") {
			t.Errorf("%s: changed %t, said %q (%v), want %q", test.key, changed, said, err, test.want)
		}
		testkit.Equal(t, textOf(t, path), oneApp, test.key)
	}
}

func TestUnsetOfWhatIsNotThereIsAnError(t *testing.T) {
	file, path := fileWith(t, oneApp)
	changed, err := file.Unset("a.key")
	if _, ok := errors.AsType[*fault.SettingError](err); !ok || changed {
		t.Errorf("changed %t, error %v", changed, err)
	}
	testkit.Equal(t, textOf(t, path), oneApp)
}

// What flags and variables say of an App is not in the file, and so neither chooses what is
// written nor makes a file wrong.
func TestFlagsAndVariablesOfAnAppAreNotTheFiles(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	_, err := configedit.Open(map[string]string{"host": "h.example"}, none)
	if _, ok := errors.AsType[*fault.UsageError](err); !ok {
		t.Errorf("a flag: %v", err)
	}
	_, path := fileWith(t, oneApp)
	file, err := configedit.Open(nil, func(name string) (string, bool) {
		value, ok := map[string]string{"GHAPP_CONFIG": path, "GHAPP_APP": "no App", "GHAPP_HOST": "::"}[name]
		return value, ok
	})
	testkit.OK(t, err)
	if _, changed, err := file.Set("a.installation", []string{"11"}); err != nil || !changed {
		t.Errorf("set: %t, %v", changed, err)
	}
	testkit.Equal(t, textOf(t, path), oneApp+"    installation: 11\n")
	// An error is about the file, and not about what the variables are.
	_, err = file.Unset("a.key")
	if _, ok := errors.AsType[*fault.SettingError](err); !ok {
		t.Errorf("unset: %v", err)
	}
}

// Two who edit at once: who comes second has the text, beside a file that is the other's.
func TestEditLeavesWhatSomebodyElseHasWrittenMeanwhile(t *testing.T) {
	file, path := fileWith(t, oneApp)
	const theirs, ours = oneApp + "# theirs\n", oneApp + "# ours\n"
	changed, kept, err := file.Edit(func(copied string) error {
		testkit.OK(t, os.WriteFile(path, []byte(theirs), 0o600))
		return os.WriteFile(copied, []byte(ours), 0o600)
	}, func(*config.Error) (bool, error) { return false, nil })
	if _, ok := errors.AsType[*fault.SettingError](err); !ok || changed || kept == "" {
		t.Fatalf("changed %t, kept %q, error %v", changed, kept, err)
	}
	testkit.Equal(t, textOf(t, path), theirs)
	testkit.Equal(t, textOf(t, kept), ours)
}
