package barerepo

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// salvage reads what can be read of the refs of a damaged repository. What was kept and is in no ref any
// more is added as the journal has it, and what nothing tells of stands in the state's unread. format is
// that of the objects where the configuration cannot be read. The error is that of ctx.
func (r *run) salvage(ctx context.Context, format string) (*state, error) {
	s := &state{format: format, refs: map[string]string{}, salvaging: true}
	config, err := readFile(r.path("config"))
	if err == nil && variable(config, "core", "repositoryFormatVersion") != "" {
		s.format = formatOf(config)
	}
	if err := r.readRefs(ctx, s); err != nil {
		_ = s.amiss("refs", err)
	}
	packs, err := filepath.Glob(globQuoted(r.path("objects", "pack")) + "/*.pack")
	if _, missing := os.Lstat(r.path("packed-refs")); missing != nil && !s.reftable && len(packs) > 0 && err == nil {
		_ = s.amiss("packed-refs", missing) // every mirror that has objects has had that file from the first
	}
	for name := range s.refs {
		if checkRefName(name) != nil { // as of half a line
			delete(s.refs, name)
		}
	}
	_, entries, err := readEntries(r.Dir)
	if err != nil {
		_ = s.amiss(filepath.Base(journal(r.Dir)), err)
	}
	s.supplement(entries)
	return s, ctx.Err()
}

// amiss is told of a part of the refs that cannot be read, and returns the error, unless what can be read
// is to be salvaged.
func (s *state) amiss(part string, err error) error {
	if err == nil || !s.salvaging {
		return err
	}
	if !slices.Contains(s.unread, part) {
		s.unread = append(s.unread, part)
	}
	return nil
}

// supplement adds what the journal tells of and no ref has: HEAD, and what refs have left behind. Whether
// that was kept, or is part of what the ref stood for next, is yet to be found out.
func (s *state) supplement(entries []Entry) {
	for _, e := range entries {
		name := keptName(e.Time, e.Ref)
		_, there := s.refs[name]
		switch {
		case e.Ref == "HEAD":
			if s.headless && checkRefName(e.New) == nil {
				s.head = e.New // the last one counts
			}
		case !there && checkRefName(name) == nil && isID(e.Old, s.format):
			s.refs[name] = e.Old
			s.recalled = append(s.recalled, moved{name, e.Old, e.New})
		}
	}
}

// unkept takes out of refs what was recalled and had not been kept: the ref was moved forward.
func (u *update) unkept(refs map[string]string, recalled []moved) error {
	var moves []moved
	var ids []string
	for _, m := range recalled {
		_, wanted := refs[m.name]
		if wanted && m.new != "" && !strings.Contains(m.name, "/tags/") { // those are kept however they move
			moves = append(moves, m)
			ids = append(ids, m.new)
		}
	}
	missing, err := u.missing(ids)
	if err != nil {
		return err
	}
	moves = slices.DeleteFunc(moves, func(m moved) bool { return slices.Contains(missing, m.new) })
	forward, err := u.forward(moves, nil)
	for name := range forward {
		delete(refs, name)
	}
	return err
}

// beginning is since when a journal tells what a repository had, as far as what is left of its
// configuration says so, and else since the journal's first line. It is zero where there is none.
func beginning(dir string) time.Time {
	config, _ := readFile(filepath.Join(dir, "config"))
	if since, err := time.Parse(time.RFC3339, variable(config, "ghapp", "since")); err == nil {
		return since
	}
	begun, entries, err := readEntries(dir)
	if err != nil || !begun.IsZero() || len(entries) == 0 {
		return begun
	}
	return entries[0].Time
}
