//go:build unix

package deploy

import (
	"encoding/json"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/flush"
)

// tempSuffix is the end of the name of a file until it is complete. There is one for each
// name, as one process at a time is at work: what a killed one has left is overwritten, or
// found.
const tempSuffix = ".new"

// replace puts a file in the place of another, so that a reader sees the one or the
// other, whatever happens meanwhile.
func replace(name string, data []byte) error {
	file, err := atomicfile.Begin(name, atomicfile.Options{Temp: name + tempSuffix, Leftover: true})
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Commit(); err != nil {
		return err
	}
	return flush.Parent(name)
}

func replaceJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return replace(name, append(data, '\n'))
}
