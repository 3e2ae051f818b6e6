package alerting

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/text"
)

const (
	// namedMembers is how many members the details of an episode name: those that
	// joined first.
	namedMembers = 10
	// maxNamedReason bounds the reason of each of them, in bytes.
	maxNamedReason = 150
	// linkDetail is the detail of an alert that is the address of the document which it
	// is about; package notify makes a link of it.
	linkDetail = "link"
)

// join adds a clean member to the locked episode of row and words the episode anew.
// It returns the history row of a new member. One that was there gets its new reason
// and has no row.
func (a *Alerts) join(ctx context.Context, tx pgx.Tx, row *dbsqlc.Alert, m Member) (*record, error) {
	n, err := a.queries.AlertMemberJoin(ctx, tx, dbsqlc.AlertMemberJoinParams{
		AlertID: row.ID, Member: m.Key, Name: m.Name, Value: m.Value, Shown: m.Shown, Link: m.Link, Reason: m.Reason,
	})
	if err != nil {
		return nil, fmt.Errorf("join %s to alert %d: %w", m.Key, row.ID, err)
	}
	row.Members += n
	var joined *record
	if n > 0 {
		joined = &record{kind: "joined", cause: cause{reason: m.Reason}, values: values{Member: m.Key, Name: m.Name}}
	}
	return joined, a.describe(ctx, tx, row)
}

// Leave takes a member out of the open episodes of a rule and a subject, or of every
// subject where that is "", and reports whether it was in one. A document is in the
// episodes of two subjects after its type's plural has changed in the settings. The
// reason says what became of it in a few words, such as "synchronised". When the last
// member of an episode leaves, the episode resolves, and its message says what became
// of all.
//
// A member locks the episode's row until tx ends, so let it leave after all
// documents' rows are locked. Whoever is no member takes no lock.
func (a *Alerts) Leave(ctx context.Context, tx pgx.Tx, rule, subject, member, reason string) (was bool, err error) {
	member, reason = fit(member), text.Line(reason, maxReason)
	for {
		row, err := a.queries.AlertLockOfMember(ctx, tx, dbsqlc.AlertLockOfMemberParams{Rule: rule, Subject: fit(subject), Member: member})
		if errors.Is(err, pgx.ErrNoRows) {
			return was, nil
		}
		if err != nil {
			return was, fmt.Errorf("lock the episode of %s: %w", rule, err)
		}
		if err := a.leave(ctx, tx, row, member, reason); err != nil {
			return was, err
		}
		was = true
	}
}

// leave takes a member out of the locked episode of row.
func (a *Alerts) leave(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert, member, reason string) error {
	left, err := a.queries.AlertMemberLeave(ctx, tx, dbsqlc.AlertMemberLeaveParams{AlertID: row.ID, Member: member})
	if err != nil {
		return fmt.Errorf("take %s out of alert %d: %w", member, row.ID, err)
	}
	lvl, err := level.Parse(row.Level)
	if err != nil {
		return fmt.Errorf("read alert %d: %w", row.ID, err)
	}
	r := record{kind: "left", level: lvl, cause: cause{reason: reason}, values: values{Member: member, Name: left.Name}}
	if err := a.append(ctx, tx, row.ID, r); err != nil {
		return err
	}
	row.Members--
	if row.Members > 0 {
		err = a.describe(ctx, tx, &row)
	}
	if err != nil {
		return err
	}
	err = a.queries.AlertRegroup(ctx, tx, dbsqlc.AlertRegroupParams{ID: row.ID, Members: row.Members, Message: row.Message, Details: row.Details})
	if err != nil {
		return fmt.Errorf("save the group of alert %d: %w", row.ID, err)
	}
	if row.Members > 0 {
		return nil
	}
	return a.closeGroup(ctx, tx, row, Member{Key: member, Name: left.Name, Value: left.Value})
}

// describe words the message and details of an episode from its members.
func (a *Alerts) describe(ctx context.Context, tx pgx.Tx, row *dbsqlc.Alert) error {
	first, err := a.queries.AlertMembers(ctx, tx, dbsqlc.AlertMembersParams{AlertID: row.ID, MaxRows: namedMembers})
	if err != nil {
		return fmt.Errorf("read the members of alert %d: %w", row.ID, err)
	}
	named := make([]map[string]string, len(first))
	for i, m := range first {
		named[i] = map[string]string{
			"document": m.Member, "name": m.Name, "value": m.Value, "shown": m.Shown, "link": m.Link, "error": text.Line(m.Reason, maxNamedReason),
		}
	}
	details := map[string]any{"type": row.Subject, "count": row.Members, "documents": named}
	if words := ruleOf(row.Rule).Group; words != nil && len(first) > 0 {
		f := first[0]
		example := Member{Key: f.Member, Name: f.Name, Value: f.Value, Shown: f.Shown, Link: f.Link, Reason: f.Reason}
		row.Message = text.Line(words(row.Subject, row.Members, example), maxMessage)
		details[linkDetail] = f.Link
	}
	row.Details = encodeDetails(details)
	return nil
}

// closeGroup resolves an episode whose members have all left, with what became of
// them, such as "5,000 documents: 4,990 synchronised, 10 deleted in Strapi".
func (a *Alerts) closeGroup(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert, last Member) error {
	leavers, err := a.queries.AlertLeavers(ctx, tx, row.ID)
	if err != nil {
		return fmt.Errorf("read who left alert %d: %w", row.ID, err)
	}
	var total int64
	parts, outcomes := make([]string, len(leavers)), map[string]int64{}
	for i, l := range leavers {
		total += l.Members
		parts[i] = thousands(l.Members) + " " + l.Reason
		outcomes[l.Reason] = l.Members
	}
	outcome := documents(total) + ": " + strings.Join(parts, ", ")
	_, err = a.close(ctx, tx, row.ID, ending{
		cause:   cause{reason: text.Line(outcome, maxReason)},
		message: ruleOf(row.Rule).groupEnd(row.Subject, total, last, strings.Join(parts, ", ")),
		details: encodeDetails(map[string]any{"type": row.Subject, "count": total, "outcomes": outcomes}),
	})
	return err
}
