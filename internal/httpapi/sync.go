package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/operator"
	"dealbox/internal/reconcile"
	"dealbox/internal/strapi"
	"dealbox/internal/text"
)

// runSync serves POST /api/v1/models/ingest/strapi-sync: 202 once a full
// reconciliation is queued, not when it is done. It always compares every type:
// entity_types is checked, so that the caller learns of a mistake, but does not
// narrow the run.
func (a *API) runSync(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		EntityTypes []string `json:"entity_types"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxObject))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&body)
	if name, unknown := unknownField(err); unknown {
		return invalidParameter(text.Line(name, maxShownText), "there is no such field; there is entity_types")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return &Error{
			Status: http.StatusBadRequest, Code: "invalid_body", cause: err,
			Message: `the body must be empty or JSON such as {"entity_types":["pipeline-deals"]}`,
		}
	}
	if err := a.checkEntityTypes(body.EntityTypes); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	request := reconcile.Request{Extent: reconcile.Full, Trigger: reconcile.TriggerDemand, Actor: actor(w)}
	var id int64
	err = pgx.BeginFunc(ctx, a.stages.DB, func(tx pgx.Tx) (err error) {
		if id, err = a.stages.Reconcile(ctx, tx, request); err != nil {
			return err
		}
		return operator.Record(ctx, tx, request.Actor, operator.Sync, map[string]any{"run_id": strconv.FormatInt(id, 10), "entity_types": body.EntityTypes})
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, map[string]string{
		"status": "accepted", "action": "reconciliation_queued", "run_id": strconv.FormatInt(id, 10),
	})
}

// unknownField returns the field that a strict decoder refused. encoding/json has no
// type for that error.
func unknownField(err error) (name string, unknown bool) {
	if err == nil {
		return "", false
	}
	name, unknown = strings.CutPrefix(err.Error(), "json: unknown field ")
	return strings.Trim(name, `"`), unknown
}

// checkEntityTypes returns an error unless each name is the REST plural or the uid of
// a type in STRAPI_DEAL_TYPES or STRAPI_BILLING_TYPES.
func (a *API) checkEntityTypes(names []string) error {
	var known []string
	for _, t := range a.stages.Types {
		known = append(known, t.Plural)
	}
	for _, name := range names {
		is := func(t strapi.ContentType) bool { return name == t.Plural || name == t.UID }
		if !slices.ContainsFunc(a.stages.Types, is) {
			return invalidParameter("entity_types", fmt.Sprintf("no type %q is configured; there are %s", name, strings.Join(known, ", ")))
		}
	}
	return nil
}
