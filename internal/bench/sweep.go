package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/reconcile"
)

// sweep measures full reconciliations: of an empty database, until the mirror is
// complete, and of a mirror in step, which must not write to it.
func sweep(ctx context.Context, url string, documents int) error {
	s, err := newStack(ctx, url)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	for i := range documents {
		if _, err := create(s.fake, i); err != nil {
			return err
		}
	}
	if err := s.worker.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.worker.Stop(context.WithoutCancel(ctx)) }()

	start := time.Now()
	if _, err := s.reconcile(ctx); err != nil {
		return err
	}
	listed := time.Since(start)
	if err := s.waitComplete(ctx, documents); err != nil {
		return err
	}
	fmt.Printf("  first contact: listed and asked for  %8s   mirror complete  %8s\n", brief(listed), brief(time.Since(start)))

	before, err := s.writes(ctx)
	if err != nil {
		return err
	}
	start = time.Now()
	run, err := s.reconcile(ctx)
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := s.writes(ctx)
	if err != nil {
		return err
	}
	if run.Listed != int64(documents) || before != after {
		return fmt.Errorf("a sweep in step listed %d of %d documents, and what it wrote: %q became %q", run.Listed, documents, before, after)
	}
	fmt.Printf("  in step                              %8s   writes to the mirror    none\n", brief(took))
	return nil
}

func brief(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }

// reconcile asks for a full run and waits for its end.
func (s *stack) reconcile(ctx context.Context) (run dbsqlc.ReconciliationRun, err error) {
	var id int64
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		id, err = s.runs.Request(ctx, tx, reconcile.Request{Extent: reconcile.Full, Trigger: reconcile.TriggerDemand})
		return err
	})
	if err != nil {
		return run, err
	}
	err = poll(ctx, func() (bool, error) {
		run, err = dbsqlc.New().ReconciliationGet(ctx, s.pool, id)
		return run.FinishedAt != nil, err
	})
	if err == nil && run.Status == "failed" {
		err = errors.New(*run.Error)
	}
	return run, err
}

func (s *stack) waitComplete(ctx context.Context, documents int) error {
	return poll(ctx, func() (complete bool, err error) {
		err = s.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM deal WHERE deleted_at IS NULL) = $1
			AND NOT EXISTS (SELECT FROM entity_sync WHERE done_seq < want_seq)`, documents).Scan(&complete)
		return complete, err
	})
}

// writes returns what changes with each write to the mirror: the newest version of
// any row, the log of changes and the requested refreshes.
func (s *stack) writes(ctx context.Context) (text string, err error) {
	err = s.pool.QueryRow(ctx, `SELECT format('rows %s, changes %s, refreshes %s',
		(SELECT max(xmin::text::bigint) FROM deal), (SELECT count(*) FROM mirror_change), (SELECT sum(want_seq) FROM entity_sync))`).Scan(&text)
	return text, err
}
