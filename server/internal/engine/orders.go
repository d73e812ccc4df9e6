package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ghapp-dev/ghapp/secret"
)

// Target says whom an order is for: one of its fields is set.
type Target struct {
	Identity     string `json:"identity,omitempty"`   // ISSUER SUBJECT, with a blank between them
	Repository   string `json:"repository,omitempty"` // owner/name
	Installation int64  `json:"installation,omitempty"`
	Rule         string `json:"rule,omitempty"`
	All          bool   `json:"all,omitempty"`
}

// Check returns an error unless exactly one field is set.
func (t Target) Check() error {
	set := 0
	for _, is := range []bool{t.Identity != "", t.Repository != "", t.Installation != 0, t.Rule != "", t.All} {
		if is {
			set++
		}
	}
	if set != 1 {
		return errors.New("an order is for an identity, a repository, an installation, a rule, or all: for one of them")
	}
	return nil
}

// String names whom it is for.
func (t Target) String() string {
	switch {
	case t.Identity != "":
		return "identity " + t.Identity
	case t.Repository != "":
		return "repository " + t.Repository
	case t.Installation != 0:
		return fmt.Sprintf("installation %d", t.Installation)
	case t.Rule != "":
		return "rule " + t.Rule
	}
	return "all"
}

// Use is a token that is out, or is about to be.
type Use struct {
	Identity     string    `json:"identity"` // ISSUER SUBJECT
	Rule         string    `json:"rule"`
	Repositories []string  `json:"repositories,omitempty"` // owner/name
	All          bool      `json:"all,omitempty"`          // of the installation's repositories
	Owner        string    `json:"owner"`                  // of the repositories
	Installation int64     `json:"installation,omitempty"` // 0: not known yet
	ExpiresAt    time.Time `json:"expires_at"`
}

// covers reports whether an order is for a use. All repositories of an owner are also this one.
func (t Target) covers(u Use) bool {
	switch {
	case t.Repository != "":
		owner, _, _ := strings.Cut(t.Repository, "/")
		return u.All && strings.EqualFold(owner, u.Owner) || slices.ContainsFunc(u.Repositories,
			func(name string) bool { return strings.EqualFold(name, t.Repository) })
	case t.Identity != "":
		return t.Identity == u.Identity
	case t.Installation != 0:
		return t.Installation == u.Installation
	case t.Rule != "":
		return t.Rule == u.Rule
	}
	return t.All
}

// Order holds the door shut for its target until it is taken back.
type Order struct {
	ID     string    `json:"id"`
	Target Target    `json:"target"`
	Time   time.Time `json:"time"`
	Reason string    `json:"reason,omitempty"`
	// Revoke ends the tokens of the target that are out, too.
	Revoke bool `json:"revoke,omitempty"`
}

// book is all orders that hold, in the one entry in which they are.
type book struct {
	// Version is higher in what was written later. A replica that knows a later one than the engine
	// does, since that has lost it, writes it back.
	Version uint64 `json:"version"`
	// Epoch changes when tokens are ended, so that none of before is handed out after.
	Epoch  string  `json:"epoch"`
	Orders []Order `json:"orders"`
}

// orders are what this replica knows of them. The zero value knows none.
type orders struct {
	mu     sync.Mutex
	book   book                // as the engine has it
	unsaid []func(*book) error // what the engine was not told yet
	out    map[string]out      // tokens that this replica has handed out, by the name of their entry
	end    func(context.Context, secret.Text, Use) error
}

// out is a token and whose it is.
type out struct {
	Token string `json:"token"`
	Use   Use    `json:"use"`
}

// String is without the token.
func (o out) String() string { return "a token of " + o.Use.Identity }

// GoString is without the token.
func (o out) GoString() string { return o.String() }

// HeldError says that an order holds the door shut.
type HeldError struct{ Order Order }

func (e *HeldError) Error() string {
	return fmt.Sprintf("held by order %s, for %s", e.Order.ID, e.Order.Target)
}

// Held returns a [*HeldError] where an order holds the door shut for a use. It is to be asked when a
// token is about to be minted, and once more before it leaves.
func (e *Engine) Held(u Use) error {
	e.orders.mu.Lock()
	defer e.orders.mu.Unlock()
	for _, o := range e.orders.view().Orders {
		if o.Target.covers(u) {
			return &HeldError{o}
		}
	}
	return nil
}

// Orders returns the orders that hold.
func (e *Engine) Orders() []Order {
	e.orders.mu.Lock()
	defer e.orders.mu.Unlock()
	return slices.Clone(e.orders.view().Orders)
}

// Generation is the policy's with what was ended since: tokens of another are not to be handed out
// any more. Stores, and Apps, are to be opened for this one.
func (e *Engine) Generation(policy string) string {
	e.orders.mu.Lock()
	defer e.orders.mu.Unlock()
	return policy + "/" + e.orders.view().Epoch
}

// OnRevoke has end called for each token that an order ends: by one replica for each, where the engine
// is there. It is to tell GitHub, and the audit.
func (e *Engine) OnRevoke(end func(context.Context, secret.Text, Use) error) {
	e.orders.mu.Lock()
	defer e.orders.mu.Unlock()
	e.orders.end = end
}

// The entries, and what replicas tell each other about them.
const (
	bookKey    = "orders"
	outs       = "out."
	revoking   = "revoking."
	newsOrders = "orders"
	newsLeft   = "left"

	bookPause = 500 * time.Millisecond // between two looks at the orders, where no news comes
	longAgo   = 100 * 365 * 24 * time.Hour
)

// news is the subject of what replicas tell each other.
func (e *Engine) news(of string) string { return e.options.Prefix + ".news." + of }

// Give gives an order, to all replicas. It holds when Give returns. Where the engine is away it holds
// on this replica alone, and the error says so.
func (e *Engine) Give(ctx context.Context, t Target, revoke bool, reason string) (Order, error) {
	if err := t.Check(); err != nil {
		return Order{}, err
	}
	o := Order{
		ID: rand.Text()[:12], Target: t, Time: time.Now().UTC().Truncate(time.Second), Reason: reason, Revoke: revoke,
	}
	err := e.amend(ctx, func(b *book) error {
		if slices.ContainsFunc(b.Orders, func(given Order) bool { return given.ID == o.ID }) {
			return nil // it was told before, and only the answer was lost
		}
		b.Orders = append(slices.Clone(b.Orders), o)
		if revoke {
			b.Epoch = o.ID
		}
		return nil
	})
	if revoke {
		e.revokeHeld(ctx)
	}
	return o, err
}

// ErrNoOrder says that no order has an ID.
var ErrNoOrder = errors.New("there is no order with this ID")

// TakeBack takes an order back, by its ID.
func (e *Engine) TakeBack(ctx context.Context, id string) error {
	return e.amend(ctx, func(b *book) error {
		rest := slices.DeleteFunc(slices.Clone(b.Orders), func(o Order) bool { return o.ID == id })
		if len(rest) == len(b.Orders) {
			return ErrNoOrder
		}
		b.Orders = rest
		return nil
	})
}

// amend changes the book, here and in the engine. Where the engine is away the change holds here, and
// is made there when it is back. An error of change leaves the book as it was.
func (e *Engine) amend(ctx context.Context, change func(*book) error) error {
	for range 10 {
		revision, err := e.load(ctx)
		next := e.orders.known()
		if changeErr := change(&next); changeErr != nil {
			return changeErr
		}
		if err == nil {
			next.Version++
			err = e.write(ctx, next, revision)
		}
		switch {
		case errors.Is(err, errTaken):
			continue
		case err != nil:
			e.orders.later(change)
			return fmt.Errorf("the other replicas are not told yet: %w", err)
		}
		e.orders.learn(next)
		_ = e.conn.Publish(e.news(newsOrders), nil) // those who miss it look by themselves
		return nil
	}
	return errTaken
}

// known is the book as the engine has it, as far as this replica knows.
func (o *orders) known() book {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.book
}

// view is the book with the changes that the engine does not know yet. o.mu is held.
func (o *orders) view() book {
	b := o.book
	for _, change := range o.unsaid {
		_ = change(&b) // where it is made already, or can be made no more, it changes nothing
	}
	return b
}

// learn takes a book over that is later than the one that is known.
func (o *orders) learn(b book) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b.Version > o.book.Version {
		o.book = b
	}
}

// later keeps a change until the engine can be told.
func (o *orders) later(change func(*book) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsaid = append(o.unsaid, change)
}

// load reads the book from the engine, and has the later of that and the one that is known in both
// places. It returns the revision of the entry.
func (e *Engine) load(ctx context.Context) (revision uint64, err error) {
	found, err := e.get(ctx, &e.kept, bookKey)
	if err != nil {
		return 0, err
	}
	var theirs book
	for i := range e.keys {
		k := &e.keys[i]
		if value, ok := k.open(k.name(bookKey), found.value); ok && json.Unmarshal(value, &theirs) == nil {
			break
		}
	}
	e.orders.learn(theirs)
	if mine := e.orders.known(); mine.Version > theirs.Version {
		err = e.write(ctx, mine, found.revision)
		if errors.Is(err, errTaken) {
			err = nil // another is quicker, and has the same or a later one
		}
		return found.revision, err
	}
	return found.revision, nil
}

func (e *Engine) write(ctx context.Context, b book, revision uint64) error {
	value, err := json.Marshal(b)
	if err != nil {
		return err
	}
	k := &e.keys[0]
	_, err = e.replace(ctx, &e.kept, bookKey, k.seal(k.name(bookKey), value, time.Now().Add(longAgo)), revision, 0)
	return err
}

// say tells the engine what it was not there for.
func (e *Engine) say(ctx context.Context) {
	e.orders.mu.Lock()
	unsaid := e.orders.unsaid
	e.orders.unsaid = nil
	e.orders.mu.Unlock()
	for _, change := range unsaid {
		// Where that fails it is kept again.
		if err := e.amend(ctx, change); err != nil {
			e.log.Debug("an order is not told to the other replicas yet", "error", err)
		}
	}
}

// follow keeps this replica's book as the engine has it, and the engine's where that has lost it.
func (e *Engine) follow(ctx context.Context) {
	told := make(chan struct{}, 1)
	subscription, err := e.conn.Subscribe(e.news("*"), func(m *nats.Msg) {
		if m.Subject == e.news(newsLeft) {
			e.others.left(string(m.Data))
		}
		select {
		case told <- struct{}{}:
		default:
		}
	})
	if err != nil {
		e.log.Warn("orders of other replicas come late", "error", err)
	} else {
		defer func() { _ = subscription.Unsubscribe() }()
	}
	again := time.NewTicker(bookPause)
	defer again.Stop()
	for n := 0; ; n++ {
		before := e.epoch()
		if _, err := e.load(ctx); err == nil {
			e.say(ctx)
		}
		if e.epoch() != before || n%sweeps == 0 {
			e.revokeHeld(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-told:
		case <-again.C:
		}
	}
}

// sweeps is how many looks at the orders come between two at the tokens that are out.
const sweeps = 10

func (e *Engine) epoch() string {
	e.orders.mu.Lock()
	defer e.orders.mu.Unlock()
	return e.orders.view().Epoch
}

// Remember notes that a token goes out, so that an order can end it. It is noted here in any case; the
// error is that other replicas cannot find it.
func (e *Engine) Remember(ctx context.Context, token secret.Text, u Use) error {
	life := time.Until(u.ExpiresAt)
	if life <= 0 {
		return nil
	}
	sum := sha256.Sum256([]byte(token.Reveal()))
	k := &e.keys[0]
	name := k.name("out", hex.EncodeToString(sum[:]), u.Identity, u.Rule)
	if !e.orders.remember(name, out{token.Reveal(), u}) {
		return nil // it went to the same one before
	}
	value, err := json.Marshal(out{token.Reveal(), u})
	if err != nil {
		return err
	}
	return e.put(ctx, &e.kept, outs+name, k.seal(name, value, u.ExpiresAt), life)
}

// remember keeps a token in memory, and reports whether it is new. What has expired is forgotten.
func (o *orders) remember(name string, token out) (isNew bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, there := o.out[name]; there {
		return false
	}
	if o.out == nil {
		o.out = map[string]out{}
	}
	if n := len(o.out); n > 0 && n%1000 == 0 {
		now := time.Now()
		for name, t := range o.out {
			if t.Use.ExpiresAt.Before(now) {
				delete(o.out, name)
			}
		}
	}
	o.out[name] = token
	return true
}

// revokeHeld ends the tokens that are out and that an order is for.
func (e *Engine) revokeHeld(ctx context.Context) {
	e.orders.mu.Lock()
	end := e.orders.end
	ending := slices.DeleteFunc(slices.Clone(e.orders.view().Orders), func(o Order) bool { return !o.Revoke })
	found := map[string]out{}
	if end != nil && len(ending) > 0 {
		for name, token := range e.orders.out {
			found[name] = token
		}
	}
	e.orders.mu.Unlock()
	if end == nil || len(ending) == 0 {
		return
	}
	err := e.scan(ctx, &e.kept, outs+"*", func(key string, sealed entry) {
		name := strings.TrimPrefix(key, outs)
		for i := range e.keys {
			var token out
			if value, ok := e.keys[i].open(name, sealed.value); ok && json.Unmarshal(value, &token) == nil {
				found[name] = token
			}
		}
	})
	if err != nil && ctx.Err() == nil {
		e.log.Warn("tokens that other replicas have handed out are not known", "error", err)
	}
	var group sync.WaitGroup
	free := make(chan struct{}, 8)
	for name, token := range found {
		covered := slices.ContainsFunc(ending, func(o Order) bool {
			return o.Target.covers(token.Use) && token.Use.ExpiresAt.After(time.Now())
		})
		if !covered {
			continue
		}
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			e.revoke(ctx, name, token, end)
		})
	}
	group.Wait()
}

// revoke ends one token, if no other replica does.
func (e *Engine) revoke(ctx context.Context, name string, token out,
	end func(context.Context, secret.Text, Use) error) {
	claim, err := e.replace(ctx, &e.work, revoking+name, []byte(e.id), 0, 30*time.Second)
	if errors.Is(err, errTaken) {
		return
	}
	if err := end(ctx, secret.New(token.Token), token.Use); err != nil {
		e.log.Error("a token could not be revoked; it is tried again", "of", token.Use.Identity, "error", err)
		if claim > 0 {
			_ = e.drop(ctx, &e.work, claim) // one that stays ends by itself
		}
		return
	}
	e.orders.mu.Lock()
	delete(e.orders.out, name)
	e.orders.mu.Unlock()
	if gone, err := e.get(ctx, &e.kept, outs+name); err == nil && gone.revision > 0 {
		_ = e.drop(ctx, &e.kept, gone.revision)
	}
}
