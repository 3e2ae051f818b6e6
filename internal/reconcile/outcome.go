package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
	"dealbox/internal/text"
)

// typeDone ends the comparison of a type that went well, with the alerts about its rows.
func (s *sweep) typeDone(ctx context.Context, tx pgx.Tx, t strapi.ContentType, row *dbsqlc.ReconciliationType) error {
	if err := s.reportTwins(ctx, tx, t, row); err != nil {
		return err
	}
	if err := s.reportOddRows(ctx, tx, t, row); err != nil {
		return err
	}
	_, err := dbsqlc.New().ReconciliationTypeFinish(ctx, tx, dbsqlc.ReconciliationTypeFinishParams{
		RunID: s.run.ID, UID: t.UID, Status: "done",
	})
	if err != nil {
		return fmt.Errorf("end the comparison of %s: %w", t.Plural, err)
	}
	_, err = s.w.alerts.Resolve(ctx, tx, alerting.RuleReconciliationFailing, t.Plural, t.Plural+" were compared with Strapi")
	return err
}

// typeFailed ends the comparison of a type that cannot be listed. Its ghosts stay as they are.
func (s *sweep) typeFailed(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.w.cfg.RecordTimeout)
	defer cancel()
	row, _, more := s.position()
	if !more {
		return cause
	}
	why := text.Line(cause.Error(), 1000)
	move := dbsqlc.ReconciliationAdvanceParams{Stage: s.stageOf(parts)}
	return s.transact(ctx, &move, func(tx pgx.Tx, _ *dbsqlc.ReconciliationAdvanceParams) error {
		_, err := dbsqlc.New().ReconciliationTypeFinish(ctx, tx, dbsqlc.ReconciliationTypeFinishParams{
			RunID: s.run.ID, UID: row.UID, Status: "failed", Error: &why,
		})
		if err != nil {
			return fmt.Errorf("end the comparison of %s: %w", row.Plural, err)
		}
		return s.w.raiseFailing(ctx, tx, s.run, row.Plural, why)
	})
}

// finish ends the run, as its types ended. cause is what kept it from its end; nil when
// nothing did.
func (w *Worker) finish(ctx context.Context, run dbsqlc.ReconciliationRun, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.RecordTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		p := dbsqlc.ReconciliationFinishParams{ID: run.ID, Generation: run.Generation}
		if cause != nil {
			why := text.Line(cause.Error(), 1000)
			p.Error = &why
			failed, err := dbsqlc.New().ReconciliationTypesFail(ctx, tx, dbsqlc.ReconciliationTypesFailParams{RunID: run.ID, Error: why})
			if err != nil {
				return err
			}
			for _, plural := range failed {
				if err := w.raiseFailing(ctx, tx, run, plural, why); err != nil {
					return err
				}
			}
		}
		status, err := dbsqlc.New().ReconciliationFinish(ctx, tx, p)
		if errors.Is(err, pgx.ErrNoRows) {
			return errTakenOver
		}
		if err != nil || status != "done" || run.Kind != string(Full) || run.Types != nil {
			return err
		}
		// This run may have passed a document already whose webhook was refused since.
		_, err = w.alerts.ResolveSeenBefore(ctx, tx, alerting.RuleWebhooksRefused, "", *run.StartedAt,
			"a full reconciliation read all documents since the last webhook was refused")
		if err != nil {
			return err
		}
		_, err = w.alerts.ResolveSeenBefore(ctx, tx, alerting.RuleBodyQuarantined, alerting.SubjectUnnamed, *run.StartedAt,
			"a full reconciliation read all documents since the last webhook that named none")
		return err
	})
	if errors.Is(err, errTakenOver) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end reconciliation %d: %w", run.ID, err)
	}
	return nil
}

func (w *Worker) raiseFailing(ctx context.Context, tx pgx.Tx, run dbsqlc.ReconciliationRun, plural, cause string) error {
	_, err := w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleReconciliationFailing, Subject: plural, Level: level.Error,
		Message: fmt.Sprintf("Dealbox could not compare %s with Strapi (%s run %d): %s. Webhooks that come are still processed and other types are compared; "+
			"changes of %s whose webhook was lost stay unnoticed. Mostly the cause is Strapi's: 'dealbox sync --full --wait' tries again and shows the error",
			plural, run.Kind, run.ID, cause, plural),
		Details: map[string]any{"run": run.ID, "kind": run.Kind, "type": plural, "error": cause},
	})
	return err
}

// reportTwins warns of documents that are published twice.
func (s *sweep) reportTwins(ctx context.Context, tx pgx.Tx, t strapi.ContentType, row *dbsqlc.ReconciliationType) error {
	twins, err := dbsqlc.New().ReconciliationTwins(ctx, tx, dbsqlc.ReconciliationTwinsParams{RunID: s.run.ID, UID: t.UID, Began: began(row)})
	if err != nil {
		return fmt.Errorf("find %s that are published twice: %w", t.Plural, err)
	}
	if len(twins) == 0 {
		return s.resolveFull(ctx, tx, row, alerting.RulePublishedTwice, "no document is published twice any more")
	}
	var names []string
	for _, twin := range twins[:min(len(twins), 20)] {
		key := mirror.Key{UID: t.UID, DocumentID: twin.DocumentID, Locale: twin.Locale}
		name, err := dbsqlc.New().DealName(ctx, tx, dbsqlc.DealNameParams(key))
		if err != nil {
			return fmt.Errorf("read the name of %s: %w", key, err)
		}
		if name != "" {
			names = append(names, fmt.Sprintf("%q (%s)", name, key))
		} else {
			names = append(names, key.String())
		}
	}
	if err := dbsqlc.New().ReconciliationTypeTwins(ctx, tx, dbsqlc.ReconciliationTypeTwinsParams{RunID: s.run.ID, UID: t.UID, Twins: int64(len(twins))}); err != nil {
		return fmt.Errorf("count the %s that are published twice: %w", t.Plural, err)
	}
	_, err = s.w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RulePublishedTwice, Subject: t.Plural, Level: level.Warning,
		Message: fmt.Sprintf("%d of %s published twice in Strapi: publish it again. %s. Strapi has two published rows of such a document and shows one of them; "+
			"the mirror has what Strapi answers for the document. That is Strapi's fault: it happens when a save and a bulk publish meet",
			len(twins), t.Plural+plainly(len(twins), " is", " are"), examples(names, len(twins))),
		Details: map[string]any{"type": t.UID, "count": len(twins), "documents": names, "run": s.run.ID},
	})
	return err
}

// reportOddRows warns of rows that are no documents.
func (s *sweep) reportOddRows(ctx context.Context, tx pgx.Tx, t strapi.ContentType, row *dbsqlc.ReconciliationType) error {
	now, err := dbsqlc.New().ReconciliationTypeGet(ctx, tx, dbsqlc.ReconciliationTypeGetParams{RunID: s.run.ID, UID: t.UID})
	if err != nil {
		return fmt.Errorf("read the odd rows of %s: %w", t.Plural, err)
	}
	if now.Odd == 0 {
		return s.resolveFull(ctx, tx, row, alerting.RuleUnreadableRows, "every row can be used again")
	}
	ids := make([]string, len(now.OddRows))
	for i, id := range now.OddRows {
		ids[i] = fmt.Sprint(id)
		if id == 0 {
			ids[i] = "one without an id"
		}
	}
	_, err = s.w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleUnreadableRows, Subject: t.Plural, Level: level.Warning,
		Message: fmt.Sprintf("Strapi lists %d %s of %s that Dealbox cannot use and skips: row %s (%s). All others are mirrored, but no deletion of %s is concluded as long as "+
			"it is so. Correct the row in Strapi, or delete it there and create the document again",
			now.Odd, plainly(int(now.Odd), "row", "rows"), t.Plural, examples(ids, int(now.Odd)), *now.OddReason, t.Plural),
		Details: map[string]any{"type": t.UID, "count": now.Odd, "row_ids": now.OddRows, "reason": *now.OddReason, "run": s.run.ID},
	})
	return err
}

// resolveFull resolves an alert about a type, if the type was compared in full: a delta
// does not see every row.
func (s *sweep) resolveFull(ctx context.Context, tx pgx.Tx, row *dbsqlc.ReconciliationType, rule, reason string) error {
	if row.Kind != string(Full) {
		return nil
	}
	_, err := s.w.alerts.Resolve(ctx, tx, rule, row.Plural, reason)
	return err
}

// examples joins the first of n things.
func examples(first []string, n int) string {
	joined := strings.Join(first[:min(len(first), 5)], ", ")
	if n > 5 {
		joined += fmt.Sprintf(" and %d more", n-5)
	}
	return joined
}

func plainly(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
