package inbox

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
)

// ErrNoEvent is the error for an id that no stored event has.
var ErrNoEvent = errors.New("there is no event with this id (a duplicate delivery is answered with the id of the event that it repeats, and is not stored)")

// maxJobs bounds how many jobs of a document a Detail has.
const maxJobs = 20

// Detail is one event, from its delivery to what it changed.
type Detail struct {
	Event

	// Body is the delivery as text, nil when it is not UTF-8 (BodyBase64 then has
	// its bytes) or was not kept. Deliveries that repeated this one are not stored.
	Body       *string `json:"body"`
	BodyBase64 []byte  `json:"body_base64,omitempty"`
	// NotKept describes a body that was too large to be stored; nil when it was.
	NotKept *NotKept `json:"body_not_kept,omitempty"`
	// Document is how far the mirror of its document is; nil when Dealbox keeps none.
	Document *Document `json:"document"`
	// Jobs are those of its document that cover it and that River still has.
	Jobs []Job `json:"jobs"`
	// Changed is the first change of the mirror by a sync that covered it; nil
	// when nothing changed since. One sync may cover many events.
	Changed *Change `json:"changed"`
}

// NotKept is a body that was verified and not stored.
type NotKept struct {
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"` // in hex
}

// Document is how far the mirror of a document is behind.
type Document struct {
	WantSeq       int64      `json:"want_seq"`
	DoneSeq       int64      `json:"done_seq"`
	State         string     `json:"state"`
	Failures      int        `json:"failures"`
	LastError     *string    `json:"last_error"`
	PendingSince  *time.Time `json:"pending_since"`
	NextAttemptAt *time.Time `json:"next_attempt_at"`
	DeadAt        *time.Time `json:"dead_at"`
}

// Job is one of River's. It is gone some minutes after it finished.
type Job struct {
	ID          string     `json:"id"`
	State       string     `json:"state"`
	Attempts    int        `json:"attempts"`
	Seq         int64      `json:"seq"`
	CreatedAt   time.Time  `json:"created_at"`
	ScheduledAt time.Time  `json:"scheduled_at"`
	AttemptedAt *time.Time `json:"attempted_at"`
	FinalizedAt *time.Time `json:"finalized_at"`
	Errors      []JobError `json:"errors"`
}

// JobError is why one attempt failed.
type JobError struct {
	At      time.Time `json:"at"`
	Attempt int       `json:"attempt"`
	Error   string    `json:"error"`
}

// Change is one row of mirror_change.
type Change struct {
	ID     string          `json:"id"`
	At     time.Time       `json:"changed_at"`
	Seq    int64           `json:"seq"`
	Kind   string          `json:"kind"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

// Get returns one event with its document, jobs and change. Without such an event
// it returns ErrNoEvent.
func Get(ctx context.Context, db dbsqlc.DBTX, id uuid.UUID) (Detail, error) {
	row, err := get(ctx, db, id)
	if err != nil {
		return Detail{}, err
	}
	s := Detail{Event: eventOf(row), Jobs: []Job{}}
	switch {
	case row.BodyBytes != nil:
		s.NotKept = &NotKept{Bytes: int(*row.BodyBytes), SHA256: hex.EncodeToString(row.BodySha256)}
	case utf8.Valid(row.Body):
		text := string(row.Body)
		s.Body = &text
	default:
		s.BodyBase64 = row.Body
	}
	if s.UID == "" || s.DocumentID == "" {
		return s, nil
	}
	if err := s.addDocument(ctx, db); err != nil {
		return Detail{}, fmt.Errorf("read the document of event %s: %w", id, err)
	}
	if s.Seq == nil {
		return s, nil // it requested no refresh, so no job and no change is its own
	}
	if err := s.addJobs(ctx, db); err != nil {
		return Detail{}, fmt.Errorf("read the jobs of event %s: %w", id, err)
	}
	if err := s.addChange(ctx, db); err != nil {
		return Detail{}, fmt.Errorf("read what event %s changed: %w", id, err)
	}
	return s, nil
}

func get(ctx context.Context, db dbsqlc.DBTX, id uuid.UUID) (dbsqlc.EventGetRow, error) {
	row, err := dbsqlc.New().EventGet(ctx, db, dbsqlc.EventGetParams{ID: id, Days: likelyDays(id)})
	if errors.Is(err, pgx.ErrNoRows) {
		row, err = search(ctx, db, id)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return row, ErrNoEvent
	}
	if err != nil {
		return row, fmt.Errorf("read event %s: %w", id, err)
	}
	return row, nil
}

// likelyDays are those around the time in a UUIDv7. The id has the time of the
// machine that received the event, the day is the database's.
func likelyDays(id uuid.UUID) []time.Time {
	if id.Version() != 7 {
		return nil
	}
	seconds, nanoseconds := id.Time().UnixTime()
	made := dayOf(time.Unix(seconds, nanoseconds))
	return []time.Time{made.Add(-day), made, made.Add(day)}
}

// search looks on every day, for an id whose time is wrong.
func search(ctx context.Context, db dbsqlc.DBTX, id uuid.UUID) (dbsqlc.EventGetRow, error) {
	oldest, err := dbsqlc.New().EventOldestDay(ctx, db)
	if err != nil {
		return dbsqlc.EventGetRow{}, err
	}
	var days []time.Time
	for d := oldest; d.Before(time.Now().Add(2 * day)); d = d.Add(day) {
		days = append(days, d)
	}
	return dbsqlc.New().EventGet(ctx, db, dbsqlc.EventGetParams{ID: id, Days: days})
}

func eventOf(row dbsqlc.EventGetRow) Event {
	return Event{
		ID: row.ID, ReceivedAt: row.ReceivedAt, Status: Status(row.Status), Event: deref(row.Event), Entity: deref(row.Model),
		UID: deref(row.UID), DocumentID: deref(row.DocumentID), Locale: deref(row.Locale), Scheme: row.Scheme,
		SentAt: row.SentAt, Seq: row.Seq, QuarantineReason: deref(row.QuarantineReason),
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (s *Detail) addDocument(ctx context.Context, db dbsqlc.DBTX) error {
	row, err := dbsqlc.New().EventDocument(ctx, db, dbsqlc.EventDocumentParams{UID: s.UID, DocumentID: s.DocumentID, Locale: s.Locale})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Document = &Document{
		WantSeq: row.WantSeq, DoneSeq: row.DoneSeq, State: row.State, Failures: int(row.Failures), LastError: row.LastError,
		PendingSince: row.PendingSince, NextAttemptAt: row.NextAttemptAt, DeadAt: row.DeadAt,
	}
	return nil
}

func (s *Detail) addJobs(ctx context.Context, db dbsqlc.DBTX) error {
	rows, err := dbsqlc.New().EventJobs(ctx, db, dbsqlc.EventJobsParams{
		UID: s.UID, DocumentID: s.DocumentID, Locale: s.Locale, Seq: *s.Seq, MaxRows: maxJobs,
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		job := Job{
			ID: strconv.FormatInt(row.ID, 10), State: row.State, Attempts: int(row.Attempt), Seq: row.Seq,
			CreatedAt: row.CreatedAt, ScheduledAt: row.ScheduledAt,
			AttemptedAt: row.AttemptedAt, FinalizedAt: row.FinalizedAt,
		}
		if err := json.Unmarshal(row.Errors, &job.Errors); err != nil {
			return err
		}
		s.Jobs = append(s.Jobs, job)
	}
	return nil
}

func (s *Detail) addChange(ctx context.Context, db dbsqlc.DBTX) error {
	row, err := dbsqlc.New().EventChange(ctx, db, dbsqlc.EventChangeParams{
		UID: s.UID, DocumentID: s.DocumentID, Locale: s.Locale, Seq: *s.Seq,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Changed = &Change{
		ID: strconv.FormatInt(row.ID, 10), At: row.ChangedAt, Seq: row.Seq, Kind: row.Kind, Before: row.Before, After: row.After,
	}
	return nil
}
