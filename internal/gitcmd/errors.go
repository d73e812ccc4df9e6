package gitcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/process"
)

// Reason is why git failed, as far as its words tell.
type Reason string

// The reasons. What a server says in them is in [Error.Remote].
const (
	Unknown             Reason = "unknown"
	NotInstalled        Reason = "git is not installed, or not on PATH"
	TooOld              Reason = "git is older than 2.31"
	Stopped             Reason = "stopped"            // the context ended
	Killed              Reason = "killed by a signal" // the out of memory killer's, as a rule
	DestinationExists   Reason = "destination exists and is not an empty directory"
	DestinationClosed   Reason = "destination cannot be written"
	DiskFull            Reason = "no space left on device"
	DiskFailed          Reason = "disk cannot be written" // it is read-only, or broken
	LFSMissing          Reason = "git-lfs is not installed"
	LFSFailed           Reason = "git-lfs failed"
	Rewritten           Reason = "rewritten by url.*.insteadOf"
	ProtocolNotAllowed  Reason = "transport not allowed"
	BranchNotFound      Reason = "branch not found"
	Unauthorized        Reason = "credential refused"      // 401
	PromptDisabled      Reason = "no credential was given" // the helper had none
	Forbidden           Reason = "forbidden"               // 403
	RepositoryNotFound  Reason = "repository not found"    // 404, also for no access
	Redirected          Reason = "redirected"              // 3xx, and not followed
	RateLimited         Reason = "rate limited"            // 429
	ServerError         Reason = "server error"            // 5xx
	ProxyFailed         Reason = "proxy failed"            // 407, no such proxy
	ProxyUnreadable     Reason = "proxy cannot be read"    // http.proxy in git's configuration
	HostUnresolved      Reason = "host name not resolved"
	CertificateRefused  Reason = "certificate not trusted"
	TLSFailed           Reason = "TLS failed"         // no handshake
	TimedOut            Reason = "timed out"          // or too slow
	ConnectionRefused   Reason = "connection refused" // or no route
	ConnectionLost      Reason = "connection lost"    // reset, cut, early EOF
	SSHFailed           Reason = "ssh failed"         // a submodule's
	NoRepository        Reason = "no git repository here"
	NoRemote            Reason = "no such remote"
	OwnedByAnother      Reason = "repository of another user"
	ConfigurationBroken Reason = "git's configuration is broken"
	CommitNotFound      Reason = "commit not found"
	ObjectRefused       Reason = "git's check refused an object" // fsck, while it fetched
	ObjectTooLarge      Reason = "an object is too large"        // beyond what [Bounded] lets git make
)

// Reasons are all of them, for tables that must be complete.
func Reasons() []Reason {
	return []Reason{
		Unknown, NotInstalled, TooOld, Stopped, Killed, DestinationExists, DestinationClosed, DiskFull, DiskFailed,
		LFSMissing, LFSFailed, Rewritten, ProtocolNotAllowed, BranchNotFound, Unauthorized, PromptDisabled,
		Forbidden, RepositoryNotFound, Redirected, RateLimited, ServerError, ProxyFailed, ProxyUnreadable, HostUnresolved,
		CertificateRefused, TLSFailed, TimedOut, ConnectionRefused, ConnectionLost, SSHFailed,
		NoRepository, NoRemote, OwnedByAnother, ConfigurationBroken, CommitNotFound, ObjectRefused,
		ObjectTooLarge,
	}
}

// Error is a failure of git's, or before git was started.
type Error struct {
	// Op is git's command, such as clone.
	Op string
	// Reason is why it failed.
	Reason Reason
	// ExitCode is git's, -1 if it has none.
	ExitCode int
	// Message is the line in which git says why, without "fatal: ".
	Message string
	// Remote is what the server said, one line. It may say anything.
	Remote string
	// Submodule is the address of the submodule whose clone failed, if one did.
	Submodule string
	// Stderr is the end of git's standard error, filtered: at most 64 KiB.
	Stderr string
	// Err is the cause: of the operating system, or of the context that ended.
	Err error
}

// Error is one line without the end of git's standard error.
func (e *Error) Error() string {
	if e.ExitCode < 0 { // git was not started
		switch e.Reason {
		case DestinationExists: // the message says it
			return e.Op + " into " + e.Message
		case DestinationClosed:
			return e.Op + ": " + string(e.Reason) + ": " + e.Message
		}
	}
	text := "git " + e.Op
	if e.Submodule != "" {
		text += ": submodule " + e.Submodule
	}
	if e.Reason != Unknown {
		text += ": " + string(e.Reason)
	}
	switch {
	case e.Message != "" && e.Remote != "":
		text += ": " + e.Message + " (the server says: " + e.Remote + ")"
	case e.Message != "":
		text += ": " + e.Message
	case e.Remote != "":
		text += ": the server says: " + e.Remote
	case e.Err != nil && e.Reason != NotInstalled:
		text += ": " + e.Err.Error()
	}
	if e.Reason == Unknown && e.ExitCode > 0 {
		text += fmt.Sprintf(" (exit status %d)", e.ExitCode)
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf is the reason of an error that is, or wraps, an [*Error]; "" of others.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// failure turns the end of a git process into an Error.
func failure(ctx context.Context, op string, state *os.ProcessState, err error, stderr string) error {
	e := &Error{Op: op, ExitCode: -1, Stderr: stderr}
	if ctx.Err() != nil {
		e.Reason, e.Err = Stopped, context.Cause(ctx)
		return e
	}
	if state == nil {
		e.Reason, e.Err = Unknown, err
		return e
	}
	e.ExitCode = state.ExitCode()
	e.Reason, e.Message, e.Remote, e.Submodule = classify(stderr)
	if signal, ok := process.Signal(state); ok {
		e.Reason, e.Err = Killed, fmt.Errorf("git ended by signal %q", signal)
		return e
	}
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		e.Err = err // git did well; its output could not be written
	}
	return e
}

// sign is a piece of a line that git writes, and the reason that it tells.
type sign struct {
	reason Reason
	pieces []string
}

// signs stand in the order in which they count when git gives several: the cause
// before what followed from it. Lines that a server wrote are not looked at.
func signs() []sign {
	return []sign{
		{TooOld, []string{"unknown option: --config-env"}},
		{ObjectRefused, []string{"fsck error in pack"}},
		{ObjectTooLarge, []string{"attempting to allocate"}},
		{DiskFull, []string{"No space left on device", "Disk quota exceeded", "Out of diskspace",
			"not enough space on the disk"}},
		{DiskFailed, []string{"Input/output error", "Read-only file system"}},
		{LFSMissing, []string{"git-lfs: not found", "git-lfs: command not found", "git-lfs: No such file",
			"'lfs' is not a git command", "git-lfs' is not recognized"}},
		{ProtocolNotAllowed, []string{"' not allowed"}},
		{DestinationExists, []string{"already exists"}},
		{DestinationClosed, []string{"could not create work tree dir",
			"could not create leading directories", "cannot mkdir"}},
		{BranchNotFound, []string{"not found in upstream", "couldn't find remote ref"}},
		{CommitNotFound, []string{"not our ref", "unadvertised object"}},
		{Unauthorized, []string{"Authentication failed for", "returned error: 401"}},
		{PromptDisabled, []string{"could not read Username for", "could not read Password for",
			"unable to get password from user"}},
		{Forbidden, []string{"returned error: 403"}},
		{Redirected, []string{"returned error: 30"}},
		{RateLimited, []string{"returned error: 429", "rate limited by"}},
		{ProxyUnreadable, []string{"Unsupported proxy syntax", "Invalid proxy URL"}},
		{ProxyFailed, []string{"Could not resolve proxy", "from proxy after CONNECT", "CONNECT tunnel failed",
			"Proxy CONNECT aborted", "returned error: 407"}},
		{ServerError, []string{"returned error: 5", "HTTP 5"}},
		{HostUnresolved, []string{"Could not resolve host", "Couldn't resolve host", "Could not resolve hostname"}},
		{CertificateRefused, []string{"certificate verification failed", "server verification failed",
			"SSL certificate problem", "SSL: no alternative certificate", "certificate subject name",
			"unable to get local issuer", "SEC_E_UNTRUSTED_ROOT", "CERT_TRUST_"}},
		{TimedOut, []string{"Operation too slow", "timed out", "Timeout was reached", "Timed out"}},
		{ConnectionRefused, []string{"Failed to connect to", "Could not connect to server", "Couldn't connect to server",
			"Connection refused", "Network is unreachable", "No route to host"}},
		{SSHFailed, []string{"Permission denied (publickey", "Host key verification failed",
			"ssh: not found", "cannot run ssh"}},
		{RepositoryNotFound, []string{"' not found", "returned error: 404", "Repository not found"}},
		{ConnectionLost, []string{"early EOF", "unexpected disconnect", "hung up unexpectedly", "Connection reset",
			"Recv failure", "Send failure", "Empty reply from server", "outstanding read data", "transfer closed",
			"unexpected EOF", "invalid index-pack output", "was not closed cleanly", "index-pack failed"}},
		{TLSFailed, []string{"SSL_ERROR_", "SSL connect error", "gnutls_handshake", "handshake failed", "TLS connect error",
			"error:0A", "schannel:", "SSL routines"}},
		{LFSFailed, []string{"Error downloading object", "batch response: ", "Smudge error", "git-lfs",
			"smudge filter lfs failed", "git lfs"}},
		{OwnedByAnother, []string{"detected dubious ownership"}},
		{NoRepository, []string{"fatal: not a git repository"}},
		{NoRemote, []string{"No such remote"}},
		{ConfigurationBroken, []string{"bad config", "bogus count in GIT_CONFIG_COUNT", "missing config key",
			"missing config value", "bad numeric config", "unable to parse command-line config", "bogus format in GIT_CONFIG"}},
		{Killed, []string{"died of signal"}},
	}
}

// classify reads what git wrote.
func classify(stderr string) (reason Reason, message, remote, submodule string) {
	var lines, said []string
	for line := range strings.FieldsFuncSeq(stderr, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "remote: "); ok {
			if text = strings.TrimSpace(text); text != "" && !progress(text) {
				said = append(said, text)
			}
			continue
		}
		if echo(line) {
			continue
		}
		lines = append(lines, line)
		if rest, ok := strings.CutPrefix(line, "fatal: clone of '"); ok && submodule == "" {
			submodule, _, _ = strings.Cut(rest, "'")
		}
	}
	reason, message = reasonOf(lines)
	return reason, message, strings.Join(said, "; "), submodule
}

// echo reports whether a line repeats a name from outside, or is a line of
// GIT_TRACE's, which begins with the time.
func echo(line string) bool {
	const clock = "15:04:05.000000"
	_, err := time.Parse(clock, line[:min(len(line), len(clock))])
	return err == nil || line == "" || strings.HasPrefix(line, "Cloning into '") || strings.HasPrefix(line, "Submodule '")
}

// progress reports whether a line of the server's is about its work alone.
func progress(text string) bool {
	for _, word := range []string{"Enumerating objects", "Counting objects", "Compressing objects", "Total "} {
		if strings.HasPrefix(text, word) {
			return true
		}
	}
	return false
}

// reasonOf returns the reason and the line that tells it. Without a sign it is the
// first line in which git gives up: what it says after that follows from it.
func reasonOf(lines []string) (Reason, string) {
	for _, s := range signs() {
		for _, line := range lines {
			for _, piece := range s.pieces {
				if !strings.Contains(line, piece) {
					continue
				}
				if s.reason == ObjectRefused {
					line = refusedObject(lines, line)
				}
				return s.reason, withoutPrefix(line)
			}
		}
	}
	for _, prefix := range []string{"fatal: ", "error: "} {
		at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, prefix) })
		if at >= 0 {
			return Unknown, withoutPrefix(lines[at])
		}
	}
	if len(lines) > 0 {
		return Unknown, lines[len(lines)-1]
	}
	return Unknown, ""
}

// refusedObject is the line in which git's check says which object it refuses, and why:
// "error: object OID: NAME: why" comes before the line that gives up.
func refusedObject(lines []string, otherwise string) string {
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "error: object "); ok && strings.Count(rest, ": ") >= 2 {
			return line
		}
	}
	return otherwise
}

func withoutPrefix(line string) string {
	return strings.TrimPrefix(strings.TrimPrefix(line, "fatal: "), "error: ")
}
