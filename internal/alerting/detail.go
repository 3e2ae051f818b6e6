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

// maxHistory bounds what is shown of one episode, in rows. One that repeats for a
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

// Detail is an episode with its members and with all that happened to it, oldest
// first. Of a long one it has the first 500 members and the newest 500 other rows
// of each.
type Detail struct {
	Episode
	Group         []GroupMember         `json:"group"`
	History       []Event               `json:"history"`
	Notifications []notify.Notification `json:"notifications"`
}

// GroupMember is a member of an episode that groups, such as a dead document.
type GroupMember struct {
	Member string `json:"member"`
	Name   string `json:"name"` // "" when it has none
	// Value is what it is worth, Shown what the mirror shows of it, Link where people
	// open it; each "" when that is not known.
	Value    string    `json:"value"`
	Shown    string    `json:"shown"`
	Link     string    `json:"link"`
	Reason   string    `json:"reason"`
	JoinedAt time.Time `json:"joined_at"`
}

// Get returns an episode. Its error is ErrNoAlert when there is none.
func Get(ctx context.Context, db dbsqlc.DBTX, id int64) (Detail, error) {
	row, err := dbsqlc.New().AlertGet(ctx, db, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Detail{}, ErrNoAlert
	}
	if err != nil {
		return Detail{}, fmt.Errorf("read alert %d: %w", id, err)
	}
	d := Detail{Group: []GroupMember{}}
	if d.Episode, err = episode(row); err != nil {
		return Detail{}, err
	}
	members, err := dbsqlc.New().AlertMembers(ctx, db, dbsqlc.AlertMembersParams{AlertID: id, MaxRows: maxHistory})
	if err != nil {
		return Detail{}, fmt.Errorf("read the members of alert %d: %w", id, err)
	}
	for _, m := range members {
		d.Group = append(d.Group, GroupMember{
			Member: m.Member, Name: m.Name, Value: m.Value, Shown: m.Shown, Link: m.Link, Reason: m.Reason, JoinedAt: m.JoinedAt,
		})
	}
	events, err := dbsqlc.New().AlertEvents(ctx, db, dbsqlc.AlertEventsParams{AlertID: id, MaxRows: maxHistory})
	if err != nil {
		return Detail{}, fmt.Errorf("read the history of alert %d: %w", id, err)
	}
	for _, e := range slices.Backward(events) {
		d.History = append(d.History, Event{
			ID: e.ID, At: e.At, Kind: e.Kind, Level: e.Level, Actor: e.Actor, Reason: e.Reason, Details: e.Details,
		})
	}
	d.Notifications, err = notify.ListByAlert(ctx, db, id, maxHistory)
	return d, err
}
