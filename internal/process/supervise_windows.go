package process

import "os"

// passedOn is Ctrl-C, which must not end this process before the program has ended.
func passedOn() []os.Signal { return []os.Signal{os.Interrupt} }

// reachesAll: a console sends Ctrl-C to all processes that are attached to it.
func reachesAll(os.Signal) bool { return true }
