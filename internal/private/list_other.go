//go:build unix && !linux

package private

// listsOthers is false: here the bits of a group are its own, whatever an access list says.
func listsOthers(string, int) bool { return false }
