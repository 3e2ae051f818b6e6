// Package operator records what operators do that no other history names.
package operator

import (
	"context"
	"encoding/json"
	"fmt"

	"dealbox/internal/dbsqlc"
)

// Action names what an operator did; it stands in operator_action.
type Action string

// The actions. Breaker, alerts and silences have histories of their own; the view
// audit_operator has all.
const (
	Replay       Action = "replay"
	Sync         Action = "sync"
	AllowDeletes Action = "allow_deletes"
	ForecastRun  Action = "forecast_run"
	TestAlert    Action = "test_alert"
)

// Record appends an action. Give it the transaction of the action, so that one is not
// done without the other. The actor is cli:<os user> or the name of an admin token.
func Record(ctx context.Context, db dbsqlc.DBTX, actor string, action Action, details map[string]any) error {
	text, err := json.Marshal(details)
	if err == nil {
		err = dbsqlc.New().OperatorActionInsert(ctx, db, dbsqlc.OperatorActionInsertParams{Actor: actor, Action: string(action), Details: text})
	}
	if err != nil {
		return fmt.Errorf("record that %s did %s: %w", actor, action, err)
	}
	return nil
}
