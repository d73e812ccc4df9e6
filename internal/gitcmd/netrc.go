package gitcmd

import (
	"io"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
)

// netrcSize bounds what is read of a .netrc.
const netrcSize = 1 << 20

// netrcFor reports whether libcurl would find a login for origin in the user's
// .netrc (https://everything.curl.dev/usingcurl/netrc.html). A word in a comment
// or a macro counts too; a login that is not there does no harm.
func netrcFor(env environ, origin string) bool {
	home := env.get("HOME")
	if home == "" && runtime.GOOS == "windows" {
		home = env.get("USERPROFILE")
	}
	if home == "" {
		if current, err := user.Current(); err == nil {
			home = current.HomeDir
		}
	}
	u, err := url.Parse(origin)
	if home == "" || err != nil {
		return false
	}
	names := []string{".netrc"}
	if runtime.GOOS == "windows" {
		names = append(names, "_netrc")
	}
	for _, name := range names {
		file, err := os.Open(filepath.Join(home, name))
		if err != nil {
			continue // what cannot be read here, libcurl cannot read either
		}
		text, _ := io.ReadAll(io.LimitReader(file, netrcSize))
		_ = file.Close()
		if netrcNames(string(text), u.Hostname()) {
			return true
		}
	}
	return false
}

func netrcNames(text, host string) bool {
	machine := false
	for word := range strings.FieldsSeq(text) {
		word = strings.Trim(word, `"`)
		if word == "default" || machine && strings.EqualFold(word, host) {
			return true
		}
		machine = word == "machine"
	}
	return false
}
