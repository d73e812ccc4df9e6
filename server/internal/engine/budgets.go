package engine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
)

// InstallationBudget is the budget of an installation that this replica has got tokens of.
type InstallationBudget struct {
	App          string // its host and ID: api.github.com/Iv23li...
	Installation int64
	Budget
}

// maxServed is how many installations are told of: more than an App's owner looks at one by one.
const maxServed = 200

// served are the installations that this replica has got tokens of. The zero value is none.
type served struct {
	mu  sync.Mutex
	all map[servedInstallation]bool
}

type servedInstallation struct {
	app string
	id  int64
}

func (s *served) add(app string, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[servedInstallation]bool{}
	}
	if len(s.all) < maxServed {
		s.all[servedInstallation{app, id}] = true
	}
}

func (s *served) list() []servedInstallation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.all), func(a, b servedInstallation) int {
		return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.id, b.id))
	})
}

// Budgets are what any replica has seen of the budgets of the installations that this one has got
// tokens of. One of which nothing has been seen within its hour is left out.
func (e *Engine) Budgets(ctx context.Context) []InstallationBudget {
	var list []InstallationBudget
	for _, of := range e.served.list() {
		if e.away.Load() != nil || ctx.Err() != nil {
			break // one wait for all of them
		}
		if b, ok := e.Budget(ctx, of.app, of.id); ok {
			list = append(list, InstallationBudget{of.app, of.id, b})
		}
	}
	return list
}
