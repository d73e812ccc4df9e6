package hook

import (
	"container/list"
	"sync"
	"time"
)

const (
	// rememberFor is how long GitHub lets a delivery be sent again.
	// https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
	rememberFor = 72 * time.Hour
	// maxRemembered is how many deliveries are remembered; at some 200 bytes each that is less than 1 MB.
	maxRemembered = 4096
)

// identity is what makes two deliveries one. GitHub does not sign the GUID, so that it alone is not enough: who has
// caught one signed body could spend the GUIDs of others with it.
type identity struct {
	guid      string
	signature signature
}

// delivery is one whose work is under way, or done.
type delivery struct {
	identity
	begun time.Time
	done  bool
	place *list.Element // nil once it is forgotten
}

// deliveries remembers them. The zero value remembers none.
type deliveries struct {
	mu    sync.Mutex
	known map[identity]*delivery
	order list.List // of *delivery, the oldest first
}

// begin returns a delivery that is new, or known is true, and done says whether its work is.
func (d *deliveries) begin(id identity) (_ *delivery, known, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for d.order.Len() > 0 {
		oldest := d.order.Front().Value.(*delivery)
		if now.Sub(oldest.begun) < rememberFor {
			break
		}
		d.remove(oldest)
	}
	if e := d.known[id]; e != nil {
		return e, true, e.done
	}
	if d.order.Len() >= maxRemembered {
		d.remove(d.order.Front().Value.(*delivery))
	}
	if d.known == nil {
		d.known = map[identity]*delivery{}
	}
	e := &delivery{identity: id, begun: now}
	e.place = d.order.PushBack(e)
	d.known[id] = e
	return e, false, false
}

// end takes the outcome of a delivery's work: what failed is forgotten. Only the first outcome counts.
func (d *deliveries) end(e *delivery, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.done {
		return
	}
	e.done = true
	if err != nil {
		d.remove(e)
	}
}

// forget takes a delivery for one that never came.
func (d *deliveries) forget(e *delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remove(e)
}

func (d *deliveries) remove(e *delivery) {
	if e.place == nil {
		return
	}
	d.order.Remove(e.place)
	e.place = nil
	delete(d.known, e.identity)
}
