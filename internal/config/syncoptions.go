package config

import (
	"slices"

	"github.com/ghapp-dev/ghapp"
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
func SyncOptions() []Option {
	period := durationOption("period", "with --watch: the time between two questions (default 1m0s)")
	period.Watching = true
	jobs := numberOption("jobs", "how many directories are brought up to date at the same time (default 4)")
	jobs.Process = true
	return rows("sync", []Option{
		{Key: "repository", Own: true, Check: checkRepository, Help: "the repository: owner/name, or an address"},
		{Key: "branch", Short: "b", Help: "the branch to be at; the default branch where nothing is said"},
		{Key: "tag", Help: "the tag to be at"},
		{Key: "commit", Help: "the commit to be at, 40 hexadecimal digits"},
		{Key: "version", Help: "the highest tag that is a semantic version and fits this, such as '*' or '^1.4'"},
		{Key: "to", Kind: PathOption, Own: true, Help: "the `DIR` to keep"},
		{
			Key: "mode", Values: []string{"link", "dir"},
			Help: "link: DIR is a symbolic link (the default); dir: a directory, exchanged in one step",
		},
		numberOption("keep", "how many releases stay, for rollback (default 3)"),
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
		numberOption("depth", "how many commits of the history are fetched (default 1)"),
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
		durationOption("check_timeout", "how long the check may take (default 5m0s)"),
		{Key: "exec", Emptied: true, Help: "a `COMMAND` to run in DIR once it is published"},
		durationOption("exec_timeout", "how long the command may take (default 5m0s)"),
		numberOption("exec_tries", "how often the command is run until it succeeds (default 1)"),

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
			Help: "with --watch: serve a page to look at, /healthz, /readyz and /metrics at this `ADDRESS`, " +
				"which may be that of --webhook",
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
	})
}

// IsRevision reports whether the option says which commit is wanted. A directory has one of
// these at most.
func (o Option) IsRevision() bool { return slices.Contains(revisionKeys(), o.Key) }

func revisionKeys() []string { return []string{"branch", "tag", "commit", "version"} }

// checkRepository refuses what names no repository.
func checkRepository(text string) error {
	_, err := ghapp.ParseRepository(text)
	return err
}

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
