package main

// execProgram runs path as a child, since Windows replaces no process.
func execProgram(path string, args []string, stdin *replayReader) (int, error) {
	return runChild(path, args, stdin.replay())
}
