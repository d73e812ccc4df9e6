package installed

// others reports whether a link belongs to another user. On Windows its owner says little:
// who may change it is a matter of the directory's rights.
func others(string) bool { return false }
