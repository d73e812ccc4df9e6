//go:build unix

package syncer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// batches ask about many directories of one owner in one question.
type batches struct {
	log *slog.Logger
	of  map[*watch.Target]*directory
	by  map[string]*batch // by the groups of targets
}

// batch is several directories of one owner that are asked about in one question.
type batch struct {
	asker refs.GraphQL

	mu    sync.Mutex
	pause time.Time // until then each is asked about by itself
}

const (
	// leastBatch is from how many repositories of one owner on one question asks for all.
	leastBatch = 10
	// maxBatch is how many repositories a token of one owner is for: 500 at most.
	maxBatch = 400
	// batchPause is how long a question about many is not asked after it has failed.
	batchPause = 10 * time.Minute
)

// newBatches has those of the directories asked in one question that are many of one owner.
func newBatches(directories []*directory, log *slog.Logger) *batches {
	a := &batches{log: log, of: map[*watch.Target]*directory{}, by: map[string]*batch{}}
	list := map[string][]*directory{}
	for _, d := range directories {
		a.of[d.target] = d
		if d.unusable == nil && d.revision.Commit == "" && d.revision.Version == "" {
			key := strings.ToLower(d.tokens.app.Settings().Name + "\x00" + d.asker.Origin + "\x00" + d.repository.Owner)
			list[key] = append(list[key], d)
		}
	}
	for key, all := range list {
		if len(all) < leastBatch {
			continue
		}
		for some := range slices.Chunk(all, maxBatch) {
			name := fmt.Sprint(key, len(a.by))
			var repositories []string
			for _, d := range some {
				repositories = append(repositories, d.repository.String())
				d.target.Group = name
			}
			first := some[0].tokens
			a.by[name] = &batch{asker: refs.GraphQL{
				Source: tokensFor{first, repositories}, Transport: first.app.Current().Transport,
			}}
		}
	}
	return a
}

// askAll asks about many repositories of one owner at once. What one question cannot answer is
// asked about by itself.
func (a *batches) askAll(ctx context.Context, targets []*watch.Target) []watch.Answer {
	answers := make([]watch.Answer, len(targets))
	var asked errgroup.Group
	asked.SetLimit(watch.MaxQuestions)
	for _, i := range a.askBatch(ctx, targets, answers) {
		asked.Go(func() error {
			answers[i].Desired, answers[i].Err = targets[i].Ask(ctx)
			return nil
		})
	}
	_ = asked.Wait()
	return answers
}

// askBatch asks one question about many, and returns those that it does not answer. One
// repository that the App does not reach keeps GitHub from making a token for all of them; then
// each is asked about by itself for a while, and tells its own trouble.
func (a *batches) askBatch(ctx context.Context, targets []*watch.Target, answers []watch.Answer) (unanswered []int) {
	b := a.by[targets[0].Group]
	var list []refs.Answer
	if !b.paused() {
		var questions []refs.Question
		for _, target := range targets {
			d := a.of[target]
			questions = append(questions, refs.Question{Repository: d.currentName(), Revision: d.revision})
		}
		var err error
		if list, err = b.asker.Ask(ctx, questions); err != nil {
			a.log.Info("many repositories are asked about one by one", "directories", len(targets), "error", err)
			b.pauseFor(batchPause)
			list = nil
		}
	}
	for i, target := range targets {
		if list == nil || list[i].Err != nil {
			// The git service, which is asked next, has the last word.
			unanswered = append(unanswered, i)
			continue
		}
		answers[i].Desired = a.of[target].desired(list[i].Found)
	}
	return unanswered
}

func (b *batch) paused() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.pause)
}

func (b *batch) pauseFor(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pause = time.Now().Add(d)
}
