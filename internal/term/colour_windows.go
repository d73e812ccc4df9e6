package term

import (
	"os"

	"golang.org/x/sys/windows"
)

// paints reports whether a console understands colours (ECMA-48, SGR), after asking it to.
func paints(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	console, mode := windows.Handle(file.Fd()), uint32(0)
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
