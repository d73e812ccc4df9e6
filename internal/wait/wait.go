// Package wait waits, and not beyond the end of a context.
package wait

import (
	"context"
	"time"
)

// Patience is how long a person waits without being told what for.
const Patience = 3 * time.Second

// Sleep waits for d, or until ctx ends. The error is the cause of that end, and nil
// where d has passed.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
