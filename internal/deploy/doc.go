// Package deploy keeps a directory at a commit. It builds what the commit has beside the
// directory, proves that it is whole, has it written to the disk, and publishes it by
// one rename: a reader sees the old state or the new one, and nothing else.
//
// For a directory DIR everything else is in .DIR.ghapp beside it, on the same file
// system:
//
//	DIR                          -> .DIR.ghapp/releases/000042-1f7a7a472abf
//	.DIR.ghapp/lock              held by the process that changes something here
//	.DIR.ghapp/store.git/        what was fetched
//	.DIR.ghapp/modules/HASH.git/ the same of submodules
//	.DIR.ghapp/releases/ID/      the files of a commit, without anything of git's
//	.DIR.ghapp/records/ID/       what is known of that release, and git's index of it
//	.DIR.ghapp/held.json         which commits are not to be published after a rollback
//	.DIR.ghapp/failure.json      how the last pass has failed, if it has
//
// A release without its record is half made, and so is one whose record does not say
// that it has been published. Whatever a killed process leaves behind is
// recognized by that and taken away by the next one, which needs nothing else to go on:
// what is published is what DIR points to.
//
// The modes of files and directories are those of the umask, as with git: with 077 a web
// server that runs as another user cannot read them. A commit's attributes count as in any
// work tree; the configuration of the user's git and of the system's does not.
package deploy
