package apps

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/bridge"
	"github.com/ghapp-dev/ghapp/internal/cache"
	"github.com/ghapp-dev/ghapp/internal/config"
)

// Somebody waits at a prompt: what has not been found by then is not offered.
const (
	knownTime = 200 * time.Millisecond
	mostKnown = 1000 // entries of the cache, and names
)

// KnownRepositories are those that the configuration names, and those for which there
// have been tokens of late, as a shell offers them. Nothing is asked of GitHub.
func (o *Opener) KnownRepositories() []string {
	loaded, err := o.Load()
	if err != nil {
		return nil
	}
	var list []string
	for _, entry := range loaded.List() {
		if name, ok := strings.CutPrefix(entry.Key, "repositories."); ok && !strings.HasSuffix(name, "/*") {
			list = append(list, name)
		}
	}
	for _, s := range loaded.Syncs() {
		list = append(list, s.Repository)
	}
	list = append(list, o.cachedRepositories(loaded)...)
	// Of two that differ by letter case alone, the one that the configuration has.
	slices.SortStableFunc(list, func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(list, strings.EqualFold)
}

// cachedRepositories are those for which the cache has tokens, of the hosts that their
// bare names lead to. A cache that is not safe, or not there, has none.
func (o *Opener) cachedRepositories(loaded *config.Config) []string {
	dir, err := o.CacheDir()
	if err != nil || o.NoCache {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), knownTime)
	defer stop()
	var list []string
	apis := map[string]string{} // by owner
	_ = cache.Look(ctx, dir, mostKnown, func(entry []byte) {
		of, names := bridge.RepositoriesOf(entry)
		for _, name := range names {
			r, err := ghapp.ParseRepository(name)
			if err != nil || r.Host != "" || r.String() != name || len(list) == mostKnown {
				continue
			}
			if _, known := apis[r.Owner]; !known {
				apis[r.Owner] = apiFor(loaded, r.Owner)
			}
			if apis[r.Owner] == of {
				list = append(list, name)
			}
		}
	})
	return list
}

// apiFor is the API that is asked for an owner's repositories; "" where that is not clear.
func apiFor(loaded *config.Config, owner string) string {
	settings, err := loaded.App(config.Selector{Owner: owner, HostOnly: true})
	if err != nil {
		return ""
	}
	host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
	if err != nil {
		return ""
	}
	return host.API
}
