package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/signer"
)

// identity is an App with the key that its file has at present, or had before.
type identity struct {
	name string                              // in the config file
	path string                              // of the key's file; empty where it is in none
	load func() (signer.Signer, error)       // opens the key
	with func(signer.Signer) (*keyed, error) // makes the App with a key
	log  *slog.Logger
	tell func(format string, args ...any) // what a person wants to know

	turn chan struct{} // holds one: whoever looks after the key
	file fs.FileInfo   // as last read; whose turn it is has it

	mu      sync.Mutex
	current *keyed
	before  *keyed    // the one before current, until that has served; may be nil
	next    *keyed    // of a new file, until GitHub has taken it; may be nil
	nextTry time.Time // when to ask GitHub again whether it takes next
}

// keyed is an App with one key.
type keyed struct {
	app      *ghapp.App
	answerer *gitauth.Answerer
	hangUp   func() // closes the connections that nobody uses at present
}

const (
	// keyProof bounds the question whether GitHub takes a new key, during which git
	// waits, and keyPause lies between two of them.
	keyProof = 10 * time.Second
	keyPause = time.Minute
)

// begin reads the key.
func (i *identity) begin() error {
	if i.path != "" {
		// Before the key: what changes in between is read again.
		i.file, _ = os.Stat(i.path)
	}
	key, err := i.load()
	if err == nil {
		i.current, err = i.with(key)
	}
	return err
}

// answer answers with the newest key. One that GitHub did take, and then refuses,
// has not reached all of its servers yet: the one before still serves.
func (i *identity) answer(ctx context.Context, op credential.Operation, asked *credential.Credential) (*credential.Credential, error) {
	k := i.newest(ctx)
	answer, err := k.answerer.Credential(ctx, op, asked)
	if errors.Is(err, ghapp.ErrKeyMismatch) {
		if before := i.fallBack(k); before != nil {
			return before.answerer.Credential(ctx, op, asked)
		}
	}
	if err == nil && op == credential.Get {
		i.served(k)
	}
	return answer, err
}

// newest is the App with the newest key that GitHub takes.
func (i *identity) newest(ctx context.Context) *keyed {
	select {
	case i.turn <- struct{}{}:
		i.look()
		if next := i.due(); next != nil {
			i.prove(ctx, next)
		}
		<-i.turn
	case <-ctx.Done():
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current
}

// look reads the key's file if it has changed. What cannot be used, such as half a
// file or none, changes nothing.
func (i *identity) look() {
	if i.file == nil {
		return
	}
	now, err := os.Stat(i.path)
	if err != nil || sameFile(i.file, now) {
		return
	}
	i.file = now
	i.mu.Lock()
	used := i.current.app.Status().Fingerprint
	i.mu.Unlock()
	key, err := i.load()
	var next *keyed
	if err == nil && key.Fingerprint() != used {
		next, err = i.with(key)
	}
	if err != nil {
		i.log.Warn("the file of the key has changed and cannot be used; the key before is used on", "error", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.next, i.nextTry = next, time.Time{} // none, if an error was met
}

// due is the new key that GitHub is to be asked about now, or nil.
func (i *identity) due() *keyed {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.next == nil || time.Now().Before(i.nextTry) {
		return nil
	}
	return i.next
}

// prove asks GitHub whether it takes the new key, and if so, takes it into use.
func (i *identity) prove(ctx context.Context, next *keyed) {
	bounded, cancel := context.WithTimeout(ctx, keyProof)
	defer cancel()
	_, err := next.app.Info(bounded)
	if ctx.Err() != nil {
		return // whoever waited is gone; the next one asks
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.nextTry = time.Now().Add(keyPause)
		i.log.Warn("the new key in "+i.path+" is not taken; the key before is used on", "new", next.app.Status().Fingerprint, "error", err)
		return
	}
	i.before, i.current, i.next = i.current, next, nil
	i.tell("App %s signs with its new key %s.", next.app.Status().Issuer, next.app.Status().Fingerprint)
}

// fallBack returns to the key before k, which it returns; nil if there is none.
func (i *identity) fallBack(k *keyed) *keyed {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.current != k:
		return i.current // somebody else has done so
	case i.before == nil:
		return nil
	}
	i.log.Warn("GitHub refuses the new key; the key before is used on", "new", k.app.Status().Fingerprint)
	i.current, i.before, i.next, i.nextTry = i.before, nil, k, time.Now().Add(keyPause)
	return i.current
}

// served tells that k has got a token, so that the key before it is not needed.
func (i *identity) served(k *keyed) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == k {
		i.before = nil
	}
}

func (i *identity) hangUp() {
	for _, k := range i.keys() {
		k.hangUp()
	}
}

// keys are the App's with each key that there is at present.
func (i *identity) keys() []*keyed {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.DeleteFunc([]*keyed{i.current, i.before, i.next}, func(k *keyed) bool { return k == nil })
}

func (i *identity) status() appStatus {
	i.mu.Lock()
	defer i.mu.Unlock()
	app := i.current.app
	s := appStatus{Name: i.name, App: app.Status().Issuer, Host: app.Status().Host, Fingerprint: app.Status().Fingerprint}
	s.Next = app.Status().RejectedKey // of two that are configured
	if i.next != nil {
		s.Next = i.next.app.Status().Fingerprint
	}
	return s
}
