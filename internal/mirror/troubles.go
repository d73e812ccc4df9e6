package mirror

import (
	"cmp"
	"path/filepath"
	"time"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/notify"
)

// trouble is what can fail: a repository, by its ID, or what an installation's account reaches; the
// zero value is everything.
type trouble struct {
	id      int64
	account string
}

// troubles are what fails in a directory. Its keeper's lock is held.
type troubles struct{ failing map[trouble]bool }

// set notes how something has ended, and returns what is to be told where that is new.
func (t *troubles) set(what trouble, failed bool) (news notify.What) {
	was := t.failing[what]
	switch {
	case failed && !was:
		t.failing[what] = true
		return notify.Failed
	case !failed && was:
		delete(t.failing, what)
		return notify.Recovered
	}
	return ""
}

// onEnded is told what became of one mirror.
func (k *keeper) onEnded(out Outcome) {
	k.busy.Add(-1)
	r := out.Record
	log := k.log().With("repository", r.Name)
	switch {
	case out.Err != nil:
		report := diag.Explain(out.Err)
		log.Error("failed; the mirror stays as it was", "error", report.Message, "hint", report.Hint, "kind", report.Kind)
	case out.Result.First:
		log.Info("mirrored", "bytes", out.Result.Bytes, "took", out.Took.Round(time.Millisecond))
	case out.Result.Changed || out.Wiki.Changed:
		log.Info("up to date", "bytes", out.Result.Bytes+out.Wiki.Bytes, "kept", out.Result.Forced+out.Result.Deleted,
			"took", out.Took.Round(time.Millisecond))
	default:
		log.Debug("nothing to do", "took", out.Took.Round(time.Millisecond))
	}
	k.tell(trouble{id: r.ID}, r.Name, r.Path, out.Err)
}

// told tells of a pass.
func (k *keeper) told(r *Report, err error) {
	k.w.snapshot.forget() // whoever looks after this has been told sees it
	log := k.log()
	if failed := cmp.Or(err, r.None); failed != nil {
		report := diag.Explain(failed)
		log.Error("the pass failed; the mirrors stay as they were", "error", report.Message, "hint", report.Hint,
			"kind", report.Kind)
	} else {
		log.Debug("a pass has ended", "mirrors", r.Mirrors, "changed", r.Changed, "failed", len(r.Failed), "took", r.Took)
	}
	if err != nil {
		k.tell(trouble{}, "", "", err)
		return
	}
	if r.Stopped != nil {
		k.stopped(r.Stopped)
	} else {
		k.tell(trouble{}, "", "", r.None)
	}
	accounts := map[string]error{}
	for _, f := range r.Failed {
		if f.Repository == "" {
			accounts[f.Account] = f.Err
			report := diag.Explain(f.Err)
			log.Error("an installation fails; its mirrors stay as they were", "account", f.Account,
				"error", report.Message, "hint", report.Hint, "kind", report.Kind)
		}
	}
	k.accounts(accounts)
	for _, g := range r.Gone {
		k.forget(g.ID) // it is not tried any more
		k.send(notify.Gone, g.Name, g.Path, nil)
	}
	for _, g := range r.Pruned {
		k.send(notify.Pruned, g.Name, g.Path, nil)
	}
}

// stopped tells why a pass or an update has not come to its end. The next pass that does is well again.
func (k *keeper) stopped(err error) {
	report := diag.Explain(err)
	k.log().Error("it has stopped before its end; what was not reached stays as it was", "error", report.Message,
		"hint", report.Hint, "kind", report.Kind)
	k.tell(trouble{}, "", "", err)
}

// accounts tells of installations that fail, and of those that do not any more.
func (k *keeper) accounts(failed map[string]error) {
	k.mu.Lock()
	var well []string
	for t := range k.failing {
		if _, fails := failed[t.account]; !fails && t.account != "" {
			well = append(well, t.account)
		}
	}
	k.mu.Unlock()
	for _, name := range well {
		k.tell(trouble{account: name}, name, "", nil)
	}
	for name, err := range failed {
		k.tell(trouble{account: name}, name, "", err)
	}
}

// forget has nothing fail of a repository.
func (k *keeper) forget(id int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.failing, trouble{id: id})
}

// tell tells the receiver of something that fails, or is well again, where that is new.
func (k *keeper) tell(t trouble, what, path string, err error) {
	k.mu.Lock()
	news := k.set(t, err != nil)
	k.mu.Unlock()
	if news == notify.Recovered {
		log := k.log()
		switch {
		case t.account != "":
			log = log.With("account", what)
		case what != "":
			log = log.With("repository", what)
		}
		log.Info("well again")
	}
	if news != "" {
		k.send(news, what, path, err)
	}
}

func (k *keeper) send(news notify.What, what, path string, err error) {
	e := notify.Event{
		What: news, Target: k.name(), Repository: what, Directory: filepath.Join(k.dir, path),
		At: time.Now().UTC().Truncate(time.Second),
	}
	if err != nil {
		report := diag.Explain(err)
		e.Error = &report
	}
	k.w.daemon.Notices.Send(e, k.log())
}
