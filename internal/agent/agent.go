// Package agent lets a credential helper ask a process that holds the key.
//
// The process listens on a Unix domain socket in a directory of its own
// ([Listen], [Serve]), or, as the one agent of its user, at a place that is known
// ([SocketPath], [ListenAt], [Inherited]); the helper, which git starts anew for
// every question, asks there ([Ask], or [Dial] and [Client.Ask]). Only processes of the same
// user are heard, and only the same user's process is asked: by the mode of
// directory and socket everywhere but on Windows, where the directory's access
// control list decides, and by the other end's credentials on Linux, macOS and
// FreeBSD.
//
// # Protocol
//
// One exchange per connection: the client sends a frame and gets a frame. A
// frame is one line, which ends in a newline, and a body of so many bytes:
//
//	ghapp-agent/1 WORD LENGTH
//	BODY
//
// A request's word is one of git's operations get, store and erase, and its
// body a description in the format of git-credential, without an empty line at
// the end. Or it is status or stop, with an empty body, or forget, whose body is such a
// description of which the password alone counts. The answer's word is one of
//
//	ok       the body is the answer in the same format; empty if there is none; to
//	         status it is JSON
//	refused  the body is the reason: one line of UTF-8, without a newline
//
// The line has at most 64 bytes, the body at most [credential.MaxSize]. A
// client that has asked keeps the connection open until it has the answer: an
// end of file before that means that it no longer waits.
package agent

// The words of the requests that are none of git's.
const (
	wordStatus = "status"
	wordStop   = "stop"
	wordForget = "forget"
)
