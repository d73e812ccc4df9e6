// Package barerepo keeps a bare repository on the disk equal to a repository elsewhere, and
// never loses a commit. What is elsewhere is a [Remote]; it knows nothing of GitHub.
//
// The repository is one that any git can use at any time: clone, --reference, alternates, gc.
// Of its refs those below refs/heads/, refs/tags/ and refs/notes/ (and what [Options.Prefixes]
// says beside) are those of the remote; HEAD is the remote's default branch. Everything else
// in it belongs to whoever made it, and is left alone, but for
//
//	refs/ghapp/kept/20261130T120000Z/heads/NAME  what refs/heads/NAME was, and left behind then
//	ghapp-journal                                when which ref was moved from what to what
//	objects/incoming-ghapp/                      what is being fetched, and counts for nothing yet
//	ghapp.since, ghapp.repository                of the configuration
//
// A first fetch is made beside and comes into place by one rename. A later one goes into
// the quarantine, as git receive-pack has one (https://git-scm.com/docs/git-receive-pack#_quarantine_environment),
// is checked there as what a stranger sends, proved to be connected with what is here, written
// to the disk, and moved in; then the refs move in one transaction of git's, and what no ref
// would hold any more is kept by one of ours. Where a process is killed on the way, every ref
// resolves, and the next [Repository.Update] takes away what was left and goes on.
//
// One process at a time may call what changes the repository: the caller holds a lock.
package barerepo
