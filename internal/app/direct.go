package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/bits"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/health"
	"dealbox/internal/notify"
	"dealbox/internal/pgerr"
)

const (
	// directTimeout bounds sending one notice to all receivers.
	directTimeout = 30 * time.Second
	// outageCheckInterval is how often serve checks whether webhooks can be committed.
	outageCheckInterval = 10 * time.Second
	// outageGrace is how long they may not before somebody is notified: a restart of
	// Postgres takes less.
	outageGrace = time.Minute
)

// directNotifier sends alerts from this process itself, for what stops workers or keeps
// alerts from being stored: notifications are jobs, and only a worker sends one. It
// keeps no row; what it sends stands in the log.
type directNotifier struct {
	config notify.Config
	every  time.Duration // between two notices of one rule and subject
	log    *slog.Logger

	mu   sync.Mutex
	sent map[string]time.Time // when each was last sent
}

func newDirectNotifier(config notify.Config, every time.Duration, log *slog.Logger) *directNotifier {
	return &directNotifier{config: config, every: every, log: log, sent: map[string]time.Time{}}
}

// fire sends an alert to every receiver whose channel takes its level, at most once in
// the interval.
func (d *directNotifier) fire(ctx context.Context, alert alerting.Alert) {
	if !d.due(alert) {
		return
	}
	d.log.ErrorContext(ctx, "this process sends an alert itself", "rule", alert.Rule, "subject", alert.Subject, "alert", alert.Message)
	d.send(ctx, alert, notify.First, "firing")
}

// resolve sends that it is over, to those who were notified that it began.
func (d *directNotifier) resolve(ctx context.Context, alert alerting.Alert) {
	d.mu.Lock()
	_, was := d.sent[alert.Rule+" "+alert.Subject]
	delete(d.sent, alert.Rule+" "+alert.Subject)
	d.mu.Unlock()
	if was {
		d.send(ctx, alert, notify.Resolved, "resolved")
	}
}

func (d *directNotifier) due(alert alerting.Alert) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := alert.Rule + " " + alert.Subject
	if last, was := d.sent[key]; was && time.Since(last) < d.every {
		return false
	}
	d.sent[key] = time.Now()
	return true
}

func (d *directNotifier) send(ctx context.Context, alert alerting.Alert, reason notify.Reason, status string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), directTimeout)
	defer cancel()
	details, err := json.Marshal(alert.Details)
	if err != nil || alert.Details == nil {
		details = []byte("{}")
	}
	now := time.Now().UTC()
	var all sync.WaitGroup
	for _, channel := range d.config.Channels {
		if channel.Floor > alert.Level {
			continue
		}
		for i, receiver := range channel.AllReceivers() {
			message := notify.Message{
				// Ids of stored notifications count from 1, so a time in microseconds is none of them.
				ID: now.UnixMicro() + int64(i), Channel: channel.Name, Receiver: receiver, Reason: reason, Sequence: 1, Notice: 1, At: now, URL: d.config.PublicURL, Instance: d.config.Instance,
				Alert: notify.Alert{
					Rule: alert.Rule, Subject: alert.Subject, Level: alert.Level.String(), Status: status, Occurrences: 1,
					FirstSeen: now, LastSeen: now, Message: alert.Message, Details: details,
				},
			}
			if status == "resolved" {
				message.Alert.ResolvedAt = &now
			}
			all.Go(func() {
				if _, err := channel.Notify(ctx, message); err != nil {
					d.log.ErrorContext(ctx, "an alert that this process sends itself could not be sent", "rule", alert.Rule, "channel", channel.Name, "receiver", receiver, "error", err)
				}
			})
		}
	}
	all.Wait()
}

// watchOutage notifies when no webhook could be committed for a minute: no alert can be
// stored then either. And when they can be again.
func (s *Service) watchOutage(ctx context.Context) {
	var since time.Time
	for pause(ctx, outageCheckInterval) == nil {
		check, cancel := context.WithTimeout(ctx, health.ProbeTimeout)
		err := health.CheckReady(check, s.readPool, s.commits)
		cancel()
		if ctx.Err() != nil {
			return
		}
		since = s.reportOutage(ctx, since, time.Now(), err)
	}
}

// reportOutage sends what a check at now says of an outage: err is why no webhook can be
// committed, since when the outage began, zero where there was none. It returns the same
// for the next check.
func (s *Service) reportOutage(ctx context.Context, since, now time.Time, err error) time.Time {
	alert := alerting.Alert{Rule: alerting.RuleWebhooksRefused, Level: alerting.HighestLevel(alerting.RuleWebhooksRefused)}
	switch {
	case err == nil && !since.IsZero():
		alert.Message = alerting.WebhooksCommitted(now.Sub(since))
		s.direct.resolve(ctx, alert)
		return time.Time{}
	case err != nil && since.IsZero():
		return now
	case err != nil && now.Sub(since) > outageGrace:
		alert.Message = alerting.WebhooksNotCommitted(s.host, since, err)
		s.direct.fire(ctx, alert)
	}
	return since
}

// reportRefusedStart raises and sends an alert that this process does not start. Whoever
// starts it again and again, a supervisor, must not make a notice each time: the
// episode counts, and the first, second, fourth, eighth … are sent.
//
// Failure policy: open. Without the table of alerts the database was never migrated, and
// the exit code and the log say so; any other failure to store it sends the notice.
func (s *Service) reportRefusedStart(ctx context.Context, why error) {
	alert := alerting.Alert{
		Rule: alerting.RuleStartRefused, Level: alerting.HighestLevel(alerting.RuleStartRefused),
		Message: alerting.StartRefused(s.host, why.Error()),
	}
	occurrences, err := s.raiseRefusedStart(ctx, alert)
	if pgerr.IsMissing(err) || err == nil && bits.OnesCount64(uint64(occurrences)) != 1 {
		return
	}
	if err == nil && workersAlive(ctx, s.pool) {
		return // they send it
	}
	s.direct.fire(ctx, alert)
}

func (s *Service) raiseRefusedStart(ctx context.Context, alert alerting.Alert) (occurrences int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		id, err := s.alerts.Raise(ctx, tx, alert)
		if err != nil {
			return err
		}
		raised, err := alerting.Get(ctx, tx, id)
		occurrences = raised.Occurrences
		return err
	})
	return occurrences, err
}

// resolveRefusedStart ends the alert: a process has started.
func (s *Service) resolveRefusedStart(ctx context.Context) {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := s.alerts.Resolve(ctx, tx, alerting.RuleStartRefused, "", alerting.EndStartRefused)
		return err
	})
	if err != nil {
		s.log.WarnContext(ctx, "the alert about a refused start could not be resolved; it ends when it is quiet", "error", err)
	}
}

// stoppedByClock sends the alert about a clock because of which this process starts no
// workers, unless workers elsewhere send it.
func (s *Service) stoppedByClock(ctx context.Context, a health.SkewAlert) {
	if !workersAlive(ctx, s.pool) {
		s.direct.fire(ctx, clockAlert(a))
	}
}

// workersAlive reports whether a worker runs anywhere: River has a leader then.
func workersAlive(ctx context.Context, pool *pgxpool.Pool) bool {
	alive, err := dbsqlc.New().WorkersAlive(ctx, pool)
	return err == nil && alive
}
