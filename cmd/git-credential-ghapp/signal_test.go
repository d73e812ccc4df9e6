//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

type blocked struct{ called, gone chan struct{} }

func (b blocked) Credential(ctx context.Context, _ credential.Operation,
	_ *credential.Credential) (*credential.Credential, error) {
	close(b.called)
	<-ctx.Done()
	close(b.gone)
	return nil, ctx.Err()
}

func TestDiesOfASignalSilentlyAndTheAgentStops(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		b := blocked{make(chan struct{}), make(chan struct{})}
		cmd := command(t, serve(t, b), "get")
		var stdout, stderr bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(origin), &stdout, &stderr
		testkit.OK(t, cmd.Start())
		<-b.called
		testkit.OK(t, cmd.Process.Signal(signal))
		<-b.gone
		cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != signal {
			t.Errorf("%v: ended with %v", signal, cmd.ProcessState)
		}
		if stdout.Len()+stderr.Len() > 0 {
			t.Errorf("%v: printed %q, %q", signal, &stdout, &stderr)
		}
	}
}

type slow struct{ called, answer chan struct{} }

func (s slow) Credential(_ context.Context, _ credential.Operation,
	about *credential.Credential) (*credential.Credential, error) {
	close(s.called)
	<-s.answer
	return answerTo(about), nil
}

func TestWaitsForASlowAgent(t *testing.T) {
	s := slow{make(chan struct{}), make(chan struct{})}
	cmd := command(t, serve(t, s), "get")
	var stdout bytes.Buffer
	cmd.Stdin, cmd.Stdout = strings.NewReader(origin), &stdout
	testkit.OK(t, cmd.Start())
	<-s.called
	testkit.OK(t, cmd.Process.Signal(syscall.Signal(0)), "did not wait")
	close(s.answer)
	if err := cmd.Wait(); err != nil || !strings.Contains(stdout.String(), canary) {
		t.Errorf("ended with %v, printed %q", err, &stdout)
	}
}

func TestDiesSilentlyIfNobodyReads(t *testing.T) {
	var a fakeAgent
	cmd := command(t, serve(t, &a), "get")
	read, write := testkit.Must2(os.Pipe())(t)
	read.Close()
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(origin), write, &stderr
	cmd.Run()
	write.Close()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGPIPE || stderr.Len() > 0 {
		t.Errorf("ended with %v, printed %q", cmd.ProcessState, &stderr)
	}
}

// What needs neither agent nor ghapp: there is none here.
// TestStoreTakesAllThatIsWritten: who writes more than a pipe holds is neither
// blocked nor killed.
// TestGitAndTheHelper lets the git of this machine find the helper by its name,
// as "helper = ghapp" has it.
