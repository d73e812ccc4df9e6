// Package userdirs says where files of the user are looked for.
package userdirs

import "path/filepath"

// ConfigFile returns the path of ghapp's config file where nobody names another, or "". goos
// is runtime.GOOS, and lookup is os.LookupEnv.
func ConfigFile(goos string, lookup func(string) (string, bool)) string {
	dir, _ := lookup("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		// The XDG Base Directory Specification asks to ignore a relative one.
		dir = ""
	}
	if dir == "" && goos == "windows" {
		dir, _ = lookup("AppData")
	}
	if home, _ := lookup("HOME"); dir == "" && goos != "windows" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "ghapp", "config.yaml")
}

// Home returns the directory where git and libcurl look for the user's files, or "". goos
// is runtime.GOOS, and lookup is os.LookupEnv.
func Home(goos string, lookup func(string) (string, bool)) string {
	home, _ := lookup("HOME")
	if home == "" && goos == "windows" {
		home, _ = lookup("USERPROFILE")
	}
	return home
}
