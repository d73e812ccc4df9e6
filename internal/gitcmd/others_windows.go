package gitcmd

// ofOthers is empty: access lists say nothing as simple as who may write.
func ofOthers(string, bool) string { return "" }
