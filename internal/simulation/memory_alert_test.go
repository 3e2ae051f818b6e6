package simulation

import (
	"slices"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
)

// The statements of alert.sql and notification.sql that workers run. In a history
// nobody acknowledges or silences an episode, and no channel is configured.

type alert = dbsqlc.Alert

type alertEvent struct {
	AlertID int64
	At      time.Time
}

// openAlert stands for the unique index on open episodes.
type openAlert string

func (tx *memoryTx) openAlert(fits func(alert) bool) (alert, bool) {
	for _, a := range serial(&tx.db.alerts, tx) {
		if a.ResolvedAt == nil && fits(a) {
			return a, true
		}
	}
	return alert{}, false
}

func (tx *memoryTx) openAlertOf(fingerprint string) (alert, bool) {
	return tx.openAlert(func(a alert) bool { return a.Fingerprint == fingerprint })
}

func alertLockOpen(tx *memoryTx, fingerprint string) (dbsqlc.AlertLockOpenRow, bool) {
	a, ok := tx.openAlertOf(fingerprint)
	if ok {
		tx.db.alerts.lock(tx, a.ID)
	}
	return dbsqlc.AlertLockOpenRow{ID: a.ID, Level: a.Level, Status: a.Status, LastSeen: a.LastSeen}, ok
}

func alertMute(tx *memoryTx, p dbsqlc.AlertMuteParams) (dbsqlc.AlertMuteRow, bool) {
	a, _ := tx.openAlert(func(a alert) bool { return slices.Contains(p.Inhibitors, a.Rule) })
	return dbsqlc.AlertMuteRow{InhibitorID: a.ID}, true
}

func alertOpen(tx *memoryTx, p dbsqlc.AlertOpenParams) (int64, bool) {
	tx.lock(openAlert(p.Fingerprint))
	if _, ok := tx.openAlertOf(p.Fingerprint); ok {
		return 0, false
	}
	a := alert{
		ID: tx.db.next(), Fingerprint: p.Fingerprint, Rule: p.Rule, Subject: p.Subject, Level: p.Level, Status: p.Status,
		Message: p.Message, Details: p.Details, Occurrences: 1, FirstSeen: time.Now(), LastSeen: time.Now(),
	}
	if p.InhibitorID != 0 {
		a.InhibitorID = &p.InhibitorID
	}
	tx.db.alerts.put(tx, a.ID, a)
	return a.ID, true
}

func alertRepeat(tx *memoryTx, p dbsqlc.AlertRepeatParams) (int64, bool) {
	a, ok := tx.db.alerts.update(tx, p.ID, always, func(a *alert) {
		a.Occurrences++
		a.Level, a.Message, a.Details, a.LastSeen = p.Level, p.Message, p.Details, time.Now()
	})
	return a.Occurrences, ok
}

func alertClose(tx *memoryTx, id int64) (alert, bool) {
	return tx.db.alerts.update(tx, id, always, func(a *alert) {
		a.Status, a.ResolvedAt, a.InhibitorID = string(alerting.Resolved), now(), nil
	})
}

func alertGet(tx *memoryTx, id int64) (alert, bool) { return tx.db.alerts.get(tx, id) }

func alertEventAppend(tx *memoryTx, p dbsqlc.AlertEventAppendParams) int64 {
	tx.db.alertEvents.put(tx, tx.db.next(), alertEvent{p.AlertID, time.Now()})
	return 1
}

func alertEventAppendRepeat(tx *memoryTx, p dbsqlc.AlertEventAppendRepeatParams) int64 {
	var last time.Time
	for _, e := range serial(&tx.db.alertEvents, tx) {
		if e.AlertID == p.AlertID {
			last = e.At
		}
	}
	if last.After(*after(-p.QuietSeconds)) {
		return 0
	}
	tx.db.alertEvents.put(tx, tx.db.next(), alertEvent{p.AlertID, time.Now()})
	return 1
}

// notificationEnqueue runs for the end of an episode, which no channel heard of.
func notificationEnqueue(*memoryTx, dbsqlc.NotificationEnqueueParams) []dbsqlc.NotificationEnqueueRow {
	return nil
}
