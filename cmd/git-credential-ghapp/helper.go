package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/credcache"
	"github.com/ghapp-dev/ghapp/internal/lfsconfig"
	"github.com/ghapp-dev/ghapp/internal/userdirs"
)

// patience is how long to wait for an agent, which may be asking GitHub, a
// hardware key or a person.
const patience = 2 * time.Minute

// Exit codes. To git, a helper that fails is a helper without an answer.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = "usage: git-credential-ghapp [flags of ghapp credential] get|store|erase|capability"

type helper struct {
	stdin          *replayReader
	stdout, stderr *os.File
	environ        []string
	socket         string // of the agent, or empty
	usersOwn       bool   // it is at the place where the user's own agent would be
	cache          string // the directory with what was answered before, or empty
}

// run does what args say and returns the exit code.
func (h *helper) run(args []string) int {
	if len(args) == 0 || strings.HasPrefix(args[len(args)-1], "-") {
		fmt.Fprintln(h.stderr, usage)
		return exitUsage
	}
	flags, operation := args[:len(args)-1], credential.Operation(args[len(args)-1])
	switch operation {
	case credential.Get, credential.Erase:
		return h.answer(flags, operation)
	case credential.Capability:
		_, _ = h.stdout.WriteString(credential.Announcement)
	case credential.Store:
		// Nothing is stored: ghapp keeps a token when it makes it. The input is read all the
		// same, since git may die of SIGPIPE when it writes to a helper that reads nothing.
		_, _ = io.Copy(io.Discard, io.LimitReader(h.stdin, credential.MaxSize))
	}
	return exitDone
}

// answer asks the agent, unless flags say whose credentials are wanted, then the files, and
// then ghapp.
func (h *helper) answer(flags []string, operation credential.Operation) int {
	if !h.hasStores() {
		if h.socket != "" && (len(flags) == 0 || h.namesOwnConfig(flags)) {
			if code, done := h.askAgent(operation); done {
				return code
			}
		}
		if operation == credential.Get && h.cache != "" {
			if found := h.askFiles(flags); found != nil {
				return h.print(found)
			}
		}
	}
	code, err := execGhapp(flags, operation, h.stdin)
	if err != nil {
		return h.fail(operation, err)
	}
	return code
}

// hasStores reports whether the large files of this directory's repository may be stored
// with another one: ghapp looks.
func (h *helper) hasStores() bool {
	dir, err := os.Getwd()
	return err == nil && lfsconfig.Near(dir, h.lookup) != ""
}

// namesOwnConfig reports whether the flags name the user's own config file and nothing else,
// as those in a clone do: they say no more than none.
func (h *helper) namesOwnConfig(flags []string) bool {
	return len(flags) == 2 && flags[0] == "--config" && flags[1] == userdirs.ConfigFile(runtime.GOOS, h.lookup)
}

// lookup is os.LookupEnv on the helper's environment.
func (h *helper) lookup(name string) (string, bool) {
	for _, entry := range h.environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// askAgent has the agent answer git. done is false where nothing was answered and ghapp is to be
// asked instead: no agent runs, or the user's own agent cannot be trusted or has hung up.
func (h *helper) askAgent(operation credential.Operation) (code int, done bool) {
	// The request is read only once there is an agent to ask: until then ghapp can read it
	// from git itself.
	conn, err := agentproto.Dial(h.socket, os.Geteuid())
	switch {
	case errors.Is(err, agentproto.ErrUnavailable):
		return 0, false
	case err != nil && h.usersOwn:
		h.complain(fmt.Errorf("agent: %w", err))
		return 0, false
	case err != nil:
		return h.fail(operation, fmt.Errorf("agent: %w", err)), true
	}
	defer conn.Close()

	request, err := h.stdin.parse()
	if err != nil {
		h.complain(err)
		return exitFailed, true
	}
	if operation == credential.Get {
		switch err := request.CheckOrigin(); {
		case errors.Is(err, credential.ErrNotHTTPS):
			h.complain(fmt.Errorf("no token for %q over %q: %w", request.Host, request.Protocol, err))
			return exitDone, true
		case err != nil:
			h.complain(err)
			return exitFailed, true
		}
	}
	// A context's own deadline would start a timer, and with it a thread.
	var found *credential.Credential
	if err = conn.SetDeadline(time.Now().Add(patience)); err == nil {
		found, err = agentproto.Ask(context.Background(), conn, operation, request)
	}
	switch {
	case errors.Is(err, agentproto.ErrHungUp) && h.usersOwn:
		return 0, false
	case err != nil:
		return h.fail(operation, fmt.Errorf("agent: %w", err)), true
	case operation == credential.Get:
		return h.print(found), true
	}
	return exitDone, true
}

// askFiles returns what ghapp has answered before, or nil.
func (h *helper) askFiles(flags []string) *credential.Credential {
	request, err := h.stdin.parse()
	if err != nil {
		return nil // ghapp says what is wrong with it
	}
	question, ok := credcache.Ask(flags, h.environ, request)
	if !ok {
		return nil
	}
	return credcache.Find(h.cache, question, time.Now())
}

// print answers a get.
func (h *helper) print(found *credential.Credential) int {
	if err := found.Encode(h.stdout); err != nil {
		return h.fail(credential.Get, err)
	}
	return exitDone
}

// fail says why there is no answer, and to git that no one else has one.
func (h *helper) fail(operation credential.Operation, reason error) int {
	h.complain(reason)
	if operation != credential.Get {
		return exitFailed
	}
	quit := credential.Credential{Quit: true}
	if err := quit.Encode(h.stdout); err != nil {
		return exitFailed
	}
	// git reads the quit of a helper that fails, too; gitoxide does not.
	return exitDone
}

func (h *helper) complain(reason error) {
	if refused, ok := errors.AsType[*agentproto.RefusedError](reason); ok {
		reason = refused
	}
	fmt.Fprintln(h.stderr, "git-credential-ghapp:", reason)
}
