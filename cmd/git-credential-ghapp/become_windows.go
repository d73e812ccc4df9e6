package main

import "os"

// replace runs path as a child, since Windows replaces no process.
func replace(path string, args []string) (int, error) {
	return runChild(path, args[1:], os.Stdin, os.Stdout, os.Stderr)
}
