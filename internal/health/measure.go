package health

import (
	"context"
	"fmt"
	"time"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
)

// Measurement is what was read at one moment. A part that could not be read is nil.
type Measurement struct {
	At       time.Time     // the middle of the main query, by this machine's clock
	Latency  time.Duration // of the main query
	Overview *dbsqlc.HealthOverviewRow
	Episodes *[]dbsqlc.HealthEpisodesRow // open ones of level warning and above, the worst first
	Breaker  *circuit.Snapshot
	Queues   *[]dbsqlc.HealthQueuesRow
	// FailedNotifications is how many failed for good in the last 24 hours. The caller
	// sets it: Measure does not read it.
	FailedNotifications *int64
	Reconciliation      *dbsqlc.ReconciliationStateRow
	// Ready is why no webhook can be committed, as CheckReady and Commits.Check say; nil
	// when one can, or where it was not asked. The caller sets it.
	Ready   error
	Err     error // the first that was met
	sources Sources
}

// Sources are what Measure reads beside the tables of events and jobs, and what the
// settings say.
type Sources struct {
	Breaker *circuit.Breaker
	Rules   Rules
	// ReconcileInterval is RECONCILE_INTERVAL; 0: whether one is overdue is not checked.
	ReconcileInterval time.Duration
	// Channels are those to which alerts are sent. Nil is not known; empty is none.
	Channels []string
	// WebhookURL is what has to be entered in Strapi.
	WebhookURL string
}

// Rules are what health knows of the rules of alerts.
type Rules struct {
	// The rules whose open episodes mean that something does not work.
	TokenRefused, NotificationFailing, ReconciliationFailing string
	// Of names, by the name of a check, the rule that says the same with more words.
	Of map[string]string
	// Describe returns what a rule means and what to do first.
	Describe func(rule string) (means, first string)
	// Explains returns the rules whose episodes one of this rule mostly causes.
	Explains func(rule string) []string
}

// maxEpisodes bounds how many open episodes an answer lists.
const maxEpisodes = 50

// Measure reads everything that Evaluate looks at. The caller bounds ctx by
// ProbeTimeout. Without the main query nothing else is read; after it, one part
// that fails does not hide the others.
func Measure(ctx context.Context, db dbsqlc.DBTX, s Sources) Measurement {
	m := Measurement{At: time.Now(), sources: s}
	if m.Err = m.readOverview(ctx, db, s.Rules); m.Err != nil {
		return m
	}
	m.Episodes = Part(&m, func() ([]dbsqlc.HealthEpisodesRow, error) { return dbsqlc.New().HealthEpisodes(ctx, db, maxEpisodes) })
	m.Breaker = Part(&m, func() (circuit.Snapshot, error) { return s.Breaker.Snapshot(ctx, db) })
	m.Reconciliation = Part(&m, func() (dbsqlc.ReconciliationStateRow, error) {
		return dbsqlc.New().ReconciliationState(ctx, db, s.Rules.ReconciliationFailing)
	})
	m.Queues = Part(&m, func() ([]dbsqlc.HealthQueuesRow, error) { return dbsqlc.New().HealthQueues(ctx, db) })
	return m
}

// readOverview makes the main query. Its middle is the moment that the database's
// clock is compared with.
func (m *Measurement) readOverview(ctx context.Context, db dbsqlc.DBTX, rules Rules) error {
	start := time.Now()
	overview, err := dbsqlc.New().HealthOverview(ctx, db, dbsqlc.HealthOverviewParams{
		TokenRule: rules.TokenRefused, ChannelRule: rules.NotificationFailing,
	})
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	m.Latency = time.Since(start)
	m.At = start.Add(m.Latency / 2)
	m.Overview = &overview
	return nil
}

// Part returns what read returns, or nil when it fails; m keeps the first error.
func Part[T any](m *Measurement, read func() (T, error)) *T {
	v, err := read()
	if err != nil {
		if m.Err == nil {
			m.Err = err
		}
		return nil
	}
	return &v
}

// Skew is how far this machine's clock is ahead of the database's. It is right to
// half of Latency. Overview must not be nil.
func (m Measurement) Skew() Skew { return Skew(m.At.Sub(m.Overview.DatabaseNow)) }

// StrapiConnected reports whether Dealbox may ask Strapi and Strapi accepts its
// token; nil when that is not known.
func (m Measurement) StrapiConnected() *bool {
	if m.Overview == nil || m.Breaker == nil {
		return nil
	}
	connected := m.Breaker.State == circuit.Closed && !m.Overview.TokenRefused
	return &connected
}
