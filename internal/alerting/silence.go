package alerting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/notify"
)

// maxSilence is how far ahead a silence may end: one that nobody remembers hides
// what it was not made for.
const maxSilence = 366 * 24 * time.Hour

// EveryRule is the rule of a silence that mutes all of them.
const EveryRule = "*"

// ErrNoSilence says that no silence with that id is in force.
var ErrNoSilence = errors.New("there is no silence in force with this id")

// NewSilence is what an operator asks for.
type NewSilence struct {
	// Rule is one of Rules or EveryRule.
	Rule string
	// Subject nil is every subject of the rule; "" is the rule that has none.
	Subject *string
	// ExpiresAt is in the future, at most 366 days ahead.
	ExpiresAt time.Time
}

// Silence mutes a rule until it expires or is ended.
type Silence struct {
	ID        int64      `json:"id,string"`
	Rule      string     `json:"rule"`
	Subject   *string    `json:"subject"`
	Author    string     `json:"author"`
	Comment   string     `json:"comment"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	EndedAt   *time.Time `json:"ended_at"`
	EndedBy   *string    `json:"ended_by"`
}

// Silence begins one. The operator's comment says why; it may not be empty. Open
// episodes that it is about are suppressed at once, acknowledged ones are left.
func (a *Alerts) Silence(ctx context.Context, tx pgx.Tx, s NewSilence, o Operator) (Silence, error) {
	who, err := o.by()
	if err != nil {
		return Silence{}, err
	}
	if err := s.check(who.reason); err != nil {
		return Silence{}, err
	}
	row, err := a.queries.SilenceInsert(ctx, tx, dbsqlc.SilenceInsertParams{
		Rule: s.Rule, Subject: s.subject(), Author: who.actor, Comment: who.reason, ExpiresAt: s.ExpiresAt,
	})
	if err != nil {
		return Silence{}, fmt.Errorf("silence %s: %w", s.Rule, err)
	}
	open, err := a.queries.AlertLockSilenced(ctx, tx, dbsqlc.AlertLockSilencedParams{Rule: row.Rule, Subject: row.Subject})
	if err != nil {
		return Silence{}, fmt.Errorf("lock what silence %d is about: %w", row.ID, err)
	}
	for _, e := range open {
		if err := a.suppress(ctx, tx, e, notify.Reminder, mute{SilenceID: row.ID}); err != nil {
			return Silence{}, err
		}
	}
	return silence(row), nil
}

func (s NewSilence) check(comment string) error {
	switch {
	case s.Rule == "":
		return &FieldError{Field: "rule", Problem: "say which rule, or * for every rule"}
	case s.Rule != EveryRule && !slices.Contains(Rules(), s.Rule):
		return &FieldError{Field: "rule", Problem: "no rule has such a name"}
	case s.Subject != nil && len(*s.Subject) > maxSubject:
		return &FieldError{Field: "subject", Problem: fmt.Sprintf("it is over %d bytes", maxSubject)}
	case s.ExpiresAt.IsZero():
		return &FieldError{Field: "expires_at", Problem: "say when the silence ends"}
	case !s.ExpiresAt.After(time.Now()):
		return &FieldError{Field: "expires_at", Problem: "it is in the past"}
	case time.Until(s.ExpiresAt) > maxSilence:
		return &FieldError{Field: "expires_at", Problem: "it is over 366 days ahead"}
	case comment == "":
		return &FieldError{Field: "comment", Problem: "say why; it is kept in the history"}
	}
	return nil
}

// subject is as episodes have it.
func (s NewSilence) subject() *string {
	if s.Subject == nil {
		return nil
	}
	clean := fit(*s.Subject)
	return &clean
}

// EndSilence ends a silence before it expires. What it muted and is still open is
// told within a minute.
func (a *Alerts) EndSilence(ctx context.Context, tx pgx.Tx, id int64, who string) (Silence, error) {
	row, err := a.queries.SilenceEnd(ctx, tx, dbsqlc.SilenceEndParams{ID: id, EndedBy: &who})
	if errors.Is(err, pgx.ErrNoRows) {
		return Silence{}, ErrNoSilence
	}
	if err != nil {
		return Silence{}, fmt.Errorf("end silence %d: %w", id, err)
	}
	return silence(row), nil
}

// Silences lists those in force, the one that ends first first.
func Silences(ctx context.Context, db dbsqlc.DBTX) ([]Silence, error) {
	rows, err := dbsqlc.New().SilenceActive(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("list silences: %w", err)
	}
	all := make([]Silence, len(rows))
	for i, row := range rows {
		all[i] = silence(row)
	}
	return all, nil
}

func silence(row dbsqlc.Silence) Silence {
	return Silence{
		ID: row.ID, Rule: row.Rule, Subject: row.Subject, Author: row.Author, Comment: row.Comment,
		CreatedAt: row.CreatedAt.UTC(), ExpiresAt: row.ExpiresAt.UTC(), EndedAt: utc(row.EndedAt), EndedBy: row.EndedBy,
	}
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
