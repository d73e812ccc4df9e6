// Package mirror is what `ghapp mirror` runs: it keeps all repositories that an App reaches as
// bare repositories in a directory. It lists them, compares what GitHub says of each with what
// it said before, fetches what changed, and remembers how each is.
//
// A mirror lies at DIR/OWNER/NAME.git and is known by GitHub's ID of its repository: a name is
// where that is found today. What is remembered lies in DIR/.ghapp/:
//
//	lock       held by the process that runs
//	state.db   what GitHub said, and how each mirror is; see [Store]
//	incoming/  repositories that are being fetched for the first time
//	moving/    mirrors on the way from one name to another
//
// Where .ghapp is taken away, the mirrors are found again by the ID in their configuration,
// and each is compared once.
package mirror
