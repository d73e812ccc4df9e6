package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/secret"
)

// maxSealFile is more than the keys of any rotation take.
const maxSealFile = 64 << 10

// ReadSealKeys reads the keys to seal with from a file, named by its path or a file URI, that other
// users cannot read: one in each line. The first seals, and all open. To replace a key, the next one is
// added below it on all replicas, then put above it on all, and an hour later the old one is taken out.
func ReadSealKeys(named string) ([]secret.Text, error) {
	path := keyuri.FilePath(named)
	if path == "" {
		return nil, &fault.SettingError{
			Err:  fmt.Errorf("the key to seal with is not in a file, but behind a URI of %s", keyuri.Scheme(named)),
			Hint: "name a file: what a key URI names signs, and cannot seal",
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fault.SettingError{Err: fmt.Errorf("%s is no regular file, and so no key to seal with", path)}
	}
	exposed, err := keyfile.Exposed(path)
	if err != nil {
		return nil, err
	}
	if exposed != nil {
		return nil, &fault.SettingError{
			Err:  fmt.Errorf("the key to seal with in %s can be read by others (mode %04o)", path, exposed.Mode.Perm()),
			Hint: "run: " + exposed.Hint(),
		}
	}
	var keys []secret.Text
	lines := bufio.NewScanner(io.LimitReader(f, maxSealFile))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			keys = append(keys, secret.New(line))
		}
	}
	if lines.Err() != nil || len(keys) == 0 {
		return nil, errors.Join(lines.Err(), &fault.SettingError{
			Err:  fmt.Errorf("%s has no key to seal with", path),
			Hint: "make one for all replicas: openssl rand -base64 32 > seal.key; chmod 600 seal.key",
		})
	}
	_, err = newSealKeys(keys)
	return keys, err
}
