package userdirs

import (
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestConfigFile(t *testing.T) {
	for _, test := range []struct {
		name, goos string
		env        map[string]string
		want       string
	}{
		{"XDG", "linux", map[string]string{"XDG_CONFIG_HOME": "/x", "HOME": "/home/me"}, "/x/ghapp/config.yaml"},
		{"relative XDG is ignored", "linux", map[string]string{"XDG_CONFIG_HOME": "x", "HOME": "/home/me"},
			"/home/me/.config/ghapp/config.yaml"},
		{"home", "linux", map[string]string{"HOME": "/home/me"}, "/home/me/.config/ghapp/config.yaml"},
		{"nothing", "linux", nil, ""},
		{"macOS", "darwin", map[string]string{"HOME": "/Users/me"}, "/Users/me/.config/ghapp/config.yaml"},
		{"macOS with XDG", "darwin", map[string]string{"HOME": "/Users/me", "XDG_CONFIG_HOME": "/x"}, "/x/ghapp/config.yaml"},
		{"Windows", "windows", map[string]string{"HOME": "/cygwin", "USERPROFILE": "/me", "AppData": "/me/roaming"},
			"/me/roaming/ghapp/config.yaml"},
		{"Windows with XDG", "windows", map[string]string{"XDG_CONFIG_HOME": "/x", "AppData": "/me/roaming"},
			"/x/ghapp/config.yaml"},
		{"Windows with a home alone", "windows", map[string]string{"USERPROFILE": "/me"}, ""},
		{"AppData elsewhere", "linux", map[string]string{"AppData": "/me/roaming"}, ""},
		{"Windows with nothing", "windows", map[string]string{"HOME": "/cygwin"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ConfigFile(test.goos, func(name string) (string, bool) { v, ok := test.env[name]; return v, ok })
			testkit.Equal(t, got, filepath.FromSlash(test.want), "want %q", test.want)
		})
	}
}
