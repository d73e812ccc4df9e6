package refs

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// maxConstraint bounds what the parser of constraints, which works by patterns, is given.
const maxConstraint = 200

func parseConstraint(text string) (*semver.Constraints, error) {
	if len(text) > maxConstraint {
		return nil, fmt.Errorf("the constraint on versions is longer than %d bytes", maxConstraint)
	}
	c, err := semver.NewConstraint(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a constraint on versions, such as *, ^1.4 or \">=2, <3\"", text)
	}
	return c, nil
}

// versionOf is the version that a tag names, or nil. A tag with fewer than three numbers
// is none: v1 is by custom moved along with its releases.
func versionOf(tag string) *semver.Version {
	v, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
	if err != nil {
		return nil
	}
	return v
}
