package alerting

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/health"
	"dealbox/internal/level"
)

// twice keeps one slow minute from raising, and one good one from resolving.
var twice = Hysteresis{RaiseAfter: 2, ClearAfter: 2}

// episodeKey is a rule and its subject.
type episodeKey struct{ rule, subject string }

// reviewConditions checks the conditions that show in the tables, counts in how
// many reviews in a row each was true or false, and raises or resolves.
func (a *Alerts) reviewConditions(ctx context.Context, tx pgx.Tx) (int, error) {
	before, err := a.queries.SampleLock(ctx, tx)
	if err != nil {
		return 0, fmt.Errorf("read the streaks before: %w", err)
	}
	bad, err := a.badConditions(ctx, tx)
	if err != nil {
		return 0, err
	}
	streaks := map[episodeKey]Streak{}
	for _, s := range before {
		streaks[episodeKey{s.Rule, s.Subject}] = Streak{Bad: int(s.Bad), Good: int(s.Good)}
	}
	for _, alert := range bad {
		key := episodeKey{alert.Rule, alert.Subject}
		next := streaks[key].Next(true)
		delete(streaks, key)
		if err := a.applyStreak(ctx, tx, key, next, &alert); err != nil {
			return 0, err
		}
	}
	for key, streak := range streaks { // bad before, and not now
		if err := a.applyStreak(ctx, tx, key, streak.Next(false), nil); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// badConditions returns the conditions that are true now, in the order of rules
// and subjects.
func (a *Alerts) badConditions(ctx context.Context, tx pgx.Tx) ([]Alert, error) {
	var bad []Alert
	channels, err := a.queries.SampleChannels(ctx, tx, dbsqlc.SampleChannelsParams{
		Rule: RuleNotificationFailing, Configured: a.outbox.Channels(),
	})
	if err != nil {
		return nil, fmt.Errorf("find channels that fail: %w", err)
	}
	for _, c := range channels {
		bad = append(bad, channelFailing(c))
	}
	age, err := a.queries.SamplePendingAge(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("read the age of the oldest pending event: %w", err)
	}
	if alert := oldestPending(time.Duration(age * float64(time.Second))); alert != nil {
		bad = append(bad, *alert)
	}
	return bad, nil
}

// channelFailing is RuleNotificationFailing.
func channelFailing(c dbsqlc.SampleChannelsRow) Alert {
	return Alert{
		Rule: RuleNotificationFailing, Subject: c.Channel, Level: level.Error,
		Message: NotificationFailing(c.Channel, c.Failed, c.Stuck, c.LastError),
		Details: map[string]any{"failed": c.Failed, "stuck": c.Stuck, "last_error": c.LastError},
	}
}

// oldestPending returns RuleOldestPending; nil when nothing waits for long.
func oldestPending(age time.Duration) *Alert {
	if age <= health.MaxPendingAge {
		return nil
	}
	lvl := level.Error
	if age > health.CriticalPendingAge {
		lvl = level.Critical
	}
	return &Alert{
		Rule: RuleOldestPending, Level: lvl,
		Message: OldestPending(age),
		Details: map[string]any{"age_seconds": age.Seconds()},
	}
}

// applyStreak stores a streak, and raises or resolves when it is long enough. No
// alert: the condition is false.
func (a *Alerts) applyStreak(ctx context.Context, tx pgx.Tx, key episodeKey, s Streak, alert *Alert) error {
	if twice.Resolves(s) {
		if err := a.queries.SampleForget(ctx, tx, dbsqlc.SampleForgetParams{Rule: key.rule, Subject: key.subject}); err != nil {
			return fmt.Errorf("forget the streak of %s: %w", key.rule, err)
		}
		_, err := a.Resolve(ctx, tx, key.rule, key.subject, a.resolveReason(key))
		return err
	}
	err := a.queries.SampleStore(ctx, tx, dbsqlc.SampleStoreParams{
		Rule: key.rule, Subject: key.subject, Bad: int32(s.Bad), Good: int32(s.Good),
	})
	if err != nil {
		return fmt.Errorf("store the streak of %s: %w", key.rule, err)
	}
	if alert != nil && twice.Raises(s) {
		_, err = a.Raise(ctx, tx, *alert)
	}
	return err
}

// resolveReason returns why an episode of a reviewed condition ends.
func (a *Alerts) resolveReason(key episodeKey) string {
	switch {
	case key.rule == RuleOldestPending:
		return EndOldestPending
	case !slices.Contains(a.outbox.Channels(), key.subject):
		return endChannelGone(key.subject)
	}
	return endNotificationFailing(key.subject)
}

// resolveQuiet resolves episodes of rules that have not fired for long enough, for
// rules that nothing resolves explicitly.
func (a *Alerts) resolveQuiet(ctx context.Context, tx pgx.Tx) (int, error) {
	most := 0
	for _, r := range rules {
		for _, q := range r.Quiet {
			rows, err := a.queries.AlertLockQuiet(ctx, tx, dbsqlc.AlertLockQuietParams{
				Rule: r.Name, Subject: q.Subject, QuietSeconds: q.After.Seconds(), MaxRows: reviewBatch,
			})
			if err != nil {
				return 0, fmt.Errorf("find quiet episodes of %s: %w", r.Name, err)
			}
			for _, row := range rows {
				if _, err := a.close(ctx, tx, row.ID, endOfQuiet(row, q.After)); err != nil {
					return 0, err
				}
			}
			most = max(most, len(rows))
		}
	}
	return most, nil
}
