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
)

// join adds a clean member to the locked episode of row and words the episode anew.
// It returns the history row of a new member. One that was there gets its new reason
// and has no row.
func (a *Alerts) join(ctx context.Context, tx pgx.Tx, row *dbsqlc.Alert, m Member) (*record, error) {
	n, err := a.queries.AlertMemberJoin(ctx, tx, dbsqlc.AlertMemberJoinParams{
		AlertID: row.ID, Member: m.Key, Name: m.Name, Reason: m.Reason,
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

// Leave takes a member out of the open episode of a rule and subject and reports
// whether it was one. The reason says what became of it in a few words, such as
// "synchronised". When the last member leaves, the episode resolves, and its
// message says what became of all.
//
// A member locks the episode's row until tx ends, so let it leave after all
// documents' rows are locked. Whoever is no member takes no lock.
func (a *Alerts) Leave(ctx context.Context, tx pgx.Tx, rule, subject, member, reason string) (bool, error) {
	member, reason = fit(member), text.Line(reason, maxReason)
	row, err := a.queries.AlertLockOfMember(ctx, tx, dbsqlc.AlertLockOfMemberParams{Fingerprint: fingerprint(rule, subject), Member: member})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock the episode of %s: %w", rule, err)
	}
	name, err := a.queries.AlertMemberLeave(ctx, tx, dbsqlc.AlertMemberLeaveParams{AlertID: row.ID, Member: member})
	if err != nil {
		return false, fmt.Errorf("take %s out of alert %d: %w", member, row.ID, err)
	}
	lvl, err := level.Parse(row.Level)
	if err != nil {
		return false, fmt.Errorf("read alert %d: %w", row.ID, err)
	}
	left := record{kind: "left", level: lvl, cause: cause{reason: reason}, values: values{Member: member, Name: name}}
	if err := a.append(ctx, tx, row.ID, left); err != nil {
		return false, err
	}
	row.Members--
	return true, a.afterLeave(ctx, tx, row)
}

// afterLeave words the episode of the members that remain, or resolves it.
func (a *Alerts) afterLeave(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert) error {
	var outcome string
	var err error
	if row.Members > 0 {
		err = a.describe(ctx, tx, &row)
	} else {
		outcome, err = a.outcome(ctx, tx, &row)
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
	_, err = a.close(ctx, tx, row.ID, cause{reason: text.Line(outcome, maxReason)})
	return err
}

// describe words the message and details of an episode from its members.
func (a *Alerts) describe(ctx context.Context, tx pgx.Tx, row *dbsqlc.Alert) error {
	first, err := a.queries.AlertMembers(ctx, tx, dbsqlc.AlertMembersParams{AlertID: row.ID, MaxRows: namedMembers})
	if err != nil {
		return fmt.Errorf("read the members of alert %d: %w", row.ID, err)
	}
	named := make([]map[string]string, len(first))
	for i, m := range first {
		first[i].Reason = text.Line(m.Reason, maxNamedReason)
		named[i] = map[string]string{"document": m.Member, "name": m.Name, "error": first[i].Reason}
	}
	row.Details = encodeDetails(map[string]any{"type": row.Subject, "count": row.Members, "documents": named})
	if words := ruleOf(row.Rule).Group; words != nil && len(first) > 0 {
		example := Member{Key: first[0].Member, Name: first[0].Name, Reason: first[0].Reason}
		row.Message = text.Line(words(row.Subject, row.Members, example), maxMessage)
	}
	return nil
}

// outcome says what became of all members, such as "5,000 documents: 4,990
// synchronised, 10 deleted in Strapi", and words the episode with it.
func (a *Alerts) outcome(ctx context.Context, tx pgx.Tx, row *dbsqlc.Alert) (string, error) {
	leavers, err := a.queries.AlertLeavers(ctx, tx, row.ID)
	if err != nil {
		return "", fmt.Errorf("read who left alert %d: %w", row.ID, err)
	}
	var total int64
	parts, outcomes := make([]string, len(leavers)), map[string]int64{}
	for i, l := range leavers {
		total += l.Members
		parts[i] = thousands(l.Members) + " " + l.Reason
		outcomes[l.Reason] = l.Members
	}
	outcome := documents(total) + ": " + strings.Join(parts, ", ")
	row.Message = text.Line(fmt.Sprintf(ruleOf(row.Rule).GroupOver, row.Subject)+"; "+outcome, maxMessage)
	row.Details = encodeDetails(map[string]any{"type": row.Subject, "count": total, "outcomes": outcomes})
	return outcome, nil
}
