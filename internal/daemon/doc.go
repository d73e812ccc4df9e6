// Package daemon is what our processes that go on have in common (daemon(7)): they answer GitHub's
// webhook, tell how they are at an address of their own and to the service manager, count what
// they do, send notices, and read their configuration anew when a signal wants it. What they keep
// is their command's: sync's directories, mirror's repositories.
package daemon
