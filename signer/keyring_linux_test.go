package signer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// secretTool puts a secret-tool of this text on PATH, and nothing else but the shell's
// own programs.
func secretTool(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	if text != "" {
		testkit.OK(t, os.WriteFile(filepath.Join(dir, "secret-tool"), []byte("#!/bin/sh\n"+text), 0o700))
		dir += ":/usr/bin:/bin"
	}
	t.Setenv("PATH", dir)
}

func TestKeyringAsksForServiceAndName(t *testing.T) {
	path := write(t, "app.pem", pemPKCS1(rsaKey()), 0o600)
	secretTool(t, `test "$*" = "lookup service $WANT username deploy" && exec cat `+path)
	for uri, service := range map[string]string{"keyring:deploy": "ghapp", "keyring:my%20service/deploy": "my service"} {
		t.Setenv("WANT", service)
		key := testkit.Must(Open(t.Context(), uri, Options{}))(t)
		proves(t, key, rsaKey())
	}
}

func TestKeyringMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		tool, uri string
		want      Problem
		says      string
		hint      string
	}{
		"no tool": {"", "keyring:app", errNoProgram, "secret-tool is not on PATH",
			"apt-get install libsecret-tools"},
		"no item": {"exit 1", "keyring:my%20app", ErrNoKey, "",
			"secret-tool store --label='GitHub App' service ghapp username 'my app' <app.pem"},
		"nothing in it": {"exit 0", "keyring:app", ErrNoKey, "", "secret-tool store"},
		"no bus": {"echo 'secret-tool: Cannot autolaunch D-Bus without X11 $DISPLAY' >&2; exit 1",
			"keyring:app", ErrUnavailable, "secret-tool: Cannot autolaunch D-Bus without X11 $DISPLAY",
			"DBUS_SESSION_BUS_ADDRESS"},
		"locked": {"exec sleep 3600", "keyring:app", ErrTimeout, "waited for 300ms", "unlock the keyring"},
		"silence of a locked one": {`test "$1" = search && echo "[/1]" && echo "attribute.username = canary" >&2`,
			"keyring:app", ErrUnavailable, "it is locked", "unlock the keyring"},
		"not a key":      {"echo canary", "keyring:app", errUnknown, "", "is a .pem file"},
		"too much":       {"exec cat /dev/zero", "keyring:app", errTooLarge, "", "check what is named"},
		"no name":        {"exit 0", "keyring:ghapp/", errURI, "it is keyring:NAME or keyring:SERVICE/NAME", ""},
		"an option":      {"exit 0", "keyring:--all", errURI, "it is keyring:NAME or keyring:SERVICE/NAME", ""},
		"a broken URI":   {"exit 0", "keyring:%", errURI, "a % in it does not begin an escape", ""},
		"nothing at all": {"exit 0", "keyring:", errURI, "it names nothing", ""},
	} {
		t.Run(name, func(t *testing.T) {
			secretTool(t, test.tool)
			o := Options{Timeout: 20 * time.Second}
			if test.want == ErrTimeout {
				o.Timeout = 300 * time.Millisecond
			}
			key, err := Open(t.Context(), test.uri, o)
			e, ok := errors.AsType[*KeyError](err)
			if key != nil || !ok || e.Problem != test.want {
				t.Fatalf("%v, %v", key, err)
			}
			if want := test.says; e.Err == nil && want != "" || e.Err != nil && e.Err.Error() != want {
				t.Errorf("it says %v, want %s", e.Err, want)
			}
			testkit.Contains(t, e.Hint(), test.hint)
			testkit.Lacks(t, e.Hint()+err.Error(), "canary")
			testkit.Equal(t, e.Source, test.uri, "source")
		})
	}
}
