package kms

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
)

// moduleDirs are where PKCS#11 modules are found by name.
type moduleDirs struct {
	// configs hold files NAME.module, as p11-kit has them (pkcs11.conf(5)), the first before
	// the next ones. A name in them that is no path is of a file in libraries.
	configs []string
	// libraries hold the modules.
	libraries []string
}

// systemModules are the places of p11-kit and of distributions.
func systemModules() moduleDirs {
	var dirs moduleDirs
	if config, err := os.UserConfigDir(); err == nil {
		dirs.configs = append(dirs.configs, filepath.Join(config, "pkcs11/modules"))
	}
	dirs.configs = append(dirs.configs, "/etc/pkcs11/modules", "/usr/share/p11-kit/modules",
		"/usr/local/share/p11-kit/modules")
	triplets, _ := filepath.Glob("/usr/lib/*/pkcs11") // the pattern is well formed
	dirs.libraries = slices.Concat(triplets,
		[]string{"/usr/lib64/pkcs11", "/usr/lib/pkcs11", "/usr/local/lib/pkcs11", "/opt/homebrew/lib/pkcs11"})
	return dirs
}

// module is what is to be loaded: a path, or the name of a file that the system's loader
// looks for. Where the URI names none, it is p11-kit's proxy, which has all the modules
// that p11-kit knows.
func (u *pkcs11URI) module(dirs moduleDirs) (string, error) {
	path, name := u.query["module-path"], u.query["module-name"]
	if keyuri.Scheme(path) == "file" {
		path = keyuri.FilePath(path)
	}
	isDir := false
	if strings.ContainsRune(path, '/') {
		info, err := os.Stat(path)
		if err != nil {
			return "", failure("not-found", "there is no PKCS#11 module %q: %v", path, withoutPath(err))
		}
		isDir = info.IsDir()
	}
	switch {
	case isDir && name == "":
		return "", failure("invalid-uri", "module-path is a directory, and module-name does not say which module in it")
	case isDir: // RFC 7512 section 2.3 on the two together
		dirs = moduleDirs{libraries: []string{path}}
	case path != "":
		return path, nil
	case name == "":
		return sharedLibrary("p11-kit-proxy"), nil
	}
	if found := dirs.find(name); found != "" {
		return found, nil
	}
	if isDir {
		return "", failure("not-found", "there is no PKCS#11 module %q in %q", name, path)
	}
	return "", failure("not-found", "there is no PKCS#11 module with the name %q; name its file with module-path=", name)
}

func sharedLibrary(name string) string {
	switch runtime.GOOS {
	case "darwin":
		return name + ".dylib"
	default:
		return name + ".so"
	}
}

// find returns the path of a module by its name, whose case does not matter (RFC 7512
// section 2.3), or "".
func (d moduleDirs) find(name string) string {
	for _, dir := range d.configs {
		file := fileIn(dir, name+".module")
		if file == "" {
			continue
		}
		text, err := readSmallFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			switch {
			case strings.TrimSpace(key) != "module" || value == "":
			case strings.ContainsRune(value, '/'):
				return value
			default:
				return d.library(value)
			}
		}
	}
	if path := d.library("lib" + sharedLibrary(name)); path != "" {
		return path
	}
	return d.library(sharedLibrary(name))
}

func (d moduleDirs) library(file string) string {
	for _, dir := range d.libraries {
		if path := fileIn(dir, file); path != "" {
			return path
		}
	}
	return ""
}

// fileIn finds a file of a directory, in whatever case its name is.
func fileIn(dir, name string) string {
	entries, _ := os.ReadDir(dir) // where it cannot be read there is nothing
	for _, entry := range entries {
		if strings.EqualFold(entry.Name(), name) {
			return filepath.Join(dir, entry.Name())
		}
	}
	return ""
}
