package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// guard decides about all differences of a type together, before any is refreshed: what is
// too much to be believed is held back, and what only many documents together show gets
// its name.
func (s *sweep) guard(ctx context.Context, t strapi.ContentType, row *dbsqlc.ReconciliationType) error {
	move := dbsqlc.ReconciliationAdvanceParams{Stage: s.stageOf(partRefresh)}
	return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
		if row.Kind == string(Full) {
			if err := s.guardDeletions(ctx, tx, t, move); err != nil {
				return err
			}
		}
		live, err := dbsqlc.New().GuardCount(ctx, tx, t.UID)
		if err != nil {
			return fmt.Errorf("count %s: %w", t.Plural, err)
		}
		g := mirror.Guard{Live: live.Live}
		if err := s.guardValues(ctx, tx, t, row, g, move); err != nil {
			return err
		}
		return s.explain(ctx, tx, t, row, g)
	})
}

// guardDeletions asks the deletion guard about all ghosts of a type together: when they are
// too many, none of them is refreshed. Where the run may delete, refresh says so of each.
func (s *sweep) guardDeletions(ctx context.Context, tx pgx.Tx, t strapi.ContentType, move *dbsqlc.ReconciliationAdvanceParams) error {
	if s.allowsDeletes(t) {
		// Before the guard's row: a sync takes its document's lock before the guard's, too.
		if err := mirror.AllowHeldBack(ctx, tx, t.UID); err != nil {
			return err
		}
	}
	n, err := dbsqlc.New().ReconciliationGhostCount(ctx, tx, dbsqlc.ReconciliationGhostCountParams{RunID: s.run.ID, UID: t.UID})
	if err != nil {
		return fmt.Errorf("count ghosts: %w", err)
	}
	g, err := mirror.ReadGuard(ctx, tx, t.UID)
	if err != nil {
		return err
	}
	if !s.allowsDeletes(t) && holdsBackAll(g, n.Unverified, n.Waiting >= g.Live) {
		move.Held = n.Waiting
		err := dbsqlc.New().ReconciliationHoldGhosts(ctx, tx, dbsqlc.ReconciliationHoldGhostsParams{RunID: s.run.ID, UID: t.UID})
		if err != nil {
			return fmt.Errorf("hold ghosts back: %w", err)
		}
		return mirror.TripGuard(ctx, tx, s.w.alerts, t, map[string]any{
			"type": t.UID, "vanished": n.Waiting, "live": g.Live, "limit": g.Limit(),
			"deleted_last_hour": g.Counted, "examples": n.Examples, "run": s.run.ID,
		})
	}
	if !g.Tripped && !s.allowsDeletes(t) {
		return nil
	}
	reason := fmt.Sprintf("a full reconciliation found %d documents that Strapi no longer has, which is plausible", n.Waiting)
	if s.allowsDeletes(t) {
		reason = "the deletions were allowed by " + s.run.Actor
	}
	return mirror.ResetGuard(ctx, tx, s.w.alerts, t, reason)
}

// allowsDeletes reports whether an operator allowed this run to follow whatever it finds of a type.
func (s *sweep) allowsDeletes(t strapi.ContentType) bool {
	return s.run.AllowDeletes && (s.run.AllowTypes == nil || slices.Contains(s.run.AllowTypes, t.UID))
}

// holdsBackAll reports whether a run that found so many ghosts which no verified
// entry.delete names may refresh none. empty is whether the list showed no document
// at all: that outweighs verified events here, too.
func holdsBackAll(g mirror.Guard, unverified int64, empty bool) bool {
	return unverified > 0 && g.Counted+unverified > g.Limit() || empty && g.Live > g.Limit()
}

// guardValues is the guard against values that vanish in many documents at once: an
// attribute that was renamed or made private, a changed mapping, a restored backup, a script
// that went wrong. Where an essential value is empty in more documents than is plausible, none
// of those documents is refreshed, so the mirror and the forecast keep what they have.
func (s *sweep) guardValues(ctx context.Context, tx pgx.Tx, t strapi.ContentType, row *dbsqlc.ReconciliationType,
	g mirror.Guard, move *dbsqlc.ReconciliationAdvanceParams,
) error {
	emptied, err := dbsqlc.New().ReconciliationEmptied(ctx, tx, dbsqlc.ReconciliationEmptiedParams{RunID: s.run.ID, UID: t.UID})
	if err != nil {
		return fmt.Errorf("count the %s that lost a value: %w", t.Plural, err)
	}
	var many []dbsqlc.ReconciliationEmptiedRow
	var columns []string
	for _, e := range emptied {
		if e.Documents > g.Limit() {
			many, columns = append(many, e), append(columns, e.Name)
		}
	}
	if len(many) == 0 || s.allowsDeletes(t) {
		return s.valuesPass(ctx, tx, t, row, len(many) == 0)
	}
	move.HeldNulls, err = dbsqlc.New().ReconciliationHoldEmptied(ctx, tx, dbsqlc.ReconciliationHoldEmptiedParams{
		RunID: s.run.ID, UID: t.UID, Columns: columns,
	})
	if err != nil {
		return fmt.Errorf("hold %s back that lost a value: %w", t.Plural, err)
	}
	_, err = s.w.alerts.Raise(ctx, tx, emptiedAlert(t, many, g, move.HeldNulls, s.run.ID))
	return err
}

func emptiedAlert(t strapi.ContentType, many []dbsqlc.ReconciliationEmptiedRow, g mirror.Guard, held, run int64) alerting.Alert {
	first := many[0]
	var emptied []alerting.Emptied
	byColumn := map[string]int64{}
	for _, e := range many {
		emptied = append(emptied, alerting.Emptied{Column: attributeText(t, e.Name), Documents: e.Documents})
		byColumn[e.Name] = e.Documents
	}
	return alerting.Alert{
		Rule: alerting.RuleMassNullGuard, Subject: t.Plural, Level: level.Critical,
		Message: alerting.MassNullGuard(t.Plural, emptied, held, first.Restored, first.Examples[0]),
		Details: map[string]any{
			"type": t.UID, "columns": byColumn, "held": held, "live": g.Live, "limit": g.Limit(),
			"updated_at_went_back": first.Restored, "examples": first.Examples, "run": run,
		},
	}
}

// attributeText names a column, and Strapi's attribute where that has another name.
func attributeText(t strapi.ContentType, column string) string {
	if theirs := t.Field(column); theirs != column {
		return fmt.Sprintf("%s (Strapi's %s)", column, theirs)
	}
	return column
}

// valuesPass ends the alert of guardValues: a full run found nothing to hold back, or a
// person let it pass.
func (s *sweep) valuesPass(ctx context.Context, tx pgx.Tx, t strapi.ContentType, row *dbsqlc.ReconciliationType, plausible bool) error {
	if row.Kind != string(Full) {
		return nil
	}
	reason := "a full reconciliation found the values again, or that only a plausible number is gone"
	if !plausible {
		reason = s.run.Actor + " allowed the values to be empty"
	}
	_, err := s.w.alerts.Resolve(ctx, tx, alerting.RuleMassNullGuard, t.Plural, alerting.EndMassNullGuard(t.Plural, reason))
	return err
}

// explain names what only many documents together show: a changed schema or setting, and a
// restored backup. No webhook announces either, and both are followed, so people must
// know why so much changes.
func (s *sweep) explain(ctx context.Context, tx pgx.Tx, t strapi.ContentType, row *dbsqlc.ReconciliationType, g mirror.Guard) error {
	n, err := dbsqlc.New().ReconciliationExplain(ctx, tx, dbsqlc.ReconciliationExplainParams{RunID: s.run.ID, UID: t.UID, Most: g.Limit()})
	if err != nil {
		return fmt.Errorf("explain the differences of %s: %w", t.Plural, err)
	}
	var text string
	switch {
	case n.Restored > g.Limit():
		text = alerting.MassChangeRestored(t.Plural, n.Restored)
	case n.Schema > g.Limit() && n.Columns != "":
		text = alerting.MassChangeColumns(t.Plural, n.Schema, n.Columns)
	case n.Schema > g.Limit():
		text = alerting.MassChangeLocales(t.Plural, n.Schema)
	case row.Kind == string(Full):
		_, err := s.w.alerts.Resolve(ctx, tx, alerting.RuleMassChange, t.Plural, alerting.EndMassChange(t.Plural))
		return err
	default:
		return nil
	}
	_, err = s.w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleMassChange, Subject: t.Plural, Level: level.Warning, Message: text,
		Details: map[string]any{
			"type": t.UID, "restored": n.Restored, "schema": n.Schema, "columns": n.Columns, "live": g.Live, "limit": g.Limit(),
			"example": n.Example, "run": s.run.ID,
		},
	})
	return err
}
