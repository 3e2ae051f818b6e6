package alerting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
)

// maxSilence is how far ahead a silence may end: one that nobody remembers hides
// what it was not made for.
const maxSilence = 366 * 24 * time.Hour

// EveryRule is the rule of a silence that mutes all of them.
const EveryRule = "*"

// ErrNoSilence is the error when no silence with that id is in force.
var ErrNoSilence = errors.New("there is no silence in force with this id")

// NewSilence is the silence that an operator makes.
type NewSilence struct {
	// Rule is the name of one of Rules, or EveryRule.
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

// Silence begins a silence. The operator's comment says why; it may not be empty.
// Firing episodes that it matches are suppressed at once; acknowledged ones stay.
func (a *Alerts) Silence(ctx context.Context, tx pgx.Tx, s NewSilence, o Operator) (Silence, error) {
	why, err := o.cause()
	if err != nil {
		return Silence{}, err
	}
	if err := s.check(why.reason); err != nil {
		return Silence{}, err
	}
	row, err := a.queries.SilenceInsert(ctx, tx, dbsqlc.SilenceInsertParams{
		Rule: s.Rule, Subject: s.subject(), Author: why.actor, Comment: why.reason, ExpiresAt: s.ExpiresAt,
	})
	if err != nil {
		return Silence{}, fmt.Errorf("silence %s: %w", s.Rule, err)
	}
	open, err := a.queries.AlertLockSilenced(ctx, tx, dbsqlc.AlertLockSilencedParams{Rule: row.Rule, Subject: row.Subject})
	if err != nil {
		return Silence{}, fmt.Errorf("lock the episodes of silence %d: %w", row.ID, err)
	}
	for _, e := range open {
		if err := a.suppress(ctx, tx, e, mute{SilenceID: row.ID, Author: row.Author, Comment: row.Comment, ExpiresAt: row.ExpiresAt}); err != nil {
			return Silence{}, err
		}
	}
	return silence(row), nil
}

func (s NewSilence) check(comment string) error {
	switch {
	case s.Rule == "":
		return &FieldError{Field: "rule", Problem: "say which rule, or * for every rule"}
	case s.Rule != EveryRule && ruleOf(s.Rule).Name == "":
		return unknownRule(s.Rule)
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

// EndSilence ends a silence before it expires. Episodes that it muted and that are
// still open are notified within a minute.
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

// Silences returns those in force, the one that ends first first.
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
		CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt, EndedAt: row.EndedAt, EndedBy: row.EndedBy,
	}
}
