package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
)

// acknowledgeAlert answers POST /api/v1/alerts/{id}/acknowledge {"comment"}.
func (a *API) acknowledgeAlert(w http.ResponseWriter, r *http.Request) error {
	return a.operateAlert(w, r, a.stages.Alerts.Acknowledge)
}

// resolveAlert answers POST /api/v1/alerts/{id}/resolve {"comment"}.
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
	by := alerting.Operator{Name: actor(w), Comment: p.one("comment")}
	if p.err != nil {
		return p.err
	}
	var episode alerting.Episode
	err = a.inTx(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		episode, err = operate(ctx, tx, id, by)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, episode)
}

// addSilence answers POST /api/v1/silences {"rule","subject","expires_at","comment"}:
// 201 with the silence. Without a subject it is about every subject of the rule.
func (a *API) addSilence(w http.ResponseWriter, r *http.Request) error {
	p := parseCommand(w, r, "rule", "subject", "expires_at", "comment")
	asked := alerting.NewSilence{Rule: p.one("rule"), ExpiresAt: p.moment("expires_at")}
	if _, given := p.values["subject"]; given {
		subject := p.one("subject")
		asked.Subject = &subject
	}
	by := alerting.Operator{Name: actor(w), Comment: p.one("comment")}
	if p.err != nil {
		return p.err
	}
	var made alerting.Silence
	err := a.inTx(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		made, err = a.stages.Alerts.Silence(ctx, tx, asked, by)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, made)
}

// endSilence answers DELETE /api/v1/silences/{id}: 200 with the silence, which is
// kept for the history.
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

// listSilences answers GET /api/v1/silences: those in force.
func (a *API) listSilences(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	all, err := alerting.Silences(ctx, a.stages.DB)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string][]alerting.Silence{"silences": all})
}

// inTx makes an operator's change. It is kept also when the caller hangs up.
func (a *API) inTx(ctx context.Context, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, a.stages.DB, func(tx pgx.Tx) error { return do(ctx, tx) })
}

// actor is who operates, as the guard has recognised them.
func actor(w http.ResponseWriter) string {
	if rec, ok := w.(*recorder); ok {
		return rec.actor
	}
	return ""
}

// parseCommand reads the JSON object in the body of an operator's action: the
// given fields, each a string. A field that is null counts as not given.
func parseCommand(w http.ResponseWriter, r *http.Request, fields ...string) *params {
	p := &params{values: url.Values{}}
	members, err := readObject(w, r)
	if err != nil {
		p.err = err
		return p
	}
	for name, value := range members {
		var text *string
		switch {
		case !slices.Contains(fields, name):
			p.fail(clip(name), "there is no such field")
		case json.Unmarshal(value, &text) != nil:
			p.fail(name, "it must be a string")
		case text != nil:
			p.values.Set(name, *text)
		}
	}
	return p
}
