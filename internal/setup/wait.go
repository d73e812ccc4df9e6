package setup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ghapp-dev/ghapp"
)

const (
	// firstPause is between the first questions for the installation; the pauses grow
	// up to longestPause.
	firstPause   = 2 * time.Second
	longestPause = 10 * time.Second
	// nudgePause is the pause once the browser has come back.
	nudgePause = 300 * time.Millisecond
	// youth is how long a refusal is borne with: all of GitHub may not know yet an
	// App that was made just now.
	youth = time.Minute
)

// await asks GitHub until the App is installed.
func (f *Flow) await(ctx context.Context) (*ghapp.InstallationInfo, error) {
	began := time.Now()
	pause := firstPause
	for {
		found, err := f.steps.Installation(ctx)
		switch {
		case err == nil && found != nil:
			return found, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && !passing(err) && time.Since(began) > youth:
			return nil, err
		case time.Since(began) > installLife:
			return nil, fmt.Errorf("wait for the App to be installed: %w", ErrLate)
		case err != nil:
			f.log.Info("asking for the installation failed; asking again", "error", err)
		}
		// Spread, so that many who began at once do not go on so.
		select {
		case <-time.After(pause*3/4 + rand.N(pause/2)):
			pause = min(pause*5/4, longestPause)
		case <-f.nudge:
			pause = firstPause
			time.Sleep(nudgePause) // at least, however often it comes
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// passing reports whether an error may end by itself.
func passing(err error) bool {
	return errors.Is(err, ghapp.ErrUnreachable) || errors.Is(err, ghapp.ErrRateLimited)
}
