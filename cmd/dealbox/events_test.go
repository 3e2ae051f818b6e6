package main

import (
	"context"
	"encoding/json"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
	"dealbox/internal/reconcile"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// desk is a database with some events, as an operator meets it: the commands
// get DATABASE_URL and nothing else.
type desk struct {
	pgtest.DB

	env environ
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	url := pgtest.URL(t)
	return &desk{DB: pgtest.OpenOn(t, url), env: environ{"DATABASE_URL": url}}
}

// store receives the bodies and returns the ids of their events.
func (d *desk) store(bodies ...string) (ids []string) {
	d.T.Helper()
	inserter, err := jobs.NewInserter(d.Pool, nil, nil)
	require.NoError(d.T, err)
	receiver := inbox.NewReceiver(d.Pool, mirror.NewQueue(inserter), reconcile.NewQueue(inserter), alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter)), inbox.Config{
		Types: []strapi.ContentType{{Kind: strapi.Deal, UID: "api::pipeline-deal.pipeline-deal", Plural: "pipeline-deals"}},
	})
	for _, body := range bodies {
		receipt, err := receiver.Receive(d.T.Context(), inbox.Delivery{Scheme: webhooksig.SchemeStrapi, Body: []byte(body)})
		require.NoError(d.T, err)
		ids = append(ids, receipt.EventID.String())
	}
	require.NoError(d.T, receiver.Close(context.Background()))
	return ids
}

func (d *desk) run(commandLine string) output {
	d.T.Helper()
	return dealbox(d.T, d.env, "", commandLine)
}

// done runs a command that must succeed.
func (d *desk) done(commandLine string) string {
	d.T.Helper()
	out := d.run(commandLine)
	require.Equal(d.T, exitDone, out.code, out.stderr)
	return out.stdout
}

func dealBody(documentID string) string {
	return `{"event":"entry.update","createdAt":"2026-11-23T10:00:00Z","model":"pipeline-deal","uid":"api::pipeline-deal.pipeline-deal","entry":{"documentId":"` + documentID + `"}}`
}

func TestEvents_Commands(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	require.Equal(t, "no events\n", d.done("events list"))
	ids := d.store(dealBody("alive"), dealBody("gone"), `{"event":"trigger-test"}`, "{\xff\x1b")
	pgtest.OpenOn(t, d.env["DATABASE_URL"]).MustExec("UPDATE entity_sync SET state = 'dead', dead_at = now(), failures = 12, last_error = 'HTTP 500', next_attempt_at = now() + interval '1 hour' WHERE document_id = 'gone'")

	list := d.done("events list")
	for _, id := range ids {
		require.Contains(t, list, id)
	}
	require.Regexp(t, `dead +entry\.update +pipeline-deal +gone +`+ids[1], list)
	require.NotContains(t, d.done("events list --status=dead"), ids[0])
	require.NotContains(t, d.done("events list --until=1h"), ids[0])
	require.Contains(t, d.done("events list --since=1h --type=pipeline-deal --document=alive --event=entry.update"), ids[0])
	require.Contains(t, d.done("events list --limit=2"), "there are more: --cursor ")
	var page inbox.Page
	require.NoError(t, json.Unmarshal([]byte(d.done("events list --limit=3 --json")), &page))
	require.Len(t, page.Events, 3)
	require.NotContains(t, d.done("events list --cursor="+*page.NextCursor), page.Events[0].ID.String())

	detail := d.done("events show " + ids[1])
	require.Contains(t, detail, "HTTP 500 (12 failures in a row)")
	require.Contains(t, detail, dealBody("gone"))
	require.Contains(t, detail, "does not store it")
	require.Contains(t, detail, "dead since")
	require.NotContains(t, detail, "next attempt", "a dead letter has none")
	require.Contains(t, d.done("events show "+ids[3]), "the body is 3 bytes and no text")
	var shown inbox.Detail
	require.NoError(t, json.Unmarshal([]byte(d.done("events show --json "+ids[1])), &shown))
	require.Equal(t, inbox.StatusDead, shown.Status)
	missing := d.run("events show 0193a5a0-0000-7000-8000-000000000000")
	require.Equal(t, exitFailed, missing.code)
	require.Contains(t, missing.stderr, "no event with this id")

	require.Equal(t, "1 event: would request a refresh of 1 document (nothing was changed)\n", d.done("events replay --dead --dry-run"))
	require.Contains(t, d.done("events list --status=dead"), ids[1])
	require.Equal(t, "1 event: requested a refresh of 1 document\n", d.done("events replay --dead"))
	require.Equal(t, "no events\n", d.done("events list --status=dead"))
	require.Equal(t, "1 event: requested a refresh of 1 document\n", d.done("events replay "+ids[0]))
	require.Contains(t, d.done("events replay "+ids[2]), "there is nothing to replay")
	require.JSONEq(t, `{"dry_run":true,"events":2,"documents":2,"documents_without_event":0,"nothing_to_replay":0}`, d.done("events replay --type=pipeline-deal --dry-run --json"))
}

// A document that died in the first load has no event: it is found, shown and replayed.
func TestDocuments_DeadWithoutEvent(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	require.Equal(t, "no dead documents\n", d.done("documents list --dead"))
	d.MustExec(`INSERT INTO entity_sync (uid, document_id, want_seq, state, dead_at, pending_since, failures, last_error)
		SELECT 'api::billing.billing', 'b' || n, 1, 'dead', now(), now(), 12, 'HTTP 500' FROM generate_series(1, 45) n`)
	require.Contains(t, d.done("events list --status=dead"), "45 dead documents that no event names: dealbox documents list --dead")
	list := d.done("documents list --dead --limit=44")
	require.Regexp(t, `api::billing\.billing +b1 +- +0 +12 +HTTP 500`, list)
	require.Contains(t, list, "and 1 more: --limit")
	require.Equal(t, "0 events: would request a refresh of 45 documents, 45 of them without an event (nothing was changed)\n", d.done("events replay --dead --dry-run"))
	require.Equal(t, "0 events: requested a refresh of 45 documents, 45 of them without an event\n", d.done("events replay --dead"))
	require.Equal(t, "no dead documents\n", d.done("documents list --dead"))
	require.Contains(t, d.done("documents list --pending --json"), `"total": 45`)
	require.Equal(t, exitUsage, d.run("documents list").code)
}

// A name that there is not is wrong usage, and no empty list.
func TestNames_Unknown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.store(dealBody("alive"), `{"event":"entry.update","model":"article","uid":"api::article.article","entry":{"documentId":"x"}}`, `{"event":"odd.event"}`)
	// A type that is configured and has no event yet is no misspelling.
	d.MustExec(`WITH run AS (INSERT INTO reconciliation_run (kind, trigger) VALUES ('full', 'start') RETURNING id)
		INSERT INTO reconciliation_type (run_id, uid, plural, position, kind, baseline) SELECT id, 'api::billing.billing', 'billings', 1, 'full', false FROM run`)
	require.Contains(t, d.done("events list --type=billing"), "no events")
	for commandLine, says := range map[string]string{
		"events list --type=deals":                 `--type: no known event has the type "deals"; there are pipeline-deal`,
		"events list --event=entry.updated":        `--event: no known event has the name "entry.updated"; there are entry.create, entry.update`,
		"events replay --type=deals":               "pipeline-deal",
		"events replay --dead --type=deals":        "pipeline-deal",
		"alerts list --rule=breaker_open":          `--rule: there is no rule "breaker_open"; there are attribute_missing, `,
		"alerts silence nope --for=1h --comment=x": `<rule>: there is no rule "nope"`,
		// What is wrong has the name that the person wrote.
		"alerts silence clock_skew --for=9999h --comment=x":        "--for: it is over 366 days ahead",
		"alerts silence clock_skew --until=2020-01-01 --comment=x": "--until: it is in the past",
		"alerts silence clock_skew --until=soon --comment=x":       `--until: "soon" is not a time`,
		"alerts silence clock_skew --for=soon --comment=x":         `--for: "soon" is not a duration such as 90m`,
		"events list --document=" + strings.Repeat("a", 400):       "--document: no event has such a value",
		"events list --cursor=x":                                   "--cursor: it is not one that this list returned",
		"events show x":                                            `<id>: "x" is not the id of an event`,
		"events replay x":                                          `"x" is not the id of an event`,
		"alerts show x":                                            `<id>: "x" is not a whole number`,
		"documents list --dead --limit=x":                          `--limit: "x" is not a whole number`,
	} {
		out := d.run(commandLine)
		require.Equal(t, exitUsage, out.code, commandLine)
		require.Contains(t, out.stderr, says, commandLine)
	}
	for _, commandLine := range []string{
		"events list --type=article --since=0s", "events list --event=odd.event --type=article", "events list --event=entry.publish",
		"events list --type=pipeline-deal --status=dead", "alerts list --rule=lost_webhooks",
	} {
		require.Contains(t, d.done(commandLine), "no ", commandLine)
	}
	// However many events are stored, a name is looked for in the newest of them alone.
	d.MustExec(`INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, event, body)
		SELECT ('ffffffff-ffff-7fff-bfff-' || lpad(to_hex(n), 12, '0'))::uuid, (now() AT TIME ZONE 'UTC')::date, now(), sha256(n::text::bytea), 'standard', 'media.create', ''
		FROM generate_series(1, 10000) n`)
	require.Equal(t, exitUsage, d.run("events list --type=article --since=0s").code)
}

// One view says who did what, for every action of an operator.
func TestOperator_EveryActionIsRecorded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ids := d.store(dealBody("alive"), "{")
	for _, commandLine := range []string{
		"events replay " + ids[0], "events replay --dead", "events replay --dead --dry-run", "sync", "sync --full", "sync --allow-deletes",
		"breaker force-open --reason=upgrade", "alerts ack 1 --comment=seen", "alerts resolve 1 --comment=over",
		"alerts silence breaker_opened --for=1h --comment=upgrade", "alerts unsilence 1", "breaker reset --reason=done",
	} {
		d.done(commandLine)
	}
	me, err := user.Current()
	require.NoError(t, err)
	require.Equal(t, "replay replay sync sync allow_deletes breaker acknowledge resolve silence end_silence breaker",
		pgtest.MustGet[string](d.DB, "SELECT string_agg(action, ' ' ORDER BY at) FROM audit_operator WHERE actor = $1", "cli:"+me.Username))
	require.Equal(t, ids[0], pgtest.MustGet[string](d.DB, "SELECT details->>'event_id' FROM operator_action ORDER BY id LIMIT 1"))
}

func TestEvents_Usage(t *testing.T) {
	t.Parallel()
	for commandLine, says := range map[string]string{
		"events":                                `expected one of "list", "show", "replay"`,
		"events replay":                         "say what to replay",
		"events replay --dry-run":               "say what to replay",
		"events replay --dead --status=pending": "give one of them",
		"events replay --dead 0193a5a0-0000-7000-8000-000000000000": "not both",
		"events replay 17":                           "is not the id of an event",
		"events list --limit=0":                      "--limit must be 1 to 1000",
		"events list --status=lost":                  `"lost" is not one of`,
		"events list --since=monday":                 `"monday" is not a time`,
		"events list --since=1h --until=2h":          "--since is after --until",
		"events replay --dead --since=1h --until=2h": "--since is after --until",
		"alerts list --since=1h --until=2h":          "--since is after --until",
		"events list --typo=x":                       "unknown flag --typo",
		"documents list --dead --pending":            "say which",
		"events show":                                "expected \"<id>\"",
		"breaker force-open":                         "give a --reason",
		"breaker force-close":                        "give a --reason",
	} {
		out := dealbox(t, nil, "", commandLine)
		require.Equal(t, exitUsage, out.code, commandLine)
		require.Contains(t, out.stderr, says, commandLine)
	}
	for _, commandLine := range []string{"events list", "events replay --dead", "breaker show", "breaker reset"} {
		out := dealbox(t, nil, "", commandLine)
		require.Equal(t, exitFailed, out.code, commandLine)
		require.Contains(t, out.stderr, "DATABASE_URL is not set", commandLine)
		require.Contains(t, out.stderr, "1 setting is wrong", commandLine)
	}
}

func TestBreaker_Commands(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	me, err := user.Current()
	require.NoError(t, err)
	open := func() int {
		return pgtest.MustGet[int](d.DB, "SELECT count(*) FROM alert WHERE rule = $1 AND resolved_at IS NULL", alerting.RuleBreakerOpened)
	}
	require.Equal(t, "closed, 0 failures in a row\n", d.done("breaker show"))

	require.Contains(t, d.done("breaker force-open --reason=maintenance"), "held open")
	require.Contains(t, d.done("breaker force-open --reason=again"), "already")
	require.Equal(t, 1, open(), "raised with the transition")
	require.Contains(t, d.done("breaker show"), "open, forced by cli:"+me.Username+" since ")
	require.Contains(t, d.done("breaker show"), "(maintenance) until 'dealbox breaker reset'")

	require.Contains(t, d.done("breaker force-close --reason=back"), "held closed")
	require.Zero(t, open())
	require.Contains(t, d.done("breaker show"), "closed, forced by cli:"+me.Username)
	require.Contains(t, d.done("breaker reset"), "reset")

	var shown breakerShown
	require.NoError(t, json.Unmarshal([]byte(d.done("breaker show --json")), &shown))
	require.False(t, shown.Forced)
	require.EqualValues(t, "closed", shown.State)
	require.Len(t, shown.Transitions, 3)
	require.Empty(t, shown.Transitions[0].Reason, "newest first")
	require.Equal(t, "cli:"+me.Username, shown.Actor)
	require.Equal(t, "cli:"+me.Username, shown.Transitions[2].Actor)
	require.WithinDuration(t, time.Now(), shown.Transitions[0].At, time.Minute)
}
