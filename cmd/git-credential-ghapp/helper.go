package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/credential"
)

// patience is how long to wait for an agent, which may be asking GitHub, a
// hardware key or a person.
const patience = 2 * time.Minute

// Exit codes. git takes a helper that failed for one without an answer.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = "usage: git-credential-ghapp [flags of ghapp credential] get|store|erase|capability"

type helper struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	socket         string // of the agent, or empty
	usersOwn       bool   // it is at the place where the user's own agent would be
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
		io.WriteString(h.stdout, credential.Announcement)
	case credential.Store:
		// Tokens are kept where they are made. Who reads nothing may end the
		// one who writes.
		io.Copy(io.Discard, io.LimitReader(h.stdin, credential.MaxSize))
	}
	return exitDone
}

func (h *helper) answer(flags []string, operation credential.Operation) int {
	if h.socket == "" || len(flags) > 0 {
		return h.handOver(flags, operation)
	}
	// The request is read when someone is there to be asked: until then ghapp
	// can still have it.
	client, err := agent.Dial(h.socket)
	switch {
	case errors.Is(err, agent.ErrUnavailable):
		return h.handOver(flags, operation)
	case err != nil && h.usersOwn:
		h.complain(err)
		return h.handOver(flags, operation)
	case err != nil:
		return h.fail(operation, err)
	}
	defer client.Close()

	request, err := credential.Parse(h.stdin)
	if err != nil {
		h.complain(err)
		return exitFailed
	}
	if operation == credential.Get {
		switch err := request.CheckOrigin(); {
		case errors.Is(err, credential.ErrNotHTTPS):
			h.complain(fmt.Errorf("no token for %q over %q: %w", request.Host, request.Protocol, err))
			return exitDone
		case err != nil:
			h.complain(err)
			return exitFailed
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := client.Ask(ctx, operation, request)
	if errors.Is(err, agent.ErrHungUp) && h.usersOwn {
		return h.askGhapp(operation, request)
	}
	if err != nil {
		return h.fail(operation, err)
	}
	if operation == credential.Get {
		if err := answer.Encode(h.stdout); err != nil {
			return h.fail(operation, err)
		}
	}
	return exitDone
}

func (h *helper) handOver(flags []string, operation credential.Operation) int {
	code, err := become(flags, operation)
	if err != nil {
		return h.fail(operation, err)
	}
	return code
}

// askGhapp asks ghapp what an agent has left without an answer. The request has been
// read, so ghapp cannot have our standard input.
func (h *helper) askGhapp(operation credential.Operation, request *credential.Credential) int {
	var input bytes.Buffer
	err := request.Encode(&input)
	if err == nil {
		var code int
		if code, err = start(operation, &input, h.stdout, h.stderr); err == nil {
			return code
		}
	}
	return h.fail(operation, err)
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
	var refused *agent.RefusedError
	if errors.As(reason, &refused) {
		reason = refused
	}
	fmt.Fprintln(h.stderr, "git-credential-ghapp:", reason)
}
