package diag

// Code is code, for the tests of this directory.
func Code(cause string) string { return code(cause) }

// Codes is codes.
func Codes() map[string]string { return codes() }
