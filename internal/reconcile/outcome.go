package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/mirror"
	"dealbox/internal/pgerr"
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
	if row.Kind == string(Full) {
		// This run may have passed a document already whose webhook came since.
		_, err = s.w.alerts.ResolveSeenBefore(ctx, tx, alerting.RuleBodyQuarantined, alerting.SubjectUnnamedOf(t.Plural), *s.run.StartedAt, alerting.EndBodyUnnamed)
		if err != nil {
			return err
		}
	}
	_, err = s.w.alerts.Resolve(ctx, tx, alerting.RuleReconciliationFailing, t.Plural, alerting.EndReconciliationFailing(t.Plural))
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
		return s.w.raiseFailing(ctx, tx, s.run, row.Plural, cause)
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
				if err := w.raiseFailing(ctx, tx, run, plural, cause); err != nil {
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
		// This run may have passed a document already whose webhook was refused since. A
		// webhook locks the episodes in this order, too.
		_, err = w.alerts.ResolveSeenBefore(ctx, tx, alerting.RuleBodyQuarantined, alerting.SubjectUnnamed, *run.StartedAt, alerting.EndBodyUnnamed)
		if err != nil {
			return err
		}
		_, err = w.alerts.ResolveSeenBefore(ctx, tx, alerting.RuleWebhooksRefused, "", *run.StartedAt, alerting.EndWebhooksRefused)
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

func (w *Worker) raiseFailing(ctx context.Context, tx pgx.Tx, run dbsqlc.ReconciliationRun, plural string, cause error) error {
	_, err := w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleReconciliationFailing, Subject: plural, Level: level.Error,
		Message: wordsOfFailure(run, plural, cause),
		Details: map[string]any{"run": run.ID, "kind": run.Kind, "type": plural, "error": text.Line(cause.Error(), 1000)},
	})
	return err
}

// wordsOfFailure says why a type could not be compared, and on whose side that is.
func wordsOfFailure(run dbsqlc.ReconciliationRun, plural string, cause error) string {
	_, isStrapi := errors.AsType[*strapi.Error](cause)
	if !isStrapi && (pgerr.Code(cause) != "" || pgerr.IsUnavailable(cause)) {
		return alerting.ReconciliationStopped(plural, run.Kind, run.ID, cmp.Or(pgerr.Message(cause), "it gives no answer"))
	}
	return alerting.ReconciliationFailing(plural, run.Kind, run.ID, strapi.Words(cause))
}

// reportTwins warns of documents that are published twice.
func (s *sweep) reportTwins(ctx context.Context, tx pgx.Tx, t strapi.ContentType, row *dbsqlc.ReconciliationType) error {
	twins, err := dbsqlc.New().ReconciliationTwins(ctx, tx, dbsqlc.ReconciliationTwinsParams{RunID: s.run.ID, UID: t.UID, Began: began(row)})
	if err != nil {
		return fmt.Errorf("find %s that are published twice: %w", t.Plural, err)
	}
	if len(twins) == 0 {
		return s.resolveFull(ctx, tx, row, alerting.RulePublishedTwice, alerting.EndPublishedTwice(t.Plural))
	}
	var names []string
	for _, twin := range twins[:min(len(twins), 20)] {
		key := mirror.Key{UID: t.UID, DocumentID: twin.DocumentID, Locale: twin.Locale}
		doc, err := dbsqlc.New().DocumentDescribe(ctx, tx, dbsqlc.DocumentDescribeParams(key))
		if err != nil {
			return fmt.Errorf("read the name of %s: %w", key, err)
		}
		if doc.Name != "" {
			names = append(names, fmt.Sprintf("%q (%s)", doc.Name, key))
		} else {
			names = append(names, key.String())
		}
	}
	if err := dbsqlc.New().ReconciliationTypeTwins(ctx, tx, dbsqlc.ReconciliationTypeTwinsParams{RunID: s.run.ID, UID: t.UID, Twins: int64(len(twins))}); err != nil {
		return fmt.Errorf("count the %s that are published twice: %w", t.Plural, err)
	}
	_, err = s.w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RulePublishedTwice, Subject: t.Plural, Level: level.Warning,
		Message: alerting.PublishedTwice(t.Plural, len(twins), names),
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
		return s.resolveFull(ctx, tx, row, alerting.RuleUnreadableRows, alerting.EndUnreadableRows(t.Plural))
	}
	var ids []string
	for _, id := range now.OddRows {
		if id > 0 {
			ids = append(ids, fmt.Sprint(id))
		}
	}
	_, err = s.w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleUnreadableRows, Subject: t.Plural, Level: level.Warning,
		Message: alerting.UnreadableRows(t.Plural, int(now.Odd), ids, *now.OddReason),
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
