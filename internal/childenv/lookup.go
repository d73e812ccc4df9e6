package childenv

import "strings"

// Lookup is [os.LookupEnv] on a list of variables, as of [os.Environ]. Of a name that is
// there twice the last one counts, as in a child's environment.
func Lookup(environ []string) func(name string) (string, bool) {
	return func(name string) (string, bool) {
		for i := len(environ) - 1; i >= 0; i-- {
			if key, value, _ := strings.Cut(environ[i], "="); key == name {
				return value, true
			}
		}
		return "", false
	}
}
