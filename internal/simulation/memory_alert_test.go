package simulation

import (
	"slices"
	"strings"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
)

// The statements of alert.sql and notification.sql that workers run. In a history
// nobody acknowledges or silences an episode, and no channel is configured.

type alert = dbsqlc.Alert

type alertEvent struct {
	AlertID      int64
	At           time.Time
	Kind, Reason string
}

type memberKey struct {
	alertID int64
	member  string
}

type member struct {
	dbsqlc.AlertMembersRow

	left bool // the row is deleted
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

func alertLockOrOpen(tx *memoryTx, p dbsqlc.AlertLockOrOpenParams) (alert, bool) {
	tx.lock(openAlert(p.Fingerprint))
	if a, ok := alertLockOpen(tx, p.Fingerprint); ok {
		return a, true
	}
	a := alert{
		ID: tx.db.next(), Fingerprint: p.Fingerprint, Rule: p.Rule, Subject: p.Subject, Level: p.Level, Status: string(alerting.Firing),
		Message: p.Message, FirstSeen: time.Now(), LastSeen: time.Now(),
	}
	tx.db.alerts.put(tx, a.ID, a)
	return a, true
}

func alertLockOpen(tx *memoryTx, fingerprint string) (alert, bool) {
	a, ok := tx.openAlertOf(fingerprint)
	if !ok {
		return alert{}, false
	}
	tx.db.alerts.lock(tx, a.ID)
	return tx.openAlertOf(fingerprint) // as it is once the lock is there
}

func alertLockOfMember(tx *memoryTx, p dbsqlc.AlertLockOfMemberParams) (alert, bool) {
	a, ok := tx.openAlertOf(p.Fingerprint)
	if m, is := tx.db.members.get(tx, memberKey{a.ID, p.Member}); !ok || !is || m.left {
		return alert{}, false
	}
	return alertLockOpen(tx, p.Fingerprint)
}

func alertMute(tx *memoryTx, p dbsqlc.AlertMuteParams) (dbsqlc.AlertMuteRow, bool) {
	a, _ := tx.openAlert(func(a alert) bool { return slices.Contains(p.Inhibitors, a.Rule) })
	return dbsqlc.AlertMuteRow{ExpiresAt: time.Now(), InhibitorID: a.ID, Inhibitor: a.Rule}, true
}

func alertSave(tx *memoryTx, p dbsqlc.AlertSaveParams) int64 {
	tx.db.alerts.update(tx, p.ID, always, func(a *alert) {
		a.Occurrences, a.Members, a.Level, a.Status, a.Message, a.Details = p.Occurrences, p.Members, p.Level, p.Status, p.Message, p.Details
		a.InhibitorID, a.LastSeen = p.InhibitorID, time.Now()
	})
	return 1
}

func alertRegroup(tx *memoryTx, p dbsqlc.AlertRegroupParams) int64 {
	tx.db.alerts.update(tx, p.ID, always, func(a *alert) { a.Members, a.Message, a.Details = p.Members, p.Message, p.Details })
	return 1
}

func alertMemberJoin(tx *memoryTx, p dbsqlc.AlertMemberJoinParams) int64 {
	key := memberKey{p.AlertID, p.Member}
	m, ok := tx.db.members.get(tx, key)
	known := ok && !m.left
	if !known {
		m = member{AlertMembersRow: dbsqlc.AlertMembersRow{Member: p.Member, JoinedAt: time.Now()}}
	}
	m.Name, m.Reason = p.Name, p.Reason
	tx.db.members.put(tx, key, m)
	return count(!known)
}

func alertMemberLeave(tx *memoryTx, p dbsqlc.AlertMemberLeaveParams) (string, bool) {
	m, ok := tx.db.members.update(tx, memberKey{p.AlertID, p.Member}, func(m member) bool { return !m.left }, func(m *member) { m.left = true })
	return m.Name, ok
}

func alertMembers(tx *memoryTx, p dbsqlc.AlertMembersParams) (all []dbsqlc.AlertMembersRow) {
	for key, m := range tx.db.members.each(tx, func(a, b memberKey) int { return strings.Compare(a.member, b.member) }) {
		if key.alertID == p.AlertID && !m.left && len(all) < int(p.MaxRows) {
			all = append(all, m.AlertMembersRow)
		}
	}
	return all
}

func alertLeavers(tx *memoryTx, id int64) (all []dbsqlc.AlertLeaversRow) {
	for _, e := range serial(&tx.db.alertEvents, tx) {
		if e.AlertID == id && e.Kind == "left" {
			all = append(all, dbsqlc.AlertLeaversRow{Reason: e.Reason, Members: 1})
		}
	}
	return all
}

func alertClose(tx *memoryTx, id int64) (alert, bool) {
	return tx.db.alerts.update(tx, id, always, func(a *alert) {
		a.Status, a.ResolvedAt, a.InhibitorID = string(alerting.Resolved), now(), nil
	})
}

func alertEventAppend(tx *memoryTx, p dbsqlc.AlertEventAppendParams) int64 {
	tx.db.alertEvents.put(tx, tx.db.next(), alertEvent{AlertID: p.AlertID, At: time.Now(), Kind: p.Kind, Reason: p.Reason})
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
	tx.db.alertEvents.put(tx, tx.db.next(), alertEvent{AlertID: p.AlertID, At: time.Now(), Kind: "repeated"})
	return 1
}

// notificationEnqueue runs for the end of an episode, which no channel heard of.
func notificationEnqueue(*memoryTx, dbsqlc.NotificationEnqueueParams) []dbsqlc.NotificationEnqueueRow {
	return nil
}
