package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/mirror"
)

// maxCommand bounds the body of an operator action, in bytes.
const maxCommand = 64 << 10

// runSync answers POST /api/v1/models/ingest/strapi-sync: 202 once a full
// reconciliation is asked for, not when it is done. entity_types is read, so
// that a mistake is told, but a full reconciliation is always of every type.
func (a *API) runSync(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		EntityTypes []string `json:"entity_types"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCommand)).Decode(&body)
	if err != nil && !errors.Is(err, io.EOF) {
		return &Error{
			Status: http.StatusBadRequest, Code: "invalid_body", cause: err,
			Message: `the body must be empty or JSON such as {"entity_types":["pipeline-deals"]}`,
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	request := mirror.Request{Extent: mirror.Full, Trigger: mirror.TriggerDemand}
	if rec, ok := w.(*recorder); ok {
		request.Actor = rec.actor
	}
	var id int64
	err = pgx.BeginFunc(ctx, a.stages.DB, func(tx pgx.Tx) (err error) {
		id, err = a.stages.Reconcile(ctx, tx, request)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, map[string]string{
		"status": "accepted", "action": "reconciliation_queued", "run_id": strconv.FormatInt(id, 10),
	})
}
