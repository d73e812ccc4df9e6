package config

import (
	"errors"
	"path"
	"strings"
	"time"
)

// MirrorProcess is what can be said of the process, and not of one mirror.
type MirrorProcess struct {
	All, Full, Watch         bool
	Period                   time.Duration
	Webhook, Status          string // addresses
	StatusHosts              []string
	WebhookSecretFiles       []string
	Notify, NotifySecretFile string
	LogFormat                string
}

// DefaultMirror is a [Mirror] of which nothing has been said.
func DefaultMirror() Mirror {
	const day = 24 * time.Hour
	return Mirror{
		KeepHistory: 90 * day, PruneAfter: 30 * day, FullEvery: day, Leave: 1000, MinFree: 1 << 30, Jobs: 4,
	}
}

// DefaultMirrorPeriod lies between two looks of `ghapp mirror --watch`.
const DefaultMirrorPeriod = 5 * time.Minute

// MirrorOptions returns the table, in the order in which people read it.
func MirrorOptions() []Option {
	keep := durationOption("keep_history",
		"how long commits stay that a force push or a deleted branch left behind, a `TIME` or forever (default 90d)")
	keep.Forever, keep.Most = true, int64(100*longestPeriod)
	full := durationOption("full_every",
		"each mirror is compared ref by ref at least once in this `TIME`, whatever GitHub says of it (default 24h)")
	full.Least = int64(time.Minute)
	leave := numberOption("leave",
		"how many requests of an installation's hourly budget are left to others, half of it at most (default 1000)")
	leave.Least = 0
	period := durationOption("period", "with --watch: the time between two looks (default 5m0s)")
	period.Process, period.Watching = true, true
	return rows("mirror", []Option{
		{
			Key: "owners", Own: true, Kind: ListOption, Takes: "a list, such as [acme, octo]", Check: checkOwner,
			Help: "the owners whose repositories are kept; all that have the App installed where nothing is said",
		},
		{Key: "to", Kind: PathOption, Own: true, Help: "the `DIR` to keep them in, as DIR/OWNER/NAME.git"},
		{
			Key: "include", Kind: ListOption, Takes: "a list of patterns, such as ['acme/web-*']", Check: checkGlob,
			Help: "only repositories whose name fits one of these `PATTERNS`, such as 'acme/web-*' or 'web-*'; " +
				"separated by commas",
		},
		{
			Key: "exclude", Kind: ListOption, Takes: "a list of patterns, such as ['*/scratch-*']", Check: checkGlob,
			Help: "not those whose name fits one of these `PATTERNS`",
		},
		{
			Key: "topic", Kind: ListOption, Takes: "a list of topics, such as [production]",
			Help: "only repositories that have one of these `TOPICS`",
		},
		{
			Key: "visibility", Kind: ListOption, Takes: "a list of public, private and internal",
			Values: []string{"public", "private", "internal"}, Help: "only repositories that are one of these",
		},
		{Key: "no_archived", Kind: SwitchOption, Help: "leave archived repositories out"},
		{Key: "no_forks", Kind: SwitchOption, Help: "leave forks out"},
		{Key: "pull_requests", Kind: SwitchOption, Help: "keep the refs of pull requests, too"},
		{Key: "wikis", Kind: SwitchOption, Help: "keep wikis, too, as DIR/OWNER/NAME.wiki.git"},
		{Key: "lfs", Kind: SwitchOption, Help: "keep the large files of Git LFS, of all refs"},
		keep,
		{
			Key: "prune", Kind: SwitchOption,
			Help: "take mirrors away whose repository has been gone for the time of --prune-after",
		},
		durationOption("prune_after", "how long a mirror stays whose repository is gone, with --prune (default 30d)"),
		full,
		leave,
		{
			Key: "min_free", Kind: SizeOption,
			Help: "begin no transfer that would leave less than this `SIZE` of the disk free (default 1G)",
		},
		numberOption("jobs", "how many repositories are transferred at the same time (default 4)"),

		{Key: "all", Kind: SwitchOption, Process: true, Help: "all mirrors of the config file"},
		{Key: "full", Kind: SwitchOption, Process: true, Help: "compare every mirror ref by ref now"},
		{Key: "watch", Short: "w", Kind: SwitchOption, Process: true, Help: "go on until interrupted"},
		period,
		{
			Key: "webhook", Process: true, Watching: true,
			Help: "with --watch: take GitHub's webhook at this `ADDRESS`, under /webhook, over plain HTTP",
		},
		{
			Key: "webhook_secret_file", Env: "GHAPP_WEBHOOK_SECRET_FILE", Kind: PathsOption, Process: true, Watching: true,
			Help: "the `FILE` of the webhook's secret (GHAPP_WEBHOOK_SECRET_FILE, or GHAPP_WEBHOOK_SECRET); " +
				"twice while it is replaced",
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
			Key: "notify", Env: "GHAPP_MIRROR_NOTIFY_URL", Process: true, Watching: true,
			Help: "a `URL` that is told what failed (GHAPP_MIRROR_NOTIFY_URL keeps it out of the command line)",
		},
		{
			Key: "notify_secret_file", Kind: PathOption, Process: true, Watching: true,
			Help: "the `FILE` of a secret that signs it, as GitHub signs its webhooks",
		},
		{
			Key: "log_format", Process: true, Values: []string{"text", "json"},
			Help: "text or json; lines for people on a terminal",
		},
	})
}

func checkOwner(text string) error {
	if strings.Contains(text, "/") {
		return errors.New("want owners, found a repository or a URL")
	}
	if !ownerPattern().MatchString(text) {
		return errors.New("this cannot be the name of an owner")
	}
	return nil
}

// checkGlob refuses what [path.Match] does not take.
func checkGlob(text string) error {
	if _, err := path.Match(text, ""); err != nil || strings.Count(text, "/") > 1 {
		return errors.New("want a pattern for owner/name or name, such as 'acme/web-*'")
	}
	return nil
}

// Field is that of [Sync] for the options of a mirror. The field of a size is a pointer to an
// int64.
func (m *Mirror) Field(key string) any {
	return map[string]any{
		"owners": &m.Owners, "to": &m.To, "include": &m.Include, "exclude": &m.Exclude, "topic": &m.Topics,
		"visibility": &m.Visibilities, "no_archived": &m.NoArchived, "no_forks": &m.NoForks,
		"pull_requests": &m.PullRequests, "wikis": &m.Wikis, "lfs": &m.LFS, "keep_history": &m.KeepHistory,
		"prune": &m.Prune, "prune_after": &m.PruneAfter, "full_every": &m.FullEvery, "leave": &m.Leave,
		"min_free": &m.MinFree, "jobs": &m.Jobs,
	}[key]
}

// Field is that of [Mirror] for the options of the process.
func (m *MirrorProcess) Field(key string) any {
	return map[string]any{
		"all": &m.All, "full": &m.Full, "watch": &m.Watch, "period": &m.Period, "webhook": &m.Webhook,
		"webhook_secret_file": &m.WebhookSecretFiles, "status": &m.Status, "status_host": &m.StatusHosts,
		"notify": &m.Notify, "notify_secret_file": &m.NotifySecretFile, "log_format": &m.LogFormat,
	}[key]
}
