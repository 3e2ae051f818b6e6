package alerting

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
)

// reviewed is the hysteresis of the rules that the minute's look judges.
var reviewed = Hysteresis{RaiseAfter: 2, ClearAfter: 2}

const (
	// maxPendingAge is how long an event may wait. A healthy one takes milliseconds,
	// a failing document has its own alert.
	maxPendingAge = 5 * time.Minute
	// criticalPendingAge: nothing that passes by itself takes that long.
	criticalPendingAge = time.Hour
)

// oldestPending is RuleOldestPending; nil when nothing waits for long.
func oldestPending(age time.Duration) *Alert {
	if age <= maxPendingAge {
		return nil
	}
	lvl := level.Error
	if age > criticalPendingAge {
		lvl = level.Critical
	}
	return &Alert{
		Rule: RuleOldestPending, Level: lvl,
		Message: fmt.Sprintf("an event has been waiting for %s to be mirrored", age.Round(time.Second)),
		Details: map[string]any{"age_seconds": age.Seconds()},
	}
}

// channelFailing is RuleNotificationFailing.
func channelFailing(c dbsqlc.SampleChannelsRow) Alert {
	return Alert{
		Rule: RuleNotificationFailing, Subject: c.Channel, Level: level.Error,
		Message: fmt.Sprintf("nobody hears of alerts through %s: %d failed for good, %d wait to be tried again, and nothing was sent since (%s)",
			c.Channel, c.Failed, c.Stuck, cmp.Or(c.LastError, "each attempt died before it had an answer")),
		Details: map[string]any{"failed": c.Failed, "stuck": c.Stuck, "last_error": c.LastError},
	}
}

// episodeKey is a rule and its subject.
type episodeKey struct{ rule, subject string }

// sample takes the minute's look: it judges each rule, counts the looks in a row,
// and raises or resolves.
func (a *Alerts) reviewConditions(ctx context.Context, tx pgx.Tx) (int, error) {
	before, err := a.queries.SampleLock(ctx, tx)
	if err != nil {
		return 0, fmt.Errorf("read the looks before: %w", err)
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
	for key, streak := range streaks { // what was known and is not bad now
		if err := a.applyStreak(ctx, tx, key, streak.Next(false), nil); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// look lists what is bad now, in the order of rules and subjects.
func (a *Alerts) badConditions(ctx context.Context, tx pgx.Tx) ([]Alert, error) {
	var bad []Alert
	channels, err := a.queries.SampleChannels(ctx, tx, dbsqlc.SampleChannelsParams{
		Rule: RuleNotificationFailing, Configured: a.outbox.Channels(),
	})
	if err != nil {
		return nil, fmt.Errorf("look at the channels: %w", err)
	}
	for _, c := range channels {
		bad = append(bad, channelFailing(c))
	}
	age, err := a.queries.SamplePendingAge(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("look at the oldest pending event: %w", err)
	}
	if alert := oldestPending(time.Duration(age * float64(time.Second))); alert != nil {
		bad = append(bad, *alert)
	}
	return bad, nil
}

// judge stores a streak and does what it asks for.
func (a *Alerts) applyStreak(ctx context.Context, tx pgx.Tx, key episodeKey, s Streak, alert *Alert) error {
	if reviewed.Resolves(s) {
		if err := a.queries.SampleForget(ctx, tx, dbsqlc.SampleForgetParams{Rule: key.rule, Subject: key.subject}); err != nil {
			return fmt.Errorf("forget the looks at %s: %w", key.rule, err)
		}
		_, err := a.Resolve(ctx, tx, key.rule, key.subject, a.resolveReason(key))
		return err
	}
	err := a.queries.SampleStore(ctx, tx, dbsqlc.SampleStoreParams{
		Rule: key.rule, Subject: key.subject, Bad: int32(s.Bad), Good: int32(s.Good),
	})
	if err != nil {
		return fmt.Errorf("store a look at %s: %w", key.rule, err)
	}
	if alert != nil && reviewed.Raises(s) {
		_, err = a.Raise(ctx, tx, *alert)
	}
	return err
}

// resolveReason is the reason for which an episode of a reviewed rule ends.
func (a *Alerts) resolveReason(key episodeKey) string {
	if key.rule == RuleNotificationFailing && !slices.Contains(a.outbox.Channels(), key.subject) {
		return "this channel is not configured any more"
	}
	return "it is well again"
}

// quietAfter are the rules that say nothing when they are well, and when an
// episode of theirs that does not fire any more is over. Those who raise them may
// be gone: another machine, another process.
var quietAfter = []struct {
	rule, subject string // no subject: all
	after         time.Duration
}{
	{RuleSignatureFailures, subjectForged, 11 * time.Minute}, // two windows and a little
	// What our own Strapi does wrong ends with a delivery that is accepted. Until then a
	// quiet one may say nothing for a night.
	{RuleSignatureFailures, "", 25 * time.Hour},
	{RuleClockSkew, "", 5 * time.Minute},
	{RuleForecastSwing, "", time.Hour},
}

// settle resolves what has not fired for long enough.
func (a *Alerts) resolveQuiet(ctx context.Context, tx pgx.Tx) (int, error) {
	most := 0
	for _, q := range quietAfter {
		rows, err := a.queries.AlertLockQuiet(ctx, tx, dbsqlc.AlertLockQuietParams{
			Rule: q.rule, Subject: q.subject, QuietSeconds: q.after.Seconds(), MaxRows: reviewBatch,
		})
		if err != nil {
			return 0, fmt.Errorf("find episodes of %s that are quiet: %w", q.rule, err)
		}
		for _, row := range rows {
			if _, err := a.close(ctx, tx, row.ID, actor{actor: service, reason: "it did not fire for " + q.after.String()}); err != nil {
				return 0, err
			}
		}
		most = max(most, len(rows))
	}
	return most, nil
}
