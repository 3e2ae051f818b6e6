package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/pgerr"
	"dealbox/internal/retry"
	"dealbox/internal/strapi"
)

// sweep is a run as this runner works it. Its position is in the row: each step
// moves it in the transaction of what it found, so that a crash repeats a step
// and loses none.
type sweep struct {
	w       *Worker
	run     dbsqlc.ReconciliationRun
	types   []dbsqlc.ReconciliationType // of the run, in the order in which they are compared
	breaker circuit.Snapshot
	// pageSize is what is requested now; pages counts those that came at this size.
	pageSize, pages int
}

// part of the comparison of one type. They follow each other in this order.
type part int

const (
	partPublished      part = iota // list what is published
	partDrafts                     // list the drafts
	partPublishedAgain             // list what was published meanwhile
	partCompare                    // compare what was listed with the mirror
	partGuard                      // decide what is too much to be believed
	partRefresh                    // request the refreshes
	partDead                       // try dead letters again, if an operator wants that
	parts
)

// position returns the type and the part that is next; false when the run is over.
func (s *sweep) position() (*dbsqlc.ReconciliationType, part, bool) {
	i := int(s.run.Stage) / int(parts)
	if i >= len(s.types) {
		return nil, 0, false
	}
	return &s.types[i], part(int(s.run.Stage) % int(parts)), true
}

// stageOf returns the number of a part of the type that is under way. parts itself is the
// first part of the next type.
func (s *sweep) stageOf(p part) int32 {
	return s.run.Stage/int32(parts)*int32(parts) + int32(p)
}

// step does the next part, or a page or a portion of it. It holds one page in
// memory, and no transaction while Strapi answers. The error is a typeError where
// only this type cannot be compared.
func (s *sweep) step(ctx context.Context) (over bool, err error) {
	row, p, more := s.position()
	if !more {
		return true, nil
	}
	i := slices.IndexFunc(s.w.cfg.Types, func(t strapi.ContentType) bool { return t.UID == row.UID })
	if i < 0 {
		return false, typeError{errors.New("the content type is no longer in the settings")}
	}
	t := s.w.cfg.Types[i]
	switch p {
	case partPublished, partPublishedAgain:
		return false, s.list(ctx, t, row, p, strapi.Published)
	case partDrafts:
		return false, s.list(ctx, t, row, p, strapi.Draft)
	case partCompare:
		return false, s.compare(ctx, t, row)
	case partGuard:
		return false, s.guard(ctx, t, row)
	case partRefresh:
		return false, s.refresh(ctx, t)
	default:
		return false, s.dead(ctx, t, row)
	}
}

// typeError is a failure of one type: the others are compared all the same.
type typeError struct{ error }

func (e typeError) Unwrap() error { return e.error }

// aboutType marks why a list could not be read as the type's failure. What postpones the
// whole run stays as it is: the breaker, the end of the job, and Dealbox's own database.
func aboutType(err error) error {
	if errors.Is(err, circuit.ErrOpen) || errors.Is(err, context.Canceled) || mirror.IsDatabaseError(err) {
		return err
	}
	return typeError{err}
}

// isAway reports whether the database could not be used for now: what failed is done again
// later. A statement that took too long is not so, because it would take as long again.
func isAway(err error) bool {
	return pgerr.IsConflict(err) || pgerr.IsUnavailable(err) && !isLate(err) && pgerr.Code(err) != statementTimeout
}

// statementTimeout is the SQLSTATE of a statement that was cut off.
const statementTimeout = "57014"

// isLate reports whether the time of a slice was over.
func isLate(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, retry.ErrTooLate)
}

// conflictTries bounds how often a transaction is repeated after a conflict.
const conflictTries = 5

// transact runs a step's writes and moves the run with them, again after a
// conflict. It writes nothing when another runner has taken over.
func (s *sweep) transact(ctx context.Context, move *dbsqlc.ReconciliationAdvanceParams,
	write func(pgx.Tx, *dbsqlc.ReconciliationAdvanceParams) error,
) (err error) {
	start := *move
	for range conflictTries {
		*move = start
		err = pgx.BeginFunc(ctx, s.w.pool, func(tx pgx.Tx) error {
			if err := write(tx, move); err != nil {
				return err
			}
			move.ID, move.Generation, move.LeaseSeconds = s.run.ID, s.run.Generation, runLease.Seconds()
			rows, err := dbsqlc.New().ReconciliationAdvance(ctx, tx, *move)
			if err == nil && rows == 0 {
				err = errTakenOver
			}
			return err
		})
		if !pgerr.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write a step of reconciliation %d: %w", s.run.ID, err)
	}
	s.run.Stage, s.run.Cursor = move.Stage, move.Cursor
	return nil
}
