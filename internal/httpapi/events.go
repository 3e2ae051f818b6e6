package httpapi

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"dealbox/internal/inbox"
	"dealbox/internal/text"
)

// replayTimeout bounds a replay over HTTP. A larger one is for the command.
const replayTimeout = 30 * time.Second

// listEvents serves GET /api/v1/events.
func (a *API) listEvents(w http.ResponseWriter, r *http.Request) error {
	p := parseParams(r)
	filter := parseEventFilter(p)
	filter.Limit = p.integer("limit", 1, inbox.MaxLimit)
	filter.Cursor = p.one("cursor")
	if p.err != nil {
		return p.err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	page, err := inbox.List(ctx, a.stages.DB, filter)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page)
}

// showEvent serves GET /api/v1/events/{id}: the event and what became of it.
func (a *API) showEvent(w http.ResponseWriter, r *http.Request) error {
	id, err := eventID(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	event, err := inbox.Get(ctx, a.stages.DB, id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, event)
}

type replayAnswer struct {
	Status string `json:"status"` // accepted, dry_run or nothing_to_replay
	inbox.Replayed
}

// replayEvent serves POST /api/v1/events/{id}/replay: 202 once a refresh of the
// event's document is queued, not when it is done.
func (a *API) replayEvent(w http.ResponseWriter, r *http.Request) error {
	id, err := eventID(r)
	if err != nil {
		return err
	}
	p, dryRun := parseReplayBody(w, r)
	if p.err != nil {
		return p.err
	}
	ctx, cancel := context.WithTimeout(r.Context(), replayTimeout)
	defer cancel()
	done, err := a.stages.Replays.One(ctx, id, actor(w), dryRun)
	if err != nil {
		return err
	}
	return answerReplay(w, done)
}

func eventID(r *http.Request) (uuid.UUID, error) {
	id, err := uuid.Parse(mux.Vars(r)["id"])
	if err != nil {
		return id, invalidParameter("id", "it must be the id of an event, a UUID")
	}
	return id, nil
}

// replayEvents serves POST /api/v1/events/replay: every event that the filter in
// the body selects. An empty filter is refused: it would select all of them.
func (a *API) replayEvents(w http.ResponseWriter, r *http.Request) error {
	p, dryRun := parseReplayBody(w, r, "status", "event", "entity", "document_id", "since", "until")
	filter := parseEventFilter(p)
	if p.err == nil && !filter.Chooses() {
		p.fail("status", "say what to replay: status, event, entity, document_id, since or until")
	}
	if p.err != nil {
		return p.err
	}
	ctx, cancel := context.WithTimeout(r.Context(), replayTimeout)
	defer cancel()
	done, err := a.stages.Replays.All(ctx, filter, actor(w), dryRun)
	if err != nil {
		return err
	}
	return answerReplay(w, done)
}

func parseEventFilter(p *params) inbox.Filter {
	return inbox.Filter{
		Statuses:   each(p, "status", inbox.ParseStatus),
		Event:      p.one("event"),
		Entity:     p.one("entity"),
		DocumentID: p.one("document_id"),
		Since:      p.moment("since"),
		Until:      p.moment("until"),
	}
}

func answerReplay(w http.ResponseWriter, done inbox.Replayed) error {
	switch {
	case done.DryRun:
		return writeJSON(w, http.StatusOK, replayAnswer{"dry_run", done})
	case done.Documents == 0:
		return writeJSON(w, http.StatusOK, replayAnswer{"nothing_to_replay", done})
	}
	return writeJSON(w, http.StatusAccepted, replayAnswer{"accepted", done})
}

// parseReplayBody reads the JSON body of a replay: dry_run, and the given fields
// of a filter, each a string or a list of strings. It returns them as if they were
// query parameters, so that both are checked in one place.
func parseReplayBody(w http.ResponseWriter, r *http.Request, fields ...string) (*params, bool) {
	p := &params{values: url.Values{}}
	members, err := readObject(w, r)
	if err != nil {
		p.err = err
		return p, false
	}
	dryRun := false
	for _, name := range slices.Sorted(maps.Keys(members)) {
		switch {
		case name == "dry_run":
			if json.Unmarshal(members[name], &dryRun) != nil {
				p.fail(name, "it must be true or false")
			}
		case !slices.Contains(fields, name):
			p.fail(text.Line(name, maxShownText), "there is no such field")
		default:
			p.values[name] = p.texts(name, members[name])
		}
	}
	return p, dryRun
}

// texts returns the strings of a JSON string or list; null counts as not given.
func (p *params) texts(field string, value json.RawMessage) []string {
	var one *string
	if json.Unmarshal(value, &one) == nil {
		if one == nil {
			return nil
		}
		return []string{*one}
	}
	var many []string
	if json.Unmarshal(value, &many) != nil {
		p.fail(field, "it must be a string or a list of strings")
	}
	return many
}
