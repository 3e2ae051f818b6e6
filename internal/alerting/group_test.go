package alerting_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
)

func deadDeal(key, name string) alerting.Alert {
	return alerting.Alert{
		Rule: alerting.RuleEventDeadLettered, Subject: "pipeline-deals", Level: level.Error,
		Member: &alerting.Member{
			Key: key, Name: name, Value: "120,000.00 THB", Shown: "its state of 2026-11-24 22:10:00 UTC", Link: "https://cms.example/admin/" + key,
			Reason: "Strapi answers with its error 500 for this document",
		},
	}
}

func (h env) leave(key, reason string) (was bool) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		was, err = h.Leave(ctx, tx, alerting.RuleEventDeadLettered, "", key, reason)
		return err
	})
	return was
}

func TestGroup(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{RepeatEvery: time.Hour})
	id := h.raise(deadDeal("deal/1", "Big Deal"))
	require.Equal(t, "Big Deal (120,000.00 THB) could not be mirrored from Strapi (pipeline-deals): Strapi answers with its error 500 for this document. "+
		"Dealbox has stopped trying it; everything else goes on. Strapi has its latest state; "+
		"the mirror, the forecast and the dashboard show its state of 2026-11-24 22:10:00 UTC. "+
		"Open it in Strapi, correct it and save it: that makes Dealbox try again. Or remove the cause and run: dealbox events replay --dead", h.episodes()[0].Message)
	require.Equal(t, id, h.raise(deadDeal("deal/2", "")), "one episode a content type")
	require.Equal(t, id, h.raise(deadDeal("deal/2", "")), "it died again")
	e := h.episodes()[0]
	require.Equal(t, int64(2), e.Members)
	require.Equal(t, int64(3), e.Occurrences)
	require.Contains(t, e.Message, "2 documents of pipeline-deals")
	const of = `"value":"120,000.00 THB","shown":"its state of 2026-11-24 22:10:00 UTC","error":"Strapi answers with its error 500 for this document"`
	require.JSONEq(t, `{"type":"pipeline-deals","count":2,"link":"https://cms.example/admin/deal/1","documents":[
		{"document":"deal/1","name":"Big Deal","link":"https://cms.example/admin/deal/1",`+of+`},
		{"document":"deal/2","name":"","link":"https://cms.example/admin/deal/2",`+of+`}]}`, string(e.Details))
	require.Equal(t, "raised joined joined", h.history(id))
	require.Equal(t, "first/pending", h.outbox(id), "who joins is no news of its own")

	detail, err := alerting.Get(t.Context(), h.Pool, id)
	require.NoError(t, err)
	require.Len(t, detail.Group, 2)
	require.Equal(t, "Big Deal", detail.Group[0].Name)
	require.Equal(t, "120,000.00 THB", detail.Group[0].Value)
	require.Equal(t, "Strapi answers with its error 500 for this document", detail.Group[0].Reason)

	require.False(t, h.leave("deal/3", "synchronised"), "it never was a member")
	require.True(t, h.leave("deal/1", "synchronised"))
	require.False(t, h.leave("deal/1", "synchronised"))
	e = h.episodes()[0]
	require.Equal(t, alerting.Firing, e.Status)
	require.Equal(t, int64(1), e.Members)
	require.Contains(t, e.Message, "deal/2 (120,000.00 THB) could not be mirrored")
	require.NotContains(t, string(e.Details), "deal/1")

	require.True(t, h.leave("deal/2", "deleted in Strapi"))
	e = h.episodes()[0]
	require.Equal(t, alerting.Resolved, e.Status)
	require.Regexp(t, `^All 2 documents of pipeline-deals that had failed are in step with Strapi again after .+: `+
		`1 deleted in Strapi, 1 synchronised$`, e.Message)
	require.Equal(t, "raised joined joined left left resolved", h.history(id))
	require.Equal(t, "deal/1|Big Deal|synchronised,deal/2||deleted in Strapi", h.MustText(`SELECT string_agg(
		concat_ws('|', details->>'member', coalesce(details->>'name', ''), reason), ',' ORDER BY id) FROM alert_event WHERE kind = 'left'`))
	require.Equal(t, "2 documents: 1 deleted in Strapi, 1 synchronised", h.MustText(`SELECT reason FROM alert_event WHERE kind = 'resolved'`))
	require.Equal(t, "first/pending resolved/pending", h.outbox(id))
	require.NotEqual(t, id, h.raise(deadDeal("deal/1", "")), "after it resolved, the next dead letter opens another")
}

// A document that dies, is synchronised and dies again in one episode counts once.
func TestGroup_OutcomeCountsDocuments(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(deadDeal("deal/1", ""))
	h.raise(deadDeal("deal/2", ""))
	h.leave("deal/1", "synchronised")
	h.raise(deadDeal("deal/1", ""))
	h.leave("deal/1", "deleted in Strapi")
	h.leave("deal/2", "deleted in Strapi")
	require.Contains(t, h.episodes()[0].Message, "All 2 documents of pipeline-deals")
	require.Contains(t, h.episodes()[0].Message, ": 2 deleted in Strapi")
}

// The end of one document names it.
func TestGroup_EndOfOne(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(deadDeal("deal/1", "Big Deal"))
	h.later(2 * time.Hour)
	h.leave("deal/1", "synchronised")
	require.Equal(t, "Big Deal (120,000.00 THB) in pipeline-deals is in step with Strapi again after 2 h: synchronised", h.episodes()[0].Message)
}

// Whoever gives a type another plural in the settings has the episode of the old one
// still open: its documents leave it all the same.
func TestGroup_PluralChanges(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(deadDeal("deal/1", ""))
	renamed := deadDeal("deal/1", "")
	renamed.Subject = "deals"
	h.raise(renamed)
	require.True(t, h.leave("deal/1", "synchronised"))
	require.Equal(t, "resolved resolved", h.MustText(`SELECT string_agg(status, ' ') FROM alert`))
}

// The history names each document, whatever mutes the notices.
func TestGroup_Muted(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	id := h.raise(deadDeal("deal/1", ""))
	h.raise(deadDeal("deal/2", ""))
	require.Equal(t, "raised joined suppressed joined", h.history(id))
	require.Equal(t, "first/suppressed(inhibition)", h.outbox(id))
	h.leave("deal/1", "synchronised")
	h.leave("deal/2", "synchronised")
	require.Equal(t, "first/suppressed(inhibition)", h.outbox(id), "nobody was notified of it, nor is anybody of its end")
}

// An operator resolves the episode while documents are still dead: they leave
// nothing open behind.
func TestGroup_ResolvedByHand(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(deadDeal("deal/1", ""))
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := h.ResolveByHand(ctx, tx, id, ada)
		return err
	})
	require.False(t, h.leave("deal/1", "synchronised"))
	require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM alert"))
}

// Reasons and names come from Strapi.
func TestGroup_HostileText(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	for i, hostile := range []string{"\x00", "\xff", "a\nb", "\u202egnp.exe", "<svg onload=alert(1)>"} {
		for j := range 4 {
			key := fmt.Sprint(hostile, i, j)
			a := deadDeal(key, hostile)
			for len(a.Member.Reason) < 5000 {
				a.Member.Reason += hostile + " "
			}
			h.raise(a)
			require.LessOrEqual(t, len(h.episodes()[0].Details), 9<<10)
			if j%2 == 0 {
				require.True(t, h.leave(key, "synchronised"))
			}
		}
	}
	require.Equal(t, int64(10), h.episodes()[0].Members)
}

func TestGroup_RemindsWhenDoubled(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(deadDeal("deal/1", ""))
	id := h.raise(deadDeal("deal/2", ""))
	h.review()
	require.Equal(t, "first/pending", h.outbox(id), "it will count them when it is sent")
	sent := func(members int) {
		h.MustExec(fmt.Sprintf(`UPDATE notification SET status = 'sent', sent_at = now(), attempts = 1, members = %d WHERE status = 'pending'`, members))
	}
	sent(2)
	h.raise(deadDeal("deal/3", ""))
	h.review()
	require.Equal(t, "first/sent", h.outbox(id))
	h.raise(deadDeal("deal/4", ""))
	h.review()
	h.review()
	require.Equal(t, "first/sent reminder/pending", h.outbox(id), "twice as many, once")
	sent(4)
	h.review()
	require.Equal(t, "first/sent reminder/sent", h.outbox(id))
}

// A channel that refuses for good is offered a doubled group once, not each minute.
func TestGroup_RemindsOnceOfDoubledWhenTheChannelRefuses(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(deadDeal("deal/1", ""))
	h.MustExec(`UPDATE notification SET status = 'sent', sent_at = now(), attempts = 1, members = 1`)
	h.raise(deadDeal("deal/2", ""))
	h.review()
	require.Equal(t, "first/sent reminder/pending", h.outbox(id))
	last, err := strconv.ParseInt(h.MustText(`SELECT max(id)::text FROM notification`), 10, 64)
	require.NoError(t, err)
	gone := "410 Gone"
	rows, err := dbsqlc.New().NotificationFailed(t.Context(), h.Pool, dbsqlc.NotificationFailedParams{ID: last, LastError: &gone, Members: 2})
	require.NoError(t, err)
	require.Equal(t, int64(1), rows)
	h.review()
	h.review()
	require.Equal(t, "first/sent reminder/failed", h.outbox(id))
}

// An operator who acknowledged 2 dead documents has not acknowledged 4.
func TestGroup_DoubledIsMoreThanWasAcknowledged(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(deadDeal("deal/1", ""))
	h.MustExec(`UPDATE notification SET status = 'sent', sent_at = now(), attempts = 1, members = 1`)
	h.raise(deadDeal("deal/2", ""))
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := h.Acknowledge(ctx, tx, id, ada)
		return err
	})
	h.raise(deadDeal("deal/3", ""))
	h.later(24 * time.Hour)
	h.review()
	require.Equal(t, "first/sent", h.outbox(id), "the operator knows of 2")
	require.Equal(t, "acknowledged", h.status(id))
	h.raise(deadDeal("deal/4", ""))
	h.review()
	h.review()
	require.Equal(t, "first/sent reminder/pending", h.outbox(id))
	require.Equal(t, "firing", h.status(id), "else the reminder would be suppressed when it is due")
	require.Equal(t, "raised joined joined acknowledged joined joined escalated", h.history(id))
}

// Many workers' documents die and recover at the same time: each is counted once,
// nobody waits for ever, and the last one out resolves.
func TestGroup_EachMemberIsCountedOnceAndTheLastResolves(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{RepeatEvery: time.Hour})
	const workers, each = 10, 20
	all := func(do func(ctx context.Context, tx pgx.Tx, key string) error) time.Duration {
		began := time.Now()
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				for i := range each {
					err := pgx.BeginFunc(t.Context(), h.Pool, func(tx pgx.Tx) error {
						return do(t.Context(), tx, fmt.Sprintf("deal/%d-%d", w, i))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		return time.Since(began)
	}
	took := all(func(ctx context.Context, tx pgx.Tx, key string) error {
		_, err := h.Raise(ctx, tx, deadDeal(key, ""))
		return err
	})
	t.Logf("%d joins by %d workers: %.0f/s", workers*each, workers, workers*each/took.Seconds())
	require.Equal(t, "200 200 200 1", h.MustText(`SELECT concat_ws(' ', sum(members), sum(occurrences), (SELECT count(*) FROM alert_member), count(*)) FROM alert`))
	all(func(ctx context.Context, tx pgx.Tx, key string) error {
		_, err := h.Leave(ctx, tx, alerting.RuleEventDeadLettered, "", key, "synchronised")
		return err
	})
	require.Equal(t, "resolved 0 0", h.MustText(`SELECT concat_ws(' ', status, members, (SELECT count(*) FROM alert_member)) FROM alert`))
	require.Contains(t, h.episodes()[0].Message, ": 200 synchronised")
}
