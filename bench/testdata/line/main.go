// Command line prints one line: the least a Go program can do.
package main

import "os"

func main() { os.Stdout.WriteString("protocol=https\n") }
