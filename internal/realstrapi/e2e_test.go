package realstrapi_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
	"dealbox/internal/realstrapi"
)

var update = flag.Bool("update", false, "write what the real Strapi shows to testdata, in place of comparing")

// stage is a real Strapi, the real Dealbox, and between them what notes the webhooks.
type stage struct {
	strapi   *realstrapi.Strapi
	database string // the URL of Strapi's own
	recorder *recorder
	dealbox  *dealbox
	drafts   bool
	locales  []string
}

// newStage starts both, empty.
func newStage(t *testing.T, config realstrapi.Config, settings map[string]string) *stage {
	t.Helper()
	config.Source, config.Modules, config.DatabaseURL = source, needStrapi(t), pgtest.EmptyURL(t)
	st := &stage{recorder: newRecorder(t), database: config.DatabaseURL, drafts: config.Drafts, locales: config.Locales}
	config.DealboxURL = st.recorder.URL
	// By itself the plugin gives up after half a minute to a minute, in which a busy
	// machine may not have started Dealbox again.
	config.Settings = map[string]string{"STRAPI_WEBHOOK_RETRIES": "20", "STRAPI_WEBHOOK_RETRY_SECONDS": "280"}
	if testing.Verbose() && os.Getenv("TEST_STRAPI") == "log" {
		config.Log = os.Stderr
	}
	ctx := context.WithoutCancel(t.Context())
	var err error
	st.strapi, err = realstrapi.New(ctx, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.strapi.Close()) })
	start := time.Now()
	require.NoError(t, st.strapi.Start(ctx))
	t.Logf("Strapi started in %.1f s", time.Since(start).Seconds())
	require.NoError(t, st.strapi.Connect(ctx))

	env := map[string]string{"STRAPI_URL": st.strapi.URL + config.Prefix, "STRAPI_API_TOKEN": genuine{t: t, strapi: st.strapi}.token("read")}
	if config.WebhookToken != "" {
		env["STRAPI_WEBHOOK_TOKEN"] = config.WebhookToken
	}
	if !config.Stock {
		env["STRAPI_WEBHOOK_SECRET"], err = st.strapi.Setting("STRAPI_WEBHOOK_SECRET")
		require.NoError(t, err)
	}
	maps.Copy(env, settings)
	st.dealbox = newDealbox(t, env)
	st.dealbox.locales = st.locales
	st.dealbox.start()
	st.recorder.to(st.dealbox.address)
	return st
}

// restart gives Strapi and Dealbox other settings: signed by the plugin, or
// stock with a static token.
func (st *stage) restart(t *testing.T, signed bool) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	st.strapi.Stop()
	st.dealbox.stop()
	st.strapi.Configure(func(c *realstrapi.Config) { c.Stock, c.WebhookToken = !signed, webhookToken })
	delete(st.dealbox.env, "STRAPI_WEBHOOK_SECRET")
	st.dealbox.env["STRAPI_WEBHOOK_TOKEN"] = webhookToken
	if signed {
		st.strapi.Configure(func(c *realstrapi.Config) { c.WebhookToken = "" })
		delete(st.dealbox.env, "STRAPI_WEBHOOK_TOKEN")
		st.dealbox.env["STRAPI_WEBHOOK_SECRET"] = genuine{t: t, strapi: st.strapi}.setting("STRAPI_WEBHOOK_SECRET")
	}
	require.NoError(t, st.strapi.Start(ctx))
	require.NoError(t, st.strapi.Connect(ctx))
	st.dealbox.start()
}

// TestStrapi is every test with a real Strapi. Each takes 300 MB, and a core
// while it starts; later most of the time is spent waiting, so they go side by side.
func TestStrapi(t *testing.T) {
	t.Run("without drafts", func(t *testing.T) {
		t.Parallel()
		st := newStage(t, realstrapi.Config{Stock: true, WebhookToken: webhookToken}, nil)
		scenariosOn(t, st)
		if *update {
			return
		}
		t.Run("ten writers on one deal", st.tenWriters)
		t.Run("stock", st.outages)
		st.restart(t, true)
		t.Run("signed", func(t *testing.T) {
			st.outages(t)
			t.Run("Dealbox is killed during writes", st.dealboxKilled)
			t.Run("the secret is changed", st.secretChanged)
		})
	})
	t.Run("with drafts", func(t *testing.T) {
		t.Parallel()
		st := newStage(t, realstrapi.Config{Drafts: true}, nil)
		scenariosOn(t, st)
		if *update {
			return
		}
		t.Run("ten writers on one deal", st.tenWriters)
		t.Run("signed", st.outages)
		st.restart(t, false)
		t.Run("stock", st.outages)
	})
	t.Run("set up otherwise", func(t *testing.T) {
		t.Parallel()
		o := newOtherwise(t)
		t.Run("api.rest.prefix", o.testPrefix)
		t.Run("a datetime where a date is due", o.testDatetime)
		t.Run("a billing of several deals", o.testManyToMany)
		t.Run("an attribute becomes private", o.testPrivate)
		t.Run("a token loses the right to deals", o.testTokenLosesDeals)
		t.Run("two requests publish one deal", o.testTwins)
		t.Run("an import", o.testImport)
	})
	for _, drafts := range []bool{false, true} {
		t.Run(localizedName(drafts), func(t *testing.T) {
			t.Parallel()
			st := newStage(t, realstrapi.Config{Drafts: drafts, Locales: furtherLocales}, nil)
			scenariosOn(t, st)
			if !*update {
				t.Run("webhooks of another locale are lost", st.localeLost)
				t.Run("a locale is deleted in the settings", st.localeDeleted)
			}
		})
	}
}

func (st *stage) outages(t *testing.T) {
	t.Run("Dealbox is down during writes", st.dealboxDown)
	t.Run("Dealbox is restarted during 200 writes", st.restartDuringWrites)
	t.Run("Strapi is killed with a full queue", st.strapiKilled)
}

// scenariosOn does every scenario to an empty Strapi. After each the mirror is
// what Strapi's REST API says, by webhooks alone, and what could be observed is
// what testdata has.
func scenariosOn(t *testing.T, st *stage) {
	t.Helper()
	s := newSession(t, genuine{t: t, strapi: st.strapi}, st.recorder)
	var want map[string]observation
	file, steps := golden(st.drafts), append(scenarios(), media()...)
	if len(st.locales) > 0 {
		file, steps = localizedGolden(st.drafts), localizedScenarios()
	}
	if !*update {
		want = readGolden(t, file)
	}
	st.recorder.patient.Store(true)
	defer st.recorder.patient.Store(false)
	start := time.Now()
	for _, step := range steps {
		if !step.runs(st.drafts) {
			continue
		}
		var expected *observation
		if !*update {
			o, known := want[step.name]
			require.True(t, known, "testdata lacks %q: record it with -update", step.name)
			expected = &o
		}
		got := s.run(step, expected)
		if expected != nil {
			require.Equal(t, *expected, got, step.name)
		}
		st.dealbox.requireMirror(st.strapi, st.drafts, step.name)
	}
	for _, d := range st.recorder.since(0) {
		require.Equal(t, http.StatusAccepted, d.status, d.body)
	}
	if len(st.locales) == 0 {
		st.requireMediaIgnored(t)
	}
	// A published document that is deleted sends two entry.delete: one deletion.
	require.NotEqual(t, "0", st.dealbox.text(`SELECT count(*)::text FROM mirror_change WHERE kind = 'deleted'`))
	require.Equal(t, "0", st.dealbox.text(`SELECT count(*)::text FROM (
		SELECT kind, lag(kind) OVER (PARTITION BY uid, document_id, locale ORDER BY id) AS before FROM mirror_change
	) c WHERE kind = 'deleted' AND before = 'deleted'`))
	t.Logf("%d scenarios, %d webhooks in %.1f s: after each the mirror and the forecast were right", len(s.seen), st.recorder.count(), time.Since(start).Seconds())
	if *update {
		writeGolden(t, file, s.seen)
	}
}

// requireMediaIgnored: events of files are taken, kept and ignored.
func (st *stage) requireMediaIgnored(t *testing.T) {
	t.Helper()
	sent, seen := map[string]int{}, map[string]bool{} // one that is sent again is the same body
	for _, d := range st.recorder.since(0) {
		if event := d.header.Get("X-Strapi-Event"); strings.HasPrefix(event, "media.") && !seen[d.body] {
			sent[event]++
			seen[d.body] = true
		}
	}
	for _, event := range []string{"media.create", "media.update", "media.delete"} {
		require.NotZero(t, sent[event], event)
		require.Equal(t, fmt.Sprint("ignored ", sent[event]), st.dealbox.text(
			`SELECT string_agg(DISTINCT status, ',') || ' ' || count(*) FROM inbox_event_status WHERE event = $1`, event))
	}
}
