package status

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/ghapp-dev/ghapp/internal/daemon"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
)

// scrape is one look at everything.
type scrape struct {
	*Server
	engine  engine.Status
	budgets []engine.InstallationBudget
}

func (s *Server) exposition(ctx context.Context) []byte {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return daemon.Exposition(metrics(), scrape{s, s.Engine.Status(), s.Engine.Budgets(ctx)})
}

// metrics are what a monitoring system is told. No label is of a caller.
func metrics() []daemon.Metric[scrape] {
	const ofInstallation = "app,installation"
	return []daemon.Metric[scrape]{
		daemon.Gauge("ghapp_server_build_info", "version", "Always 1; the label is the version.",
			func(s scrape, to *daemon.Samples) bool { to.Add(1, s.Version); return true }),
		daemon.Counter("ghapp_server_exchanges_total", "rule,outcome,source",
			"Exchanges, by outcome (handed out, refused, failed) and, of those handed out, source (cached, merged, minted).",
			exchangesByRule),
		daemon.Counter("ghapp_server_cache_hits_total", "", "Exchanges whose token was there already.",
			number(func(s scrape) float64 { return float64(s.Records.ofSource("cached")) })),
		daemon.Counter("ghapp_server_mints_total", "", "Tokens that GitHub gave to this server.",
			number(func(s scrape) float64 { return float64(s.Records.mints.Load()) })),
		daemon.Counter("ghapp_server_merged_total", "",
			"Exchanges whose token was minted meanwhile for another that asked for the same.",
			number(func(s scrape) float64 { return float64(s.Records.ofSource("merged")) })),
		daemon.Gauge("ghapp_server_installation_budget", ofInstallation,
			"Requests an hour that an installation's tokens have.",
			budgets(func(b engine.Budget) float64 { return float64(b.Limit) })),
		daemon.Gauge("ghapp_server_installation_budget_left", ofInstallation, "How many of them are left.",
			budgets(func(b engine.Budget) float64 { return float64(b.Remaining) })),
		daemon.Gauge("ghapp_server_installation_budget_reset_timestamp_seconds", ofInstallation,
			"When there are as many again.", budgets(func(b engine.Budget) float64 { return daemon.Seconds(b.Reset) })),
		daemon.Gauge("ghapp_server_engine_away", "", "1 while the engine (NATS) cannot be used, and this server works alone.",
			number(func(s scrape) float64 { return daemon.Truth(s.engine.Away != nil) })),
		daemon.Gauge("ghapp_server_replicas", "", "Servers that share the engine.",
			number(func(s scrape) float64 { return float64(s.engine.Replicas) })),
		daemon.Gauge("ghapp_server_policy_generations", "",
			"Policies that are in force among them; more than 1: they differ.",
			number(func(s scrape) float64 { return float64(len(s.engine.Generations)) })),
		daemon.Gauge("ghapp_server_policy_unusable", "", "1 while the file of the policy cannot be used.",
			number(func(s scrape) float64 { return daemon.Truth(s.Policy() != nil) })),
		daemon.Gauge("ghapp_server_audit_waiting", "", "Records that are not kept yet.",
			number(func(s scrape) float64 { return float64(s.Audit().Waiting) })),
		daemon.Gauge("ghapp_server_audit_lag_seconds", "", "How long the last record took to be kept.",
			number(func(s scrape) float64 { _, lag := s.Records.behind(); return lag.Seconds() })),
		daemon.Counter("ghapp_server_audit_failures_total", "",
			"Records that could not be kept, so that nothing was handed out.",
			number(func(s scrape) float64 { lost, _ := s.Records.behind(); return float64(lost) })),
	}
}

func number(value func(scrape) float64) func(scrape, *daemon.Samples) bool {
	return func(s scrape, to *daemon.Samples) bool {
		to.Add(value(s))
		return true
	}
}

func exchangesByRule(s scrape, to *daemon.Samples) bool {
	counts := s.Records.counted()
	for _, of := range slices.SortedFunc(maps.Keys(counts), func(a, b exchanges) int {
		return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.outcome, b.outcome), cmp.Compare(a.source, b.source))
	}) {
		to.Add(float64(counts[of]), of.rule, of.outcome, of.source)
	}
	return len(counts) > 0
}

func budgets(value func(engine.Budget) float64) func(scrape, *daemon.Samples) bool {
	return func(s scrape, to *daemon.Samples) bool {
		for _, b := range s.budgets {
			to.Add(value(b.Budget), b.App, strconv.FormatInt(b.Installation, 10))
		}
		return len(s.budgets) > 0
	}
}
