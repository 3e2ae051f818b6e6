package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/operator"
	"dealbox/internal/reconcile"
	"dealbox/internal/strapi"
	"dealbox/internal/text"
)

// syncBody is what an operator wants to be compared: all of it is optional.
type syncBody struct {
	EntityTypes []string `json:"entity_types"`
	Documents   []string `json:"documents"`
	Since       string   `json:"since"`
}

// runSync serves POST /api/v1/models/ingest/strapi-sync: 202 once a full
// reconciliation is queued, not when it is done. entity_types narrows it to these
// types. With since it is a delta from that time on; with documents their refreshes
// are queued instead.
func (a *API) runSync(w http.ResponseWriter, r *http.Request) error {
	var body syncBody
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxObject))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&body)
	if name, unknown := unknownField(err); unknown {
		return invalidParameter(text.Line(name, maxShownText), "there is no such field; there are entity_types, documents, since")
	}
	if err == nil && decoder.More() {
		err = errors.New("more than one value")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return &Error{
			Status: http.StatusBadRequest, Code: "invalid_body", cause: err,
			Message: `the body must be empty or JSON such as {"entity_types":["pipeline-deals"]}`,
		}
	}
	request, err := body.request(a.stages.Types)
	if err != nil {
		return err
	}
	request.Actor = actor(w)
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	var answer map[string]string
	err = pgx.BeginFunc(ctx, a.stages.DB, func(tx pgx.Tx) (err error) {
		answer, err = a.queueSync(ctx, tx, body, request)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, answer)
}

// queueSync requests what the body says in tx, and returns the answer.
func (a *API) queueSync(ctx context.Context, tx pgx.Tx, body syncBody, request reconcile.Request) (map[string]string, error) {
	answer := map[string]string{"status": "accepted"}
	details := map[string]any{"entity_types": body.EntityTypes}
	if len(body.Documents) > 0 {
		refreshes, err := a.stages.Refresh(ctx, tx, request.Types, body.Documents)
		if err != nil {
			return nil, err
		}
		answer["action"], answer["refreshes"] = "refresh_queued", strconv.Itoa(len(refreshes))
		details["documents"] = body.Documents
	} else {
		id, err := a.stages.Reconcile(ctx, tx, request)
		if err != nil {
			return nil, err
		}
		answer["action"], answer["run_id"] = "reconciliation_queued", strconv.FormatInt(id, 10)
		details["run_id"], details["since"] = answer["run_id"], body.Since
	}
	return answer, operator.Record(ctx, tx, request.Actor, operator.Sync, details)
}

// request checks the body. Of documents, Types are those that may have them.
func (b syncBody) request(types []strapi.ContentType) (reconcile.Request, error) {
	request := reconcile.Request{Extent: reconcile.Full, Trigger: reconcile.TriggerDemand}
	var err error
	if request.Types, err = strapi.UIDs(types, b.EntityTypes); err != nil {
		return request, invalidParameter("entity_types", err.Error())
	}
	if b.Since != "" {
		if len(b.Documents) > 0 {
			return request, invalidParameter("since", "documents are refreshed whenever they changed; give one of the two")
		}
		if request.Since, err = parseMoment(b.Since); err != nil {
			return request, invalidParameter("since", err.Error())
		}
		if request.Since.After(time.Now()) {
			return request, invalidParameter("since", "it has not come yet")
		}
		request.Extent = reconcile.Delta
	}
	if err := checkDocuments(b.Documents); err != nil {
		return request, err
	}
	switch {
	case len(b.Documents) > 0 && len(request.Types) == 0:
		for _, t := range types {
			request.Types = append(request.Types, t.UID)
		}
	case len(b.Documents) == 0 && len(request.Types) == len(types):
		request.Types = nil
	}
	return request, nil
}

// checkDocuments refuses a list that names none: the caller means to refresh some.
func checkDocuments(ids []string) error {
	if ids != nil && len(ids) == 0 {
		return invalidParameter("documents", "it names no document; leave it out to compare all")
	}
	for _, id := range ids {
		if !strapi.IsDocumentID(id) || strings.Contains(id, "/") {
			return invalidParameter("documents", fmt.Sprintf("%q cannot be a documentId", text.Line(id, maxShownText)))
		}
	}
	return nil
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
