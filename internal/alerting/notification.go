package alerting

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/notify"
)

// RecordNotification appends what became of a notification to the history of its
// alert. It is the notify.Recorder of the service, so alerting alone writes the
// history.
func (a *Alerts) RecordNotification(ctx context.Context, tx pgx.Tx, o notify.Outcome) error {
	err := a.queries.AlertEventAppend(ctx, tx, dbsqlc.AlertEventAppendParams{
		AlertID: o.AlertID, Kind: o.Kind, Level: o.Level, Actor: service, Reason: o.Reason, Details: encodeDetails(o.Details),
	})
	if err != nil {
		return fmt.Errorf("append to the history of alert %d: %w", o.AlertID, err)
	}
	return nil
}
