package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/notify"
)

// maxHistory bounds what is told of one episode, in rows. One that repeats for a
// month has 43,200.
const maxHistory = 500

// Event is a row of an episode's history.
type Event struct {
	ID   int64     `json:"id,string"`
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	// Level of the episode after this event.
	Level  string `json:"level"`
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
	// Details is a JSON object with the values of then.
	Details json.RawMessage `json:"details"`
}

// Detail is an episode with all that happened to it, oldest first. Of a long one
// the newest 500 rows of each are told.
type Detail struct {
	Episode
	History       []Event               `json:"history"`
	Notifications []notify.Notification `json:"notifications"`
}

// Get reads the story of an episode. It answers ErrNoAlert when there is none.
func Get(ctx context.Context, db dbsqlc.DBTX, id int64) (Detail, error) {
	row, err := dbsqlc.New().AlertGet(ctx, db, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Detail{}, ErrNoAlert
	}
	if err != nil {
		return Detail{}, fmt.Errorf("read alert %d: %w", id, err)
	}
	s := Detail{}
	if s.Episode, err = episode(row); err != nil {
		return Detail{}, err
	}
	events, err := dbsqlc.New().AlertEvents(ctx, db, dbsqlc.AlertEventsParams{AlertID: id, MaxRows: maxHistory})
	if err != nil {
		return Detail{}, fmt.Errorf("read the history of alert %d: %w", id, err)
	}
	for _, e := range slices.Backward(events) {
		s.History = append(s.History, Event{
			ID: e.ID, At: e.At.UTC(), Kind: e.Kind, Level: e.Level, Actor: e.Actor, Reason: e.Reason, Details: e.Details,
		})
	}
	s.Notifications, err = notify.ListByAlert(ctx, db, id, maxHistory)
	return s, err
}
