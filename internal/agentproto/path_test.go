//go:build unix

package agentproto

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestSocketPath(t *testing.T) {
	own := t.TempDir()
	file := filepath.Join(own, "file")
	testkit.OK(t, os.WriteFile(file, nil, 0o600))
	for _, tt := range []struct {
		name    string
		environ map[string]string
		goos    string
		runUser string
		uid     int // more than ours
		want    string
	}{
		{"the runtime directory", map[string]string{"XDG_RUNTIME_DIR": own, "HOME": "/h"}, "linux", "",
			0, own + "/ghapp/agent.sock"},
		{"goes before systemd's", map[string]string{"XDG_RUNTIME_DIR": own}, "linux", "/", 0, own + "/ghapp/agent.sock"},
		{"systemd's, where it is not named", map[string]string{"HOME": "/h"}, "linux", own, 0, own + "/ghapp/agent.sock"},
		{"not one that is empty", map[string]string{"XDG_RUNTIME_DIR": "", "HOME": "/h"}, "linux", "", 0,
			"/h/.cache/ghapp/agent.sock"},
		{"not a relative one", map[string]string{"XDG_RUNTIME_DIR": ".", "HOME": "/h"}, "linux", "", 0,
			"/h/.cache/ghapp/agent.sock"},
		{"not one that is missing", map[string]string{"XDG_RUNTIME_DIR": own + "/none", "HOME": "/h"}, "linux", own + "/none",
			0, "/h/.cache/ghapp/agent.sock"},
		{"not a file", map[string]string{"XDG_RUNTIME_DIR": file, "HOME": "/h"}, "linux", file, 0,
			"/h/.cache/ghapp/agent.sock"},
		{"not another user's", map[string]string{"XDG_RUNTIME_DIR": own, "HOME": "/h"}, "linux", own, 1,
			"/h/.cache/ghapp/agent.sock"},
		{"the cache directory", map[string]string{"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "linux",
			"", 0, "/c/ghapp/agent.sock"},
		{"not a relative cache directory", map[string]string{"XDG_CACHE_HOME": "c", "HOME": "/h"}, "linux", "", 0,
			"/h/.cache/ghapp/agent.sock"},
		{"macOS", map[string]string{"HOME": "/h"}, "darwin", "", 0, "/h/Library/Caches/ghapp/agent.sock"},
		{"Windows", map[string]string{"LocalAppData": "/l", "HOME": "/h"}, "windows", "", 0, "/l/ghapp/agent.sock"},
		{"nothing at all", nil, "linux", "", 0, ""},
		{"a relative home", map[string]string{"HOME": "h"}, "linux", "", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lookup := func(name string) (string, bool) {
				value, set := tt.environ[name]
				return value, set
			}
			testkit.Equal(t, socketPath(lookup, tt.goos, tt.runUser, os.Geteuid()+tt.uid), tt.want, "SocketPath()")
		})
	}
}
