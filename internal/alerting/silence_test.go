package alerting_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

func (h env) silence(s alerting.NewSilence) (id int64) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		made, err := h.Silence(ctx, tx, s, alerting.Operator{Name: "ada", Comment: "planned work"})
		id = made.ID
		return err
	})
	return id
}

func in(d time.Duration) time.Time { return time.Now().Add(d) }

func TestSilence(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	before := h.raise(unusable(level.Error, "before"))
	silence := h.silence(alerting.NewSilence{Rule: alerting.RuleStrapiUnusable, ExpiresAt: in(time.Hour)})
	other := unusable(level.Error, "during")
	other.Subject = "deals"
	during := h.raise(other)

	require.Equal(t, "suppressed", h.status(before))
	require.Equal(t, "first/pending reminder/suppressed(silence)", h.outbox(before))
	require.Equal(t, "suppressed", h.status(during))
	require.Equal(t, "first/suppressed(silence)", h.outbox(during))
	require.Equal(t, "raised silenced", h.history(during))
	require.Equal(t, "ada|planned work|1", h.MustText(`SELECT concat_ws('|', actor, reason, details->>'silence_id') FROM alert_event
		WHERE kind = 'silenced' AND alert_id = $1`, during))
	unrelated := h.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Level: level.Error})
	require.Equal(t, "firing", h.status(unrelated))

	other.Level = level.Critical
	h.raise(other)
	require.Equal(t, "first/suppressed(silence)", h.outbox(during), "a silence holds at every level")
	h.review()
	require.Equal(t, "suppressed", h.status(during))

	all, err := alerting.Silences(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, silence, all[0].ID)
	require.Equal(t, "ada", all[0].Author)

	h.later(61 * time.Minute)
	h.review()
	require.Equal(t, "firing", h.status(during))
	require.Equal(t, "first/suppressed(silence) first/pending", h.outbox(during), "now it is notified, for the first time")
	require.Equal(t, "first/pending reminder/suppressed(silence) reminder/pending", h.outbox(before))
	require.Equal(t, "raised silenced escalated released", h.history(during))
	all, err = alerting.Silences(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Empty(t, all)
}

// A silence holds for what somebody had acknowledged and that worsens.
func TestSilence_EscalationOfAcknowledged(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(unusable(level.Error, "m"))
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := h.Acknowledge(ctx, tx, id, alerting.Operator{Name: "ada"})
		return err
	})
	h.silence(alerting.NewSilence{Rule: alerting.RuleStrapiUnusable, ExpiresAt: in(time.Hour)})
	require.Equal(t, "acknowledged", h.status(id))

	h.raise(unusable(level.Critical, "m"))
	require.Equal(t, "suppressed", h.status(id))
	require.Equal(t, "first/pending escalated/suppressed(silence)", h.outbox(id))
	require.Equal(t, "raised acknowledged escalated silenced", h.history(id))

	h.later(61 * time.Minute)
	h.review()
	require.Equal(t, "firing", h.status(id))
	require.Equal(t, "first/pending escalated/suppressed(silence) reminder/pending", h.outbox(id))
}

func TestSilence_WhatItIsAbout(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	subject, none := "pipeline-deals", ""
	for name, c := range map[string]struct {
		silence alerting.NewSilence
		muted   string // of the subjects "pipeline-deals", "billings" and ""
	}{
		"Subject":   {alerting.NewSilence{Rule: alerting.RuleStrapiUnusable, Subject: &subject}, "pipeline-deals"},
		"NoSubject": {alerting.NewSilence{Rule: alerting.RuleStrapiUnusable, Subject: &none}, ""},
		"Rule":      {alerting.NewSilence{Rule: alerting.RuleStrapiUnusable}, ",billings,pipeline-deals"},
		"Every":     {alerting.NewSilence{Rule: alerting.EveryRule}, ",billings,pipeline-deals"},
		"OtherRule": {alerting.NewSilence{Rule: alerting.RuleClockSkew}, "none"},
	} {
		c.silence.ExpiresAt = in(time.Hour)
		id := h.silence(c.silence)
		for _, s := range []string{"pipeline-deals", "billings", ""} {
			h.raise(alerting.Alert{Rule: alerting.RuleStrapiUnusable, Subject: s, Level: level.Error})
		}
		require.Equal(t, c.muted, h.MustText(`SELECT coalesce(string_agg(subject, ',' ORDER BY subject), 'none') FROM alert WHERE status = 'suppressed'`), name)
		for _, s := range []string{"pipeline-deals", "billings", ""} {
			require.True(t, h.resolve(alerting.RuleStrapiUnusable, s))
		}
		h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
			ended, err := h.EndSilence(ctx, tx, id, "bob")
			require.Equal(t, "bob", *ended.EndedBy)
			return err
		})
	}
}

func TestSilence_EndedEarly(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.silence(alerting.NewSilence{Rule: alerting.EveryRule, ExpiresAt: in(time.Hour)})
	alert := h.raise(unusable(level.Error, "m"))
	end := func(want error) {
		h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
			_, err := h.EndSilence(ctx, tx, id, "bob")
			require.ErrorIs(t, err, want)
			return nil
		})
	}
	end(nil)
	end(alerting.ErrNoSilence)
	h.review()
	require.Equal(t, "first/suppressed(silence) first/pending", h.outbox(alert))
}

// An episode that ends while it is muted notifies nobody: nobody knows of its beginning.
func TestSilence_ResolvedMeanwhile(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.silence(alerting.NewSilence{Rule: alerting.EveryRule, ExpiresAt: in(time.Hour)})
	id := h.raise(unusable(level.Error, "m"))
	h.resolve(alerting.RuleStrapiUnusable, "billings")
	h.later(2 * time.Hour)
	h.review()
	require.Equal(t, "first/suppressed(silence)", h.outbox(id))
}

func TestSilence_Mistakes(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	long := strings.Repeat("x", 301)
	good := alerting.NewSilence{Rule: alerting.RuleClockSkew, ExpiresAt: in(time.Hour)}
	with := func(change func(*alerting.NewSilence)) alerting.NewSilence { s := good; change(&s); return s }
	for name, c := range map[string]struct {
		silence alerting.NewSilence
		comment string
		field   string
	}{
		"NoRule":      {with(func(s *alerting.NewSilence) { s.Rule = "" }), "c", "rule"},
		"UnknownRule": {with(func(s *alerting.NewSilence) { s.Rule = "clock_skw" }), "c", "rule"},
		"LongSubject": {with(func(s *alerting.NewSilence) { s.Subject = &long }), "c", "subject"},
		"NoEnd":       {with(func(s *alerting.NewSilence) { s.ExpiresAt = time.Time{} }), "c", "expires_at"},
		"Past":        {with(func(s *alerting.NewSilence) { s.ExpiresAt = in(-time.Minute) }), "c", "expires_at"},
		"Forever":     {with(func(s *alerting.NewSilence) { s.ExpiresAt = in(367 * 24 * time.Hour) }), "c", "expires_at"},
		"NoComment":   {good, "", "comment"},
		"Blank":       {good, " \r\n\x00", "comment"},
		"LongComment": {good, strings.Repeat("x", 501), "comment"},
	} {
		h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
			_, err := h.Silence(ctx, tx, c.silence, alerting.Operator{Name: "ada", Comment: c.comment})
			var wrong *alerting.FieldError
			require.ErrorAs(t, err, &wrong, name)
			require.Equal(t, c.field, wrong.Field, name)
			return nil
		})
	}
}
