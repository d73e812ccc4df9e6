//go:build unix

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/mirror"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// mirrorDirs are the directories of names in the config file, or of paths, which have a slash in
// them; of none, all that the file names. There are mirrors in each: one that lacks them is an error,
// since its disk may not be mounted, and nothing would be wrong with no mirrors.
func (c *command) mirrorDirs(names []string) ([]string, error) {
	var known []config.Mirror
	loaded, err := c.apps().Load()
	if err == nil {
		known = loaded.Mirrors()
	}
	if len(names) == 0 {
		if err != nil {
			return nil, err
		}
		if len(known) == 0 {
			return nil, errNoMirrors()
		}
		names = namesOf(known)
	}
	var dirs []string
	for _, name := range names {
		var dir string
		at := slices.IndexFunc(known, func(m config.Mirror) bool { return m.Name == name })
		if at >= 0 {
			dir = known[at].To
		} else if dir, err = filepath.Abs(name); err != nil {
			return nil, err
		}
		if err := mirror.CheckMirrors(dir); err != nil {
			if at >= 0 {
				return nil, &fault.SettingError{Err: fmt.Errorf("mirror %q of the config file: %w", name, err),
					Hint: "its disk is not mounted, or `ghapp mirror " + text.ShellWord(name) + "` was never run; " +
						"name the other mirrors to go on without it"}
			}
			return nil, &fault.UsageError{Err: err,
				Hint: "`ghapp mirror --to DIR` begins to; a mirror of the config file is named as it is there"}
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

func errNoMirrors() error {
	return &fault.UsageError{Err: errors.New("the config file names no mirror; give the directory here")}
}

// namesOf are those of mirrors of the config file.
func namesOf(list []config.Mirror) (names []string) {
	for _, m := range list {
		names = append(names, m.Name)
	}
	return names
}

// mirrorState is one mirror, for programs.
type mirrorState struct {
	Repository string `json:"repository"`
	ID         int64  `json:"id"`
	Directory  string `json:"directory"` // "" before the first fetch
	// State is current, waiting, failed, history-lost, left-out, unknown, what verify has found, or why it is not
	// kept up to date any more.
	State     string          `json:"state"`
	Since     *time.Time      `json:"since,omitempty"` // State, of what is gone
	Seen      *time.Time      `json:"seen_at,omitempty"`
	Compared  *time.Time      `json:"compared_at,omitempty"`
	Changed   *time.Time      `json:"changed_at,omitempty"`
	Pushed    *time.Time      `json:"pushed_at,omitempty"`
	Bytes     int64           `json:"bytes"`
	Kept      int             `json:"kept_refs"`
	KeptSince *time.Time      `json:"kept_since,omitempty"`
	Archived  bool            `json:"archived,omitempty"`
	LFS       *mirror.Large   `json:"lfs,omitempty"`
	Wiki      *wikiState      `json:"wiki,omitempty"`
	Failure   *mirror.Failure `json:"failure,omitempty"`

	gone    bool
	finding mirror.Finding // that State is; "": it is another
}

// wikiState is that of a wiki.
type wikiState struct {
	Directory string          `json:"directory"`
	State     mirror.Finding  `json:"state,omitempty"` // what verify has found
	Compared  *time.Time      `json:"compared_at,omitempty"`
	Bytes     int64           `json:"bytes"`
	LFS       *mirror.Large   `json:"lfs,omitempty"`
	Failure   *mirror.Failure `json:"failure,omitempty"`
}

// dirState is one directory of mirrors, for programs.
type dirState struct {
	Directory     string                 `json:"directory"`
	Host          string                 `json:"host"`
	Installations []*mirror.Installation `json:"installations"`
	LastPass      *mirror.LastPass       `json:"last_pass,omitempty"`
	Mirrors       []mirrorState          `json:"mirrors"`
	Failed        int                    `json:"failed"`
	Bytes         int64                  `json:"bytes"`
}

func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// readMirrors reads what is known of a directory.
func (c *command) readMirrors(dir string) (*dirState, error) {
	state, err := mirror.Read(dir, c.apps().Log)
	if err != nil {
		return nil, err
	}
	d := &dirState{Directory: dir, Host: state.Host, Installations: []*mirror.Installation{}, Mirrors: []mirrorState{},
		LastPass: state.LastPass}
	if d.LastPass != nil {
		d.Failed += len(d.LastPass.Owners)
		if d.LastPass.Failure != nil {
			d.Failed++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(state.Installations)) {
		i := state.Installations[id]
		d.Installations = append(d.Installations, i)
		if i.Failure != nil {
			d.Failed++
		}
	}
	for _, r := range state.Repositories {
		if r.Left && r.Path == "" {
			continue // it was never to be kept
		}
		m := newMirrorState(dir, r)
		if i := state.Installations[r.Installation]; i != nil && r.Gone == nil {
			m.Seen = at(i.ListedAt)
		}
		if state.Scanned && r.Gone == nil {
			m.State = "unknown"
		}
		found := m.takeFindings(dir)
		d.Bytes += m.Bytes
		if m.Wiki != nil {
			d.Bytes += m.Wiki.Bytes
		}
		if m.State == "failed" || m.State == "history-lost" || found {
			d.Failed++
		}
		d.Mirrors = append(d.Mirrors, m)
	}
	slices.SortFunc(d.Mirrors, func(a, b mirrorState) int {
		return cmp.Or(strings.Compare(a.Repository, b.Repository), cmp.Compare(a.ID, b.ID))
	})
	return d, nil
}

func newMirrorState(dir string, r *mirror.Record) mirrorState {
	m := mirrorState{
		Repository: r.Name, ID: r.ID, State: "current", Compared: at(r.Code.ComparedAt), Changed: at(r.Code.ChangedAt),
		Pushed: at(r.PushedAt), Bytes: r.Code.Bytes, Kept: r.Code.Kept, KeptSince: at(r.Code.KeptSince),
		Archived: r.Archived, LFS: largeState(r.Code.Large), gone: r.Gone != nil,
	}
	if r.Path != "" {
		m.Directory = filepath.Join(dir, r.Path)
	}
	m.Failure = cmp.Or(r.Code.Failure, r.Code.Lost.Failure(m.Directory))
	if r.Path != "" && r.WikiKept(dir) || r.Wiki.Failure != nil {
		m.Wiki = &wikiState{Directory: strings.TrimSuffix(m.Directory, ".git") + ".wiki.git",
			Compared: at(r.Wiki.ComparedAt), Bytes: r.Wiki.Bytes, LFS: largeState(r.Wiki.Large)}
		m.Wiki.Failure = cmp.Or(r.Wiki.Failure, r.Wiki.Lost.Failure(m.Wiki.Directory))
	}
	switch {
	case r.Lost != nil:
		m.State, m.Failure = "failed", r.Lost
	case r.Gone != nil:
		m.State, m.Since, m.Failure = string(r.Gone.Reason), at(r.Gone.Since), nil
	case r.Left:
		m.State, m.Failure = "left-out", nil
	case r.Failing():
		m.State = "failed"
	case r.Code.Lost != nil || r.Wiki.Lost != nil:
		m.State = "history-lost"
	case r.Path == "":
		m.State = "waiting"
	}
	return m
}

// takeFindings takes what verify has found, of a mirror that is kept up to date, and reports whether something is
// wrong there: refs that differ may only have been pushed since.
func (m *mirrorState) takeFindings(dir string) (wrong bool) {
	if m.Wiki != nil {
		m.Wiki.State = mirror.FindingOf(dir, m.ID, true)
		wrong = m.Wiki.State != "" && m.Wiki.State != mirror.Differs
	}
	found := mirror.FindingOf(dir, m.ID, false)
	if found == "" || m.State != "current" && m.State != "unknown" {
		return wrong
	}
	m.State, m.finding = string(found), found
	return wrong || found != mirror.Differs
}

// largeState is how large files are; nil where they are not kept.
func largeState(l mirror.Large) *mirror.Large {
	if l.ComparedAt.IsZero() {
		return nil
	}
	return &l
}

// reasonText says why a mirror is not kept up to date any more, and since when.
func reasonText(g *mirror.Gone) string {
	return map[mirror.Reason]string{
		mirror.NotFound:    "GitHub does not have it any more, or the installation does not reach it",
		mirror.NotSelected: "the installation does not reach it any more",
		mirror.Blocked:     "GitHub keeps it from everybody for legal reasons",
		mirror.Unlisted:    "it is not listed any more",
		mirror.Suspended:   "the installation is suspended",
		mirror.Uninstalled: "the App is not installed there any more",
	}[g.Reason] + ", since " + g.Since.UTC().Format(time.DateOnly)
}

func (c *command) mirrorList() *cobra.Command {
	gone := false
	cmd := &cobra.Command{
		Use:   "list [NAME|DIR...]",
		Short: "List the mirrors, and those whose repository is gone",
		Long: `Lists the mirrors of a directory, or of all mirrors in the config file, with where they
are. With --gone those alone that are not kept up to date any more: since GitHub does not have
their repository, the installation does not reach it, or is suspended. Nothing is asked of
GitHub.`,
		Example: `  ghapp mirror list /srv/mirrors
  ghapp mirror list --gone`,
		Args: usage(cobra.ArbitraryArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			dirs, err := c.mirrorDirs(args)
			if err != nil {
				return err
			}
			list := []mirrorState{}
			rows := [][]string{{"REPOSITORY", "ID", "STATE", "SINCE", "MIRROR"}}
			for _, dir := range dirs {
				d, err := c.readMirrors(dir)
				if err != nil {
					return err
				}
				for _, m := range d.Mirrors {
					if gone && !m.gone {
						continue
					}
					list = append(list, m)
					rows = append(rows, []string{
						m.Repository, strconv.FormatInt(m.ID, 10), m.State, dateOf(m.Since), term.OrDash(m.Directory),
					})
				}
			}
			switch {
			case c.json:
				return term.JSON(c.Stdout, list)
			case len(list) == 0 && gone:
				c.progress("No mirror's repository is gone.")
				return nil
			}
			return term.Table(c.Stdout, rows)
		},
	}
	cmd.Flags().BoolVar(&gone, "gone", false, "those alone that are not kept up to date any more")
	return cmd
}

func dateOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func (c *command) mirrorStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME|DIR...]",
		Short: "Show how each mirror is: its age, size and kept history, and what failed",
		Long: `Shows of each mirror when it was last compared with GitHub and when it last changed, its
size, how many refs are kept of what a force push or a deleted branch left behind, and why
it failed, and how the last pass ended. Nothing is asked of GitHub, and a watch may be running.

Exits with 0 where all are as they should be, and with 1 where something has failed.`,
		Example: `  ghapp mirror status
  ghapp mirror status /srv/mirrors --json`,
		Args: usage(cobra.ArbitraryArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			dirs, err := c.mirrorDirs(args)
			if err != nil {
				return err
			}
			list := []*dirState{}
			for _, dir := range dirs {
				d, err := c.readMirrors(dir)
				if err != nil {
					return err
				}
				list = append(list, d)
			}
			return c.showMirrors(list)
		},
	}
}

// showMirrors prints directories of mirrors.
func (c *command) showMirrors(list []*dirState) error {
	failed, now := 0, time.Now()
	rows := [][]string{{"REPOSITORY", "STATE", "COMPARED", "CHANGED", "SIZE", "KEPT"}}
	for _, d := range list {
		failed += d.Failed
		for _, m := range d.Mirrors {
			rows = append(rows, []string{
				m.Repository, m.State, ageOf(m.Compared, now), ageOf(m.Changed, now), sizeOf(m.Bytes), keptOf(m, now),
			})
			if m.Wiki != nil {
				rows = append(rows, []string{
					m.Repository + ".wiki", string(m.Wiki.State), ageOf(m.Wiki.Compared, now), "", sizeOf(m.Wiki.Bytes), "",
				})
			}
		}
	}
	if c.json {
		if err := term.JSON(c.Stdout, list); err != nil {
			return err
		}
	} else {
		if err := term.Table(c.Stdout, rows); err != nil {
			return err
		}
		for _, d := range list {
			c.tellState(d, now)
		}
	}
	if failed > 0 {
		return &examinedExit{fault.Failed}
	}
	return nil
}

// tellState tells what stands in no column: causes and cures, and the sums.
func (c *command) tellState(d *dirState, now time.Time) {
	tell := func(name string, f *mirror.Failure) {
		if f == nil {
			return
		}
		line := fmt.Sprintf("%s has failed since %s: %s", name, f.Since.Format(time.DateTime), f.Message)
		if f.Tries > 1 {
			line += fmt.Sprintf(" (%d times)", f.Tries)
		}
		if now.Before(f.Again) {
			line += "; a watch tries again " + f.Again.UTC().Format(time.DateTime)
		}
		c.progress("%s", line)
		if f.Hint != "" {
			c.progress("  %s", f.Hint)
		}
	}
	for _, i := range d.Installations {
		tell(i.Account, i.Failure)
	}
	for _, m := range d.Mirrors {
		c.tellFinding(m.Repository, m.finding)
		tell(m.Repository, m.Failure)
		if m.LFS != nil && m.State == "failed" {
			tell(m.Repository, m.LFS.Failure)
		}
		if m.Wiki != nil {
			c.tellFinding(m.Repository+".wiki", m.Wiki.State)
			tell(m.Repository+".wiki", m.Wiki.Failure)
			if m.Wiki.LFS != nil {
				tell(m.Repository+".wiki", m.Wiki.LFS.Failure)
			}
		}
	}
	if last := d.LastPass; last != nil {
		for _, o := range last.Owners {
			tell(o.Account, o.Failure)
		}
		tell("The pass over "+d.Directory, last.Failure)
		c.progress("%s: the last pass began %s and took %s: %s.", d.Directory, ageOf(&last.BeganAt, now),
			time.Duration(last.Seconds*float64(time.Second)).Round(10*time.Millisecond), last.Outcome)
	}
	c.progress("%s: %s, %s, %d failed.", d.Directory, countMirrors(len(d.Mirrors)), text.Size(d.Bytes), d.Failed)
}

// tellFinding tells what verify has found, and what next.
func (c *command) tellFinding(name string, found mirror.Finding) {
	next := map[mirror.Finding]string{
		mirror.Damaged: "a mirror that is damaged; the next run of `ghapp mirror` makes it anew",
		mirror.HistoryLost: "that some of the history that was kept is lost; bring it back from a copy, " +
			"or have `ghapp mirror --full` go on without",
		mirror.Lacking: "large files that are missing or damaged; the next run of `ghapp mirror --lfs` fetches them",
		mirror.Differs: "other refs than on GitHub; the next run of `ghapp mirror` compares it",
	}[found]
	if next != "" {
		c.progress("%s: `ghapp mirror verify` has found %s.", name, next)
	}
}

func sizeOf(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return text.Size(bytes)
}

// ageOf is how long ago something was, as people say it.
func ageOf(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	switch age := now.Sub(*t); {
	case age < time.Minute:
		return fmt.Sprintf("%ds ago", max(int(age.Seconds()), 0))
	case age < time.Hour:
		return fmt.Sprintf("%dm ago", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(age.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(age.Hours()/24))
	}
}

func keptOf(m mirrorState, now time.Time) string {
	if m.Kept == 0 {
		return "-"
	}
	return fmt.Sprintf("%d, first %s", m.Kept, ageOf(m.KeptSince, now))
}
