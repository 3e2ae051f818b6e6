package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// list reads one page of a type's list and keeps it for the comparison. Published rows
// and drafts are listed one after the other, each with a cursor of its own, because
// their ids interleave.
func (s *sweep) list(ctx context.Context, t strapi.ContentType, row *dbsqlc.ReconciliationType, p part, version strapi.Version) error {
	q := strapi.ListQuery{Version: version, After: s.rowCursor(), Count: s.run.Cursor == "" && p != partPublishedAgain}
	if p == partPublishedAgain {
		q.After = max(q.After, row.PublishedUpto)
	}
	if row.Since != nil {
		q.Since = *row.Since
	}
	page, err := s.page(ctx, t, q)
	if err != nil {
		return aboutType(fmt.Errorf("list %s: %w", t.Plural, err))
	}
	if p == partDrafts && !areDrafts(page) {
		// The same rows as the published ones: the type has no drafts.
		return s.transact(ctx, &dbsqlc.ReconciliationAdvanceParams{Stage: s.stageOf(partCompare)},
			func(pgx.Tx, *dbsqlc.ReconciliationAdvanceParams) error { return nil })
	}
	move := s.next(row, p, page)
	if q.Count {
		// Each published document is a draft, too, where the type has drafts.
		move.Expected = max(int64(page.Total)-row.Listed, 0)
	}
	return s.stage(ctx, t, row, version, page, move)
}

// rowCursor returns the last row id of the page before; 0 at the beginning.
func (s *sweep) rowCursor() int64 {
	id, _ := strconv.ParseInt(s.run.Cursor, 10, 64) // "" is the beginning
	return id
}

// next returns where the run goes on behind a page. A list ends with an empty page: a
// short one may only mean that something between left rows out. A delta concludes
// nothing from what is not there, so it saves that request.
func (s *sweep) next(row *dbsqlc.ReconciliationType, p part, page strapi.Page) dbsqlc.ReconciliationAdvanceParams {
	isEnd := page.Last == 0 || row.Kind == string(Delta) && page.Rows < page.Size
	if !isEnd {
		return dbsqlc.ReconciliationAdvanceParams{Stage: s.run.Stage, Cursor: strconv.FormatInt(page.Last, 10)}
	}
	if p == partDrafts && page.Rows == 0 && s.run.Cursor == "" {
		return dbsqlc.ReconciliationAdvanceParams{Stage: s.stageOf(partCompare)} // no draft at all
	}
	return dbsqlc.ReconciliationAdvanceParams{Stage: s.run.Stage + 1}
}

// growAfter is after how many pages a page size that was cut is doubled again.
const growAfter = 8

// page reads one page. One that is too large is requested again in half the size. One row
// that is too large by itself is read by its id alone, and skipped as an odd one.
func (s *sweep) page(ctx context.Context, t strapi.ContentType, q strapi.ListQuery) (strapi.Page, error) {
	for {
		q.PageSize = s.pageSize
		page, err := s.w.source.List(ctx, t, q, s.breaker)
		switch {
		case errors.Is(err, strapi.ErrTooLarge) && s.pageSize > 1:
			s.pageSize, s.pages = s.pageSize/2, 0
			continue
		case errors.Is(err, strapi.ErrTooLarge) && !q.IDsOnly:
			q.IDsOnly = true
			continue
		case err != nil:
			return page, err
		case page.Last == 0 && page.Rows > 0 && page.Rows >= page.Size:
			return page, &strapi.Error{
				Kind: strapi.Unreadable, Status: 200, Op: page.Op,
				Message: "no row of the page has an id that can be read, so the list cannot be read on",
			}
		}
		if q.IDsOnly {
			for _, doc := range page.Documents {
				page.Odd = append(page.Odd, strapi.OddRow{ID: doc.ID, Reason: "the row is too large to be read"})
			}
			page.Documents = nil
		}
		if s.pages++; s.pages%growAfter == 0 {
			s.pageSize = min(2*s.pageSize, s.w.cfg.PageSize)
		}
		return page, nil
	}
}

// areDrafts reports whether a list of drafts is one: those are never published. For a
// type without drafts Strapi lists what is published.
func areDrafts(page strapi.Page) bool {
	for _, d := range page.Documents {
		if d.PublishedAt != nil {
			return false
		}
	}
	return true
}

// stage keeps a page for the comparison.
func (s *sweep) stage(ctx context.Context, t strapi.ContentType, row *dbsqlc.ReconciliationType,
	version strapi.Version, page strapi.Page, move dbsqlc.ReconciliationAdvanceParams,
) error {
	staged := dbsqlc.ReconciliationStageParams{
		RunID: s.run.ID, UID: t.UID, Version: string(version),
		// The first contact with a type need not wait for the end of the list.
		Request: !row.Baseline,
	}
	for _, doc := range page.Documents {
		staged.DocumentIds = append(staged.DocumentIds, doc.DocumentID)
		staged.Locales = append(staged.Locales, doc.Locale)
		staged.RowIds = append(staged.RowIds, doc.ID)
		staged.Attributes = append(staged.Attributes, s.w.attributes(t, version, doc))
	}
	seen := listedPage(s.run.ID, row, version, page)
	err := s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
		kept, err := dbsqlc.New().ReconciliationStage(ctx, tx, staged)
		if err != nil {
			return fmt.Errorf("stage a page of %s: %w", t.Plural, err)
		}
		var unknown []mirror.Refresh
		seen.Listed = 0
		for _, k := range kept {
			if k.Repeated {
				continue
			}
			seen.Listed++
			if k.Requested {
				unknown = append(unknown, mirror.Refresh{Key: mirror.Key{UID: t.UID, DocumentID: k.DocumentID, Locale: k.Locale}})
			}
		}
		move.Listed, move.Odd = seen.Listed, int64(len(page.Odd))
		move.Missing, move.Enqueued = int64(len(unknown)), int64(len(unknown))
		if err := dbsqlc.New().ReconciliationTypeListed(ctx, tx, seen); err != nil {
			return fmt.Errorf("count a page of %s: %w", t.Plural, err)
		}
		_, err = s.w.refreshes.Enqueue(ctx, tx, unknown)
		return err
	})
	if err != nil {
		return err
	}
	row.Listed, row.PublishedUpto = row.Listed+seen.Listed, max(row.PublishedUpto, seen.PublishedUpto)
	if row.AnsweredAt == nil {
		row.AnsweredAt = seen.AnsweredAt
	}
	return nil
}

// listedPage returns what a page adds to its type.
func listedPage(run int64, row *dbsqlc.ReconciliationType, version strapi.Version, page strapi.Page) dbsqlc.ReconciliationTypeListedParams {
	seen := dbsqlc.ReconciliationTypeListedParams{RunID: run, UID: row.UID, LeaseSeconds: runLease.Seconds(), OddRows: []int64{}}
	if version == strapi.Published {
		seen.PublishedUpto = page.Last
	}
	if !page.Date.IsZero() {
		seen.AnsweredAt = &page.Date
	}
	for i, odd := range page.Odd {
		seen.OddRows = append(seen.OddRows, odd.ID)
		if i == 0 {
			seen.OddReason = &odd.Reason
		}
	}
	return seen
}

// twinSlack is how long before the list began a row must have been published to count as
// one that was there all the time: publishedAt is taken before the commit, and Strapi's
// Date header has whole seconds.
const twinSlack = 10 * time.Second

// began returns from when on a publication may have replaced a row that was listed.
func began(row *dbsqlc.ReconciliationType) time.Time {
	switch {
	case row.AnsweredAt != nil:
		return row.AnsweredAt.Add(-twinSlack)
	case row.StartedAt != nil:
		return row.StartedAt.Add(-twinSlack)
	}
	return time.Now().Add(-time.Hour) // Strapi sent no Date
}
