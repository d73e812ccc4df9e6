package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SyncOption is one row of the table of what can be said to `ghapp sync`. The flags, their
// help, the variables, the keys of the config file and the documentation all come from it,
// so that a value that one of them takes is taken by every other.
type SyncOption struct {
	// Key is its key in the config file, under sync: NAME:, and the name of its field in
	// [Sync] or [SyncProcess]. The file has no key for what is about the process.
	Key string
	// Short is the flag's letter, or "".
	Short string
	// Env is its variable, where that is not GHAPP_SYNC_ and the key in capitals.
	Env string
	// Kind says what a value is.
	Kind OptionKind
	// Least and Most bound a number, and a duration in nanoseconds. 0: no bound.
	Least, Most int64
	// Values are those that a text may have; nil: any.
	Values []string
	// Takes says what the file wants for a list.
	Takes string
	// Process: it is about the process, and not about one directory.
	Process bool
	// Watching: it means something only to a process that goes on.
	Watching bool
	// Own: it says which directory this is, and cannot be the same for several.
	Own bool
	// Emptied: one directory may say "" in the config file, for nothing where the defaults say
	// something.
	Emptied bool
	// Help is one line for people, without a full stop. A word in backquotes is what the
	// flag takes.
	Help string
}

// OptionKind is what a value of a [SyncOption] is.
type OptionKind int

// The kinds of values.
const (
	TextOption     OptionKind = iota
	PathOption                // of a file or directory
	NumberOption              // from Least on
	DurationOption            // such as 30s
	SwitchOption              // true or false
	ListOption                // texts, separated by commas
	PathsOption               // paths, in a variable separated as in PATH
)

const (
	// ShortestPeriod is the least that a duration may be: GitHub is not to be asked without
	// a pause.
	ShortestPeriod = 100 * time.Millisecond
	// longestPeriod is the most. Who wants more wants something else.
	longestPeriod = 366 * 24 * time.Hour
	// mostNumber bounds a number: more of anything here is a slip of the finger.
	mostNumber = 1_000_000
)

// SyncProcess is what can be said of the process, and not of one directory.
type SyncProcess struct {
	All, Force, Watch                   bool
	Webhook, Status                     string // addresses
	StatusHosts                         []string
	WebhookSecretFiles, SyncSecretFiles []string
	Notify, NotifySecretFile            string
	Jobs                                int
	LogFormat                           string
}

// SyncOptions returns the table, in the order in which people read it.
func SyncOptions() []SyncOption {
	number := func(key, help string) SyncOption {
		return SyncOption{Key: key, Kind: NumberOption, Least: 1, Most: mostNumber, Help: help}
	}
	duration := func(key, help string) SyncOption {
		return SyncOption{
			Key: key, Kind: DurationOption, Least: int64(ShortestPeriod), Most: int64(longestPeriod), Help: help,
		}
	}
	period := duration("period", "with --watch: the time between two questions (default 1m0s)")
	period.Watching = true
	jobs := number("jobs", "how many directories are brought up to date at the same time (default 4)")
	jobs.Process = true
	return []SyncOption{
		{Key: "repository", Own: true, Help: "the repository: owner/name, or an address"},
		{Key: "branch", Short: "b", Help: "the branch to be at; the default branch where nothing is said"},
		{Key: "tag", Help: "the tag to be at"},
		{Key: "commit", Help: "the commit to be at, 40 hexadecimal digits"},
		{Key: "version", Help: "the highest tag that is a semantic version and fits this, such as '*' or '^1.4'"},
		{Key: "to", Kind: PathOption, Own: true, Help: "the `DIR` to keep"},
		{
			Key: "mode", Values: []string{"link", "dir"},
			Help: "link: DIR is a symbolic link (the default); dir: a directory, exchanged in one step",
		},
		number("keep", "how many releases stay, for rollback (default 3)"),
		{
			Key: "share", Values: []string{"reflink", "link", "none"},
			Help: "how `FILES` that have not changed are shared with the release before: " +
				"reflink, where the file system can (the default); " +
				"link, by hard links elsewhere, which is for files that nobody writes to; none",
		},
		{
			Key: "trust_parent", Kind: SwitchOption,
			Help: "keep DIR although other users may write in the directory above, such as a volume of Kubernetes",
		},
		period,
		number("depth", "how many commits of the history are fetched (default 1)"),
		{Key: "filter", Emptied: true, Help: "leave objects out until they are needed, such as blob:none"},
		{
			Key: "sparse", Kind: ListOption, Takes: "a list of paths, such as [docs, site/public]",
			Help: "only these `PATHS`, files or directories; separated by commas",
		},
		{Key: "submodules", Kind: SwitchOption, Help: "check out submodules too, and theirs"},
		{Key: "lfs", Kind: SwitchOption, Help: "the large files of Git LFS instead of their pointers"},
		{
			Key: "fsck_ignore", Kind: ListOption, Takes: "a list of checks of git's, such as [zeroPaddedDate]",
			Help: "leave these `CHECKS` of git's out, such as duplicateEntries; separated by commas",
		},
		{Key: "verify_signatures", Kind: SwitchOption, Help: "publish only commits with a signature that git accepts"},
		{
			Key: "allowed_signers", Kind: PathOption, Emptied: true,
			Help: "the `FILE` of ssh keys that may sign (ssh-keygen(1), ALLOWED SIGNERS)",
		},
		{Key: "check", Emptied: true, Help: "a `COMMAND` that must succeed in the new release before it is published"},
		duration("check_timeout", "how long the check may take (default 5m0s)"),
		{Key: "exec", Emptied: true, Help: "a `COMMAND` to run in DIR once it is published"},
		duration("exec_timeout", "how long the command may take (default 5m0s)"),
		number("exec_tries", "how often the command is run until it succeeds (default 1)"),

		{Key: "all", Kind: SwitchOption, Process: true, Help: "all directories of the config file"},
		{Key: "force", Kind: SwitchOption, Process: true, Help: "build and publish anew what is published already"},
		{Key: "watch", Short: "w", Kind: SwitchOption, Process: true, Help: "go on until interrupted"},
		{
			Key: "webhook", Process: true, Watching: true,
			Help: "with --watch: take GitHub's webhook at this `ADDRESS`, under /webhook, and POST /sync, over plain HTTP",
		},
		{
			Key: "webhook_secret_file", Env: "GHAPP_WEBHOOK_SECRET_FILE", Kind: PathsOption, Process: true, Watching: true,
			Help: "the `FILE` of the webhook's secret (GHAPP_WEBHOOK_SECRET_FILE, or GHAPP_WEBHOOK_SECRET); " +
				"twice while it is replaced",
		},
		{
			Key: "sync_secret_file", Env: "GHAPP_SYNC_SECRET_FILE", Kind: PathsOption, Process: true, Watching: true,
			Help: "the `FILE` of the secret that opens POST /sync (GHAPP_SYNC_SECRET_FILE, or GHAPP_SYNC_SECRET)",
		},
		{
			Key: "status", Process: true, Watching: true,
			Help: "with --watch: serve /healthz, /readyz and /metrics at this `ADDRESS`, which may be that of --webhook",
		},
		{
			Key: "status_host", Kind: ListOption, Process: true, Watching: true,
			Help: "a `NAME` by which --status is asked, besides addresses, localhost and the name of this machine; " +
				"others are refused",
		},
		{
			Key: "notify", Env: "GHAPP_SYNC_NOTIFY_URL", Process: true, Watching: true,
			Help: "a `URL` that is told what was published and what failed " +
				"(GHAPP_SYNC_NOTIFY_URL keeps it out of the command line)",
		},
		{
			Key: "notify_secret_file", Kind: PathOption, Process: true, Watching: true,
			Help: "the `FILE` of a secret that signs it, as GitHub signs its webhooks",
		},
		jobs,
		{
			Key: "log_format", Process: true, Values: []string{"text", "json"},
			Help: "text or json; lines for people on a terminal",
		},
	}
}

// Flag is the name of the option's flag, without the dashes.
func (o SyncOption) Flag() string { return strings.ReplaceAll(o.Key, "_", "-") }

// Variable is the name of the option's environment variable.
func (o SyncOption) Variable() string {
	if o.Env != "" {
		return o.Env
	}
	return "GHAPP_SYNC_" + strings.ToUpper(o.Key)
}

// IsRevision reports whether the option says which commit is wanted. A directory has one of
// these at most.
func (o SyncOption) IsRevision() bool { return slices.Contains(revisionKeys(), o.Key) }

func revisionKeys() []string { return []string{"branch", "tag", "commit", "version"} }

// Field returns where the value of an option of one directory is: a pointer to a string, an
// int, a [time.Duration], a bool or a list of strings; nil for an unknown key.
func (s *Sync) Field(key string) any {
	return map[string]any{
		"repository": &s.Repository, "branch": &s.Branch, "tag": &s.Tag, "commit": &s.Commit, "version": &s.Version,
		"to": &s.To, "mode": &s.Mode, "keep": &s.Keep, "share": &s.Share, "trust_parent": &s.TrustParent,
		"period": &s.Period, "depth": &s.Depth, "filter": &s.Filter, "sparse": &s.Sparse, "fsck_ignore": &s.FsckIgnore,
		"submodules": &s.Submodules, "lfs": &s.LFS, "verify_signatures": &s.VerifySignatures,
		"allowed_signers": &s.AllowedSigners, "check": &s.Check, "check_timeout": &s.CheckTimeout,
		"exec": &s.Exec, "exec_timeout": &s.ExecTimeout, "exec_tries": &s.ExecTries,
	}[key]
}

// Field is that of [Sync] for the options of the process.
func (s *SyncProcess) Field(key string) any {
	return map[string]any{
		"all": &s.All, "force": &s.Force, "watch": &s.Watch, "webhook": &s.Webhook,
		"webhook_secret_file": &s.WebhookSecretFiles, "sync_secret_file": &s.SyncSecretFiles,
		"status": &s.Status, "status_host": &s.StatusHosts,
		"notify": &s.Notify, "notify_secret_file": &s.NotifySecretFile, "jobs": &s.Jobs, "log_format": &s.LogFormat,
	}[key]
}

// refusal is the error of a value that the option does not take, wherever it was given.
func (o SyncOption) refusal() error {
	switch {
	case o.Values != nil:
		return fmt.Errorf("want %s", strings.Join(o.Values, " or "))
	case o.Kind == NumberOption:
		return fmt.Errorf("want a number from %d on", o.Least)
	case o.Kind == DurationOption:
		return fmt.Errorf("want a time from %s on, such as 30s or 5m", time.Duration(o.Least))
	case o.Kind == SwitchOption:
		return errors.New("want true or false")
	}
	return errors.New("want a single value")
}

// Assign reads the text of a value into its field, as [Sync.Field] returns it. A list is
// appended to. The error says what was wanted, and does not repeat the text.
func (o SyncOption) Assign(field any, text string) error {
	switch field := field.(type) {
	case *string:
		if o.Values != nil && !slices.Contains(o.Values, text) {
			return o.refusal()
		}
		*field = text
	case *int:
		n, err := strconv.Atoi(text)
		switch {
		case err != nil || int64(n) < o.Least:
			return o.refusal()
		case int64(n) > o.Most:
			return fmt.Errorf("want a number up to %d", o.Most)
		}
		*field = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		switch {
		case err != nil || int64(d) < o.Least:
			return o.refusal()
		case int64(d) > o.Most:
			return fmt.Errorf("want a time up to %.0fh", time.Duration(o.Most).Hours())
		}
		*field = d
	case *bool:
		yes, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return o.refusal()
		}
		*field = yes
	case *[]string:
		for _, item := range strings.Split(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*field = append(*field, item)
			}
		}
	default:
		panic("config: the option " + o.Key + " has no field") // a row without one; a test walks them all
	}
	return nil
}

// FromVariable reads the option's variable into its field, and reports whether it is set.
// One that is empty is not, as everywhere. A path is made absolute, with ~ expanded.
func (o SyncOption) FromVariable(lookup func(string) (string, bool), field any) (set bool, err error) {
	text, _ := lookup(o.Variable())
	if text = strings.TrimSpace(text); text == "" {
		return false, nil
	}
	home, _ := lookup(homeVariable())
	switch {
	case secretIn(text) == aPrivateKey || secretIn(text) == aToken:
		err = fmt.Errorf("it holds %s", secretIn(text))
	case o.Key != "notify" && unfit("", text) != "":
		err = errors.New(unfit("", text))
	case o.Kind == PathsOption:
		for _, path := range filepath.SplitList(text) {
			if path, err = absolute(path, home); err != nil {
				break
			}
			list := field.(*[]string)
			*list = append(*list, path)
		}
	case o.Kind == PathOption:
		if text, err = absolute(text, home); err == nil {
			err = o.Assign(field, text)
		}
	default:
		err = o.Assign(field, text)
	}
	if err != nil {
		return true, fmt.Errorf("%s: %w", o.Variable(), err)
	}
	return true, nil
}

// absolute is a path from the environment, with ~ expanded.
func absolute(path, home string) (string, error) {
	path, err := expand(path, home)
	if err != nil {
		return "", err
	}
	if _, err := os.Getwd(); err != nil && !filepath.IsAbs(path) {
		return "", errors.New("the path is relative, and the working directory is gone")
	}
	return filepath.Abs(path)
}
