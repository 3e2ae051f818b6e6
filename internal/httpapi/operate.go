package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/text"
)

// acknowledgeAlert serves POST /api/v1/alerts/{id}/acknowledge {"comment"}.
func (a *API) acknowledgeAlert(w http.ResponseWriter, r *http.Request) error {
	return a.operateAlert(w, r, a.stages.Alerts.Acknowledge)
}

// resolveAlert serves POST /api/v1/alerts/{id}/resolve {"comment"}.
func (a *API) resolveAlert(w http.ResponseWriter, r *http.Request) error {
	return a.operateAlert(w, r, a.stages.Alerts.ResolveByHand)
}

type alertOperation func(context.Context, pgx.Tx, int64, alerting.Operator) (alerting.Episode, error)

func (a *API) operateAlert(w http.ResponseWriter, r *http.Request, operate alertOperation) error {
	id, err := rowID(r)
	if err != nil {
		return err
	}
	p := parseCommand(w, r, "comment")
	who := alerting.Operator{Name: actor(w), Comment: p.one("comment")}
	if p.err != nil {
		return p.err
	}
	var episode alerting.Episode
	err = a.inTx(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		episode, err = operate(ctx, tx, id, who)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, episode)
}

// addSilence serves POST /api/v1/silences {"rule","subject","expires_at","comment"}:
// 201 with the silence. Without a subject it applies to every subject of the rule.
func (a *API) addSilence(w http.ResponseWriter, r *http.Request) error {
	p := parseCommand(w, r, "rule", "subject", "expires_at", "comment")
	silence := alerting.NewSilence{Rule: p.one("rule"), ExpiresAt: p.moment("expires_at")}
	if _, given := p.values["subject"]; given {
		subject := p.one("subject")
		silence.Subject = &subject
	}
	who := alerting.Operator{Name: actor(w), Comment: p.one("comment")}
	if p.err != nil {
		return p.err
	}
	var made alerting.Silence
	err := a.inTx(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		made, err = a.stages.Alerts.Silence(ctx, tx, silence, who)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, made)
}

// endSilence serves DELETE /api/v1/silences/{id}: 200 with the silence, which stays
// in the history.
func (a *API) endSilence(w http.ResponseWriter, r *http.Request) error {
	id, err := rowID(r)
	if err != nil {
		return err
	}
	var ended alerting.Silence
	err = a.inTx(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		ended, err = a.stages.Alerts.EndSilence(ctx, tx, id, actor(w))
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, ended)
}

// listSilences serves GET /api/v1/silences: the silences in force.
func (a *API) listSilences(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	all, err := alerting.Silences(ctx, a.stages.DB)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string][]alerting.Silence{"silences": all})
}

// inTx makes an operator's change in a transaction. It does not stop when the client
// disconnects.
func (a *API) inTx(ctx context.Context, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, a.stages.DB, func(tx pgx.Tx) error { return do(ctx, tx) })
}

// actor returns the name of the token with which the guard operator let the request through.
func actor(w http.ResponseWriter) string {
	if rec, ok := w.(*recorder); ok {
		return rec.actor
	}
	return ""
}

// parseCommand returns the given fields of the JSON object in the body, each a
// string. A field that is null counts as not given.
func parseCommand(w http.ResponseWriter, r *http.Request, fields ...string) *params {
	p := &params{values: url.Values{}}
	members, err := readObject(w, r)
	if err != nil {
		p.err = err
		return p
	}
	for name, member := range members {
		var value *string
		switch {
		case !slices.Contains(fields, name):
			p.fail(text.Line(name, maxShownText), "there is no such field")
		case json.Unmarshal(member, &value) != nil:
			p.fail(name, "it must be a string")
		case value != nil:
			p.values.Set(name, *value)
		}
	}
	return p
}
