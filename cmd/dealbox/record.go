package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/notify"
)

// recordNotification writes what became of a notification into the history of its alert.
func recordNotification(ctx context.Context, tx pgx.Tx, o notify.Outcome) error {
	details, err := json.Marshal(o.Details)
	if err != nil {
		return fmt.Errorf("write the details of alert %d: %w", o.AlertID, err)
	}
	return dbsqlc.New().AlertEventAppend(ctx, tx, dbsqlc.AlertEventAppendParams{
		AlertID: o.AlertID, Kind: o.Kind, Level: o.Level, Actor: "dealbox", Reason: o.Reason, Details: details,
	})
}
