package process

// NoCore does nothing: Windows' error reporting is set for the whole machine.
func NoCore() {}
