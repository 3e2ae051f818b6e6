package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"dealbox/internal/app"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/health"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// canary is in every secret of a test, and must not be shown.
const canary = "cAnArY-7f3e9b1c5d2a8046-never-shown"

const (
	strapiToken  = "strapi-" + canary
	goodSecret   = "b7f0c2a94d1e8365f0a1b2c3d4e5f607"
	goodAPIToken = "e2b19d8c7f6a5043b2c1d0e9f8a7b6c5"
	goodAlert    = "7c6d5e4f30212f3e4d5c6b7a89980716"

	dealUID    = "api::pipeline-deal.pipeline-deal"
	billingUID = "api::billing.billing"
)

// environ is an environment for a test.
type environ map[string]string

func (e environ) getenv(name string) string { return e[name] }

// with returns a copy with some settings changed: name, value, name, value, …
func (e environ) with(pairs ...string) environ {
	c := maps.Clone(e)
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
	}
	return c
}

// fakeStrapi has a deal and a billing, unless it is to be empty.
func fakeStrapi(t *testing.T, config fakestrapi.Config, empty bool) (*fakestrapi.Strapi, string) {
	t.Helper()
	config.Token = strapiToken
	fake, err := fakestrapi.New(config)
	require.NoError(t, err)
	if !empty {
		for _, contentType := range config.Types {
			_, err := fake.Create(contentType.UID, nil)
			require.NoError(t, err)
		}
	}
	server := httptest.NewServer(fake)
	t.Cleanup(func() {
		fake.Faults.Clear() // lets hanging requests go
		server.Close()
		require.NoError(t, fake.Close())
	})
	return fake, server.URL
}

// healthy is an environment in which every check is ok. All its secrets hold the canary.
func healthy(t *testing.T) (environ, *fakestrapi.Strapi) {
	t.Helper()
	fake, strapiURL := fakeStrapi(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)}, false)
	hook := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(hook.Close)
	return environ{
		"DATABASE_URL":          pgtest.SeparateRoles(t).App,
		"STRAPI_URL":            strapiURL + "/api/",
		"STRAPI_API_TOKEN":      strapiToken,
		"STRAPI_WEBHOOK_SECRET": canary + "-1",
		"ADMIN_TOKEN":           "ann=" + canary + "-2",
		"ALERT_WEBHOOK_URL":     hook.URL + "/" + canary,
		"ALERT_WEBHOOK_SECRET":  canary + "-3",
	}, fake
}

// mustExamine returns the findings by their check, and makes sure that none shows a
// secret and that each failure and warning has a fix.
func mustExamine(t *testing.T, e environ) map[string]Finding {
	t.Helper()
	all := Examine(t.Context(), e.getenv, "test")
	text, err := json.Marshal(all)
	require.NoError(t, err)
	require.NotContains(t, string(text), canary)
	findings := map[string]Finding{}
	for _, f := range all {
		require.NotContains(t, findings, f.Check, "each check once")
		findings[f.Check] = f
		if f.Status == Fail || f.Status == Warn {
			require.NotEmpty(t, f.Fix, f.Check)
		}
	}
	return findings
}

// requireStatuses wants the given ones, and ok for all others.
func requireStatuses(t *testing.T, findings map[string]Finding, others map[string]Status) {
	t.Helper()
	for check, f := range findings {
		want, given := others[check]
		if !given {
			want = OK
			if check == checkDatabase && strings.Contains(f.Detail, "a round trip") {
				want = f.Status // on a busy machine the fastest of three takes over 50 ms
			}
			if check == checkWebhooks && strings.Contains(f.Detail, "none has arrived yet") {
				want = Warn
			}
		}
		require.Equal(t, want, f.Status, "%s: %s", check, f.Detail)
	}
	for check := range others {
		require.Contains(t, findings, check)
	}
}

func TestExamine_Healthy(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	findings := mustExamine(t, e)
	requireStatuses(t, findings, nil)
	for _, check := range []string{
		"settings", "access", "webhook secret", "database", "migrations", "roles", "partitions", "retention", "clock", "webhooks", "strapi", "strapi token", "strapi clock",
		"type " + dealUID, "fields " + dealUID, "type " + billingUID, "fields " + billingUID, "alert webhook",
	} {
		require.Contains(t, findings, check)
	}
	require.Contains(t, findings["database"].Detail, "Postgres 1")
	require.Equal(t, "13 mapped attributes exist", findings["fields "+dealUID].Detail)
}

func TestExamine_NothingSet(t *testing.T) {
	t.Parallel()
	findings := mustExamine(t, nil)
	require.Equal(t, 4, Count(slices.Collect(maps.Values(findings)), Fail))
	for _, name := range []string{"DATABASE_URL", "STRAPI_URL", "STRAPI_API_TOKEN", "STRAPI_WEBHOOK_SECRET"} {
		require.Equal(t, Fail, findings[name].Status)
	}
	for _, check := range []string{"database", "migrations", "roles", "partitions", "retention", "clock", "strapi", "strapi token", "webhook secret"} {
		require.Equal(t, Skip, findings[check].Status, check)
	}
}

// What is right is checked even when other settings are wrong.
func TestExamine_EveryMistake(t *testing.T) {
	t.Parallel()
	good, _ := healthy(t)
	mistakes := environ{}
	_, _ = app.LoadConfig(func(name string) string { mistakes[name] = "?? " + name; return "" }, app.Everything...)
	mistakes = mistakes.with("DATABASE_URL", good["DATABASE_URL"])
	_, err := app.LoadConfig(mistakes.getenv, app.Everything...)
	problems := app.ProblemsOf(err)
	require.Greater(t, len(problems), 30)
	findings := mustExamine(t, mistakes)
	for _, p := range problems {
		require.Equal(t, Fail, findings[p.Setting].Status, p.Setting)
	}
	require.NotEqual(t, Fail, findings["database"].Status) // a busy machine is a warning
	require.Equal(t, OK, findings["migrations"].Status)
}

func TestExamine_Database(t *testing.T) {
	t.Parallel()
	skips := map[string]Status{"database": Fail, "migrations": Skip, "roles": Skip, "partitions": Skip, "retention": Skip, "clock": Skip, "webhooks": Skip, "health": Skip}
	t.Run("Away", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		findings := mustExamine(t, e.with("DATABASE_URL", "postgres://dealbox:"+canary+"@127.0.0.1:1/dealbox"))
		requireStatuses(t, findings, skips)
		require.Contains(t, findings["database"].Fix, "Check that Postgres runs")
	})
	t.Run("NoSuchDatabase", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		findings := mustExamine(t, e.with("DATABASE_URL", e["DATABASE_URL"]+"&dbname=does_not_exist"))
		requireStatuses(t, findings, skips)
		require.Contains(t, findings["database"].Fix, "Create the database")
	})
	t.Run("Behind", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		findings := mustExamine(t, e.with("DATABASE_URL", pgtest.EmptyURL(t)))
		requireStatuses(t, findings, map[string]Status{"migrations": Fail, "roles": Skip, "partitions": Skip, "retention": Skip, "webhooks": Skip, "health": Skip})
		require.Equal(t, "Run 'dealbox migrate up'.", findings["migrations"].Fix)
	})
	t.Run("FewPartitions", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		roles := pgtest.SeparateRoles(t)
		pgtest.OpenOn(t, roles.Owner).MustExec(dropPartitions(fmt.Sprintf("> (now() AT TIME ZONE 'UTC')::date + %d", health.MinPartitionDays-1)))
		findings := mustExamine(t, e.with("DATABASE_URL", roles.App))
		requireStatuses(t, findings, map[string]Status{"partitions": Warn})
	})
	t.Run("OldPartition", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		roles := pgtest.SeparateRoles(t)
		pgtest.OpenOn(t, roles.Owner).MustExec("CREATE TABLE inbox_event_20260101 PARTITION OF inbox_event FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')")
		findings := mustExamine(t, e.with("DATABASE_URL", roles.App))
		requireStatuses(t, findings, map[string]Status{"retention": Warn})
		require.Contains(t, findings["retention"].Detail, "since 2026-01-01")
		findings = mustExamine(t, e.with("DATABASE_URL", roles.App, "EVENT_RETENTION", "10000d"))
		requireStatuses(t, findings, nil)
	})
	t.Run("NoPartitions", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		roles := pgtest.SeparateRoles(t)
		pgtest.OpenOn(t, roles.Owner).MustExec(dropPartitions("IS NOT NULL"))
		findings := mustExamine(t, e.with("DATABASE_URL", roles.App))
		requireStatuses(t, findings, map[string]Status{"partitions": Fail, "retention": Skip})
	})
}

// dropPartitions of inbox_event whose day meets the condition.
func dropPartitions(condition string) string {
	return `DO $$ DECLARE part text; BEGIN
		FOR part IN SELECT relname FROM pg_class WHERE relname ~ '^inbox_event_\d{8}$' AND to_date(right(relname, 8), 'YYYYMMDD') ` + condition + `
		LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END $$`
}

func TestExamine_StrapiClock(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]Status{
		0: OK, 2 * time.Minute: OK, -2 * time.Minute: OK,
		4 * time.Minute: Warn, -4 * time.Minute: Warn, 6 * time.Minute: Fail, -6 * time.Minute: Fail,
	} {
		require.Equal(t, want, strapiClockFinding(ahead, 5*time.Minute).Status, ahead)
	}
	fake, err := fakestrapi.New(fakestrapi.Config{
		Types: fakestrapi.PipelineTypes(false, false), Token: strapiToken,
		Now: func() time.Time { return time.Now().Add(-time.Hour) },
	})
	require.NoError(t, err)
	server, err := fake.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close(t.Context()) })
	e, _ := healthy(t)
	findings := mustExamine(t, e.with("STRAPI_URL", server.URL))
	require.Equal(t, Fail, findings["strapi clock"].Status)
	require.Contains(t, findings["strapi clock"].Detail, "1h0m0s ahead of Strapi: Dealbox refuses signed webhooks (timestamp_out_of_tolerance, over 5m0s)")
}

// What the service's health says stands here, too: open alerts and dead letters, with what to do.
func TestExamine_Health(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	findings := mustExamine(t, e)
	require.Equal(t, OK, findings["health"].Status, findings["health"].Detail)
	db := pgtest.OpenOn(t, e["DATABASE_URL"])
	db.MustExec(`INSERT INTO alert (fingerprint, rule, subject, level, status, message, first_seen, last_seen) VALUES
		('a', 'signature_failures', 'wrong_secret', 'critical', 'suppressed', 'all are refused', now(), now()), ('b', 'lost_webhooks', '', 'warning', 'firing', '88 lost', now(), now())`)
	db.MustExec("INSERT INTO entity_sync (uid, document_id, want_seq, state, dead_at) VALUES ('u', 'd', 1, 'dead', now())")
	findings = mustExamine(t, e)
	require.NotContains(t, findings, "health")
	require.Equal(t, Warn, findings["alert signature_failures (wrong_secret)"].Status)
	require.Contains(t, findings["alert signature_failures (wrong_secret)"].Detail, "all are refused")
	require.Contains(t, findings["alert signature_failures (wrong_secret)"].Fix, "STRAPI_WEBHOOK_SECRET")
	require.Contains(t, findings["alert lost_webhooks"].Detail, "88 lost")
	require.Contains(t, findings["health ledger:dead"].Detail, "1 document is a dead letter")
	require.Contains(t, findings["health ledger:dead"].Fix, "dealbox documents list --dead")

	// A long subject would pad the names of all checks.
	db.MustExec(`INSERT INTO alert (fingerprint, rule, subject, level, status, message, first_seen, last_seen)
		VALUES ('c', 'body_quarantined', 'the entry has ' || repeat('x', 280), 'warning', 'firing', 'It begins so. ' || repeat('x', 900), now(), now())`)
	quarantined := mustExamine(t, e)["alert body_quarantined (the entry has "+strings.Repeat("x", maxSubject-len("the entry has …"))+"…)"]
	require.Len(t, quarantined.Detail, maxMessage)
	require.Contains(t, quarantined.Detail, "It begins so.")
	require.Contains(t, quarantined.Fix, "dealbox alerts show 3")
}

func TestExamine_Webhooks(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	findings := mustExamine(t, e)
	require.Contains(t, findings["webhooks"].Detail, "none has arrived yet")
	pgtest.OpenOn(t, e["DATABASE_URL"]).MustExec(`INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, body)
		VALUES (gen_random_uuid(), (now() AT TIME ZONE 'UTC')::date, now() - interval '3 min', 'x', 'standard', '{}')`)
	findings = mustExamine(t, e)
	require.Regexp(t, `the last one arrived 3m\d+s ago, signed by scheme standard`, findings["webhooks"].Detail)
}

func TestExamine_Strapi(t *testing.T) {
	t.Parallel()
	deal, billing := "type "+dealUID, "type "+billingUID
	dealFields, billingFields := "fields "+dealUID, "fields "+billingUID
	noTypes := map[string]Status{deal: Skip, billing: Skip, dealFields: Skip, billingFields: Skip}
	and := func(more map[string]Status) map[string]Status {
		for k, v := range noTypes {
			if _, given := more[k]; !given {
				more[k] = v
			}
		}
		return more
	}
	away := and(map[string]Status{"strapi": Fail, "strapi token": Skip})
	silent := and(map[string]Status{"strapi": Fail, "strapi token": Skip, "strapi clock": Skip})
	noRoute := and(map[string]Status{"strapi": Fail, "strapi token": Skip})
	for _, test := range []struct {
		name  string
		fault fakestrapi.Fault
		want  map[string]Status
		check string
		fix   string
	}{
		{"Down", fakestrapi.Fault{Kind: fakestrapi.FaultDown}, silent, "strapi", "Check STRAPI_URL, that Strapi runs"},
		{"Hangs", fakestrapi.Fault{Kind: fakestrapi.FaultHang}, silent, "strapi", "Check STRAPI_URL, that Strapi runs"},
		{"BadGateway", fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 502}, away, "strapi", "the proxy in front of it"},
		{"HTML", fakestrapi.Fault{Kind: fakestrapi.FaultHTML}, away, "strapi", "Point STRAPI_URL to Strapi 5 itself"},
		{
			"Blocked", fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 403, Body: "<html><title>Attention Required! | Cloudflare</title></html>"},
			away, "strapi", "firewall, CDN or proxy in front of Strapi",
		},
		{
			"ProxyLogin", fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 401, Body: "<html>Log in</html>"},
			away, "strapi", "firewall, CDN or proxy in front of Strapi",
		},
		{
			"TokenRefused", fakestrapi.Fault{Kind: fakestrapi.FaultUnauthorized},
			and(map[string]Status{"strapi token": Fail}), "strapi token", "Make a read-only API token",
		},
		{"NoRoutes", fakestrapi.Fault{Kind: fakestrapi.FaultMissingRoute}, noRoute, "strapi", "STRAPI_BILLING_TYPES"},
		{
			"NoRouteOfOne", fakestrapi.Fault{Kind: fakestrapi.FaultMissingRoute, Plural: "pipeline-deals"},
			map[string]Status{deal: Fail, dealFields: Skip}, deal, "in STRAPI_DEAL_TYPES",
		},
		{
			"OneForbidden", fakestrapi.Fault{Kind: fakestrapi.FaultForbidden, Plural: "billings"},
			map[string]Status{billing: Fail, billingFields: Skip}, billing, "Give the token find and findOne of " + billingUID,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e, fake := healthy(t)
			fake.Faults.Set(test.fault)
			if test.fault.Kind == fakestrapi.FaultHang {
				e = e.with("STRAPI_TIMEOUT", "0.5") // the others must be answered, and a busy machine takes its time
			}
			findings := mustExamine(t, e)
			requireStatuses(t, findings, test.want)
			require.Contains(t, findings[test.check].Fix, test.fix)
		})
	}
}

// api.rest.prefix moves all of REST: nothing is wrong with the plurals.
func TestExamine_FindsThePrefix(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	_, host := fakeStrapi(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false), Prefix: "/rest/v2"}, false)
	for _, wrong := range []string{host, host + "/api/", host + "/cms"} {
		findings := mustExamine(t, e.with("STRAPI_URL", wrong))
		requireStatuses(t, findings, map[string]Status{
			"strapi": Fail, "strapi token": Skip,
			"type " + dealUID: Skip, "fields " + dealUID: Skip, "type " + billingUID: Skip, "fields " + billingUID: Skip,
		})
		require.Equal(t, "Set STRAPI_URL="+host+"/rest/v2.", findings["strapi"].Fix)
	}
	requireStatuses(t, mustExamine(t, e.with("STRAPI_URL", host+"/rest/v2/")), nil)
}

func TestExamine_Fields(t *testing.T) {
	t.Parallel()
	deal, billing := "fields "+dealUID, "fields "+billingUID
	for _, test := range []struct {
		name    string
		types   []fakestrapi.Type
		empty   bool
		mapping string
		want    map[string]Status
		detail  string // of the deal's fields
	}{
		{
			"Empty", fakestrapi.PipelineTypes(false, false), true, "",
			map[string]Status{deal: Skip, billing: Skip}, "there is no published document yet",
		},
		{
			"Renamed", fakestrapi.PipelineTypes(true, true), false, "",
			map[string]Status{deal: Fail, billing: Warn}, "the type has no status; without status the forecast ignores its documents",
		},
		{
			"Mapped", fakestrapi.PipelineTypes(true, true), false, "status=deal_status,stage=phase,owner=",
			map[string]Status{deal: Warn, billing: Warn}, "the type has no phase (field stage of Dealbox): null in Dealbox",
		},
		{
			"Relation", fakestrapi.PipelineTypes(false, false), false, "billings=invoices",
			map[string]Status{deal: Fail}, "Strapi does not populate the relation invoices",
		},
		{
			"RelationOfAnEmptyType", fakestrapi.PipelineTypes(false, false), true, "billings=invoices",
			map[string]Status{deal: Fail, billing: Skip}, "Strapi does not populate the relation invoices",
		},
		{
			"Paths", withMoney(fakestrapi.PipelineTypes(false, false)), false, "deal_value=money.amount,owner=money.who,stage=nothing.at.all,name=money",
			map[string]Status{deal: Warn}, "the type has no money (field name of Dealbox), money.who (field owner of Dealbox), nothing.at.all (field stage of Dealbox): null in Dealbox",
		},
		{
			"Unknown", fakestrapi.PipelineTypes(false, false), true, "deal_value=worth",
			map[string]Status{deal: Fail, billing: Skip}, "the type has no worth (field deal_value of Dealbox); without deal_value the forecast ignores its documents",
		},
		{
			"Unreadable", withText(fakestrapi.PipelineTypes(false, false), "deal_value"), false, "",
			map[string]Status{deal: Warn}, `values cannot be read, so they are null in Dealbox: of document DOC deal_value "a lot" is no number of at most 40 digits: write it as 1234.50, without a unit or separators`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fake, strapiURL := fakeStrapi(t, fakestrapi.Config{Types: test.types}, test.empty)
			e, _ := healthy(t)
			if test.name == "Unreadable" {
				entry, err := fake.Create(fakestrapi.DealUID, fakestrapi.Values{"deal_value": "a lot"})
				require.NoError(t, err)
				test.detail = strings.Replace(test.detail, "DOC", entry.DocumentID, 1)
			}
			findings := mustExamine(t, e.with("STRAPI_URL", strapiURL, "STRAPI_DEAL_FIELDS", test.mapping))
			requireStatuses(t, findings, test.want)
			require.Equal(t, test.detail, strings.TrimPrefix(findings[deal].Detail, "not checked: "))
		})
	}
}

func withMoney(types []fakestrapi.Type) []fakestrapi.Type {
	amount := fakestrapi.Attribute{Name: "amount", Kind: fakestrapi.Decimal}
	types[0].Attributes = append(types[0].Attributes, fakestrapi.Attribute{Name: "money", Kind: fakestrapi.Component, Of: []fakestrapi.Attribute{amount}})
	return types
}

func withText(types []fakestrapi.Type, name string) []fakestrapi.Type {
	for i, a := range types[0].Attributes {
		if a.Name == name {
			types[0].Attributes[i].Kind = fakestrapi.String
		}
	}
	return types
}

// A token that may not read the deals gets billings without them.
func TestExamine_HiddenRelation(t *testing.T) {
	t.Parallel()
	e, fake := healthy(t)
	fake.Forbid(dealUID)
	finding := mustExamine(t, e)["fields "+billingUID]
	require.Equal(t, Fail, finding.Status)
	require.Contains(t, finding.Detail, "leaves the relation deal out of its answer")
	require.Contains(t, finding.Fix, "Give the token find and findOne on that type")
}

func TestExamine_AlertWebhook(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	for _, test := range []struct {
		name, url, secret string
		want              Status
		fix               string
	}{
		{"NotSet", "", "", Warn, "Set ALERT_WEBHOOK_URL"},
		{"Unsigned", "healthy", "", Warn, "Set ALERT_WEBHOOK_SECRET"},
		{"NothingThere", "http://127.0.0.1:1/" + canary, goodAlert, Fail, "Check that the receiver runs"},
		{"Untrusted", untrusted.URL + "/" + canary, goodAlert, Fail, "a certificate that this machine trusts"},
		{"NoSuchHost", "https://alerts.invalid/" + canary, goodAlert, Fail, "Check the host's name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e, _ := healthy(t)
			if test.url == "healthy" {
				test.url = e["ALERT_WEBHOOK_URL"]
			}
			findings := mustExamine(t, e.with("ALERT_WEBHOOK_URL", test.url, "ALERT_WEBHOOK_SECRET", test.secret))
			requireStatuses(t, findings, map[string]Status{"alert webhook": test.want})
			require.Contains(t, findings["alert webhook"].Fix, test.fix)
		})
	}
}

func TestExamine_AlertEmail(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	findings := mustExamine(t, e.with("ALERT_EMAIL_ENABLED", "true", "SMTP_URL", "smtp://ann:"+canary+"@127.0.0.1:1",
		"ALERT_EMAIL_FROM", "a@b.example", "ALERT_EMAIL_TO", "c@d.example"))
	require.Equal(t, Fail, findings["alert e-mail"].Status)
	require.Contains(t, findings["alert e-mail"].Detail, "connection refused")
}

// doctor says what the mail server says of the sender and of each mailbox, and sends no mail.
func TestMailFinding(t *testing.T) {
	t.Parallel()
	for want, err := range map[Finding]error{
		{Check: "m", Status: Fail, Detail: "it refuses", Fix: "Do this."}: &notify.SendError{Text: "it refuses", Do: "Do this"},
		{Check: "m", Status: Warn, Detail: "it puts off", Fix: "Wait."}:   &notify.SendError{Text: "it puts off", Do: "Wait", Passing: true},
	} {
		require.Equal(t, want, mailFinding("m", err))
	}
	require.Contains(t, mailFinding("m", &notify.SendError{Text: "no answer"}).Fix, "SMTP_URL")
}

// A receiver that takes one format alone is known by its host.
func TestFormatOf(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]string{
		"https://prod-1.westeurope.logic.azure.com:443": "teams", "https://x.environment.api.powerplatform.com": "teams",
		"https://acme.webhook.office.com": "teams", "https://hooks.slack.com": "slack", "https://hooks.example.com": "", "http://127.0.0.1:9": "",
	} {
		format, _ := formatOf(origin)
		require.Equal(t, want, format, origin)
	}
}

// Each way in which the service could change history has its finding.
func TestExamine_Roles(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	roles := pgtest.SeparateRoles(t)
	var day string
	require.NoError(t, pgtest.PoolOn(t, roles.Admin).QueryRow(t.Context(),
		"SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'inbox_event'::regclass").Scan(&day))
	for _, test := range []struct {
		name, url, admin string // admin runs first
		status           Status
		detail           string
	}{
		{"App", roles.App, "", OK, "_app can add to history and cannot change it"},
		{"Superuser", roles.Admin, "", Warn, "is a superuser: only triggers keep it from changing history"},
		{"Owner", roles.Owner, "", Warn, "_owner owns the tables: only triggers keep it from changing history"},
		{"WideGrant", roles.App, "GRANT UPDATE ON silence TO PUBLIC", Warn, "it has UPDATE on silence"},
		{"ColumnGrant", roles.App, "REVOKE UPDATE ON silence FROM PUBLIC; GRANT UPDATE (created_at) ON notification TO PUBLIC", Warn, "it has UPDATE on notification"},
		{"Day", roles.App, "REVOKE UPDATE (created_at) ON notification FROM PUBLIC; GRANT DELETE ON " + day + " TO PUBLIC", Warn, "it has DELETE on " + day},
		{"Privilege", roles.App, "REVOKE DELETE ON " + day + " FROM PUBLIC; GRANT DELETE ON alert_event TO PUBLIC", Warn, "it has DELETE on alert_event"},
		{"NoPrivilege", roles.App, "REVOKE ALL ON alert_event FROM PUBLIC; REVOKE INSERT ON alert_event FROM " + roleOf(t, roles.App), Fail, "may not write rows that the service must write"},
		{"NoTrigger", roles.App, "ALTER TABLE alert_event DISABLE TRIGGER alert_event_append_only", Fail, "disabled triggers: alert_event.alert_event_append_only"},
		{"NoTriggers", roles.App, "ALTER TABLE alert_event ENABLE TRIGGER alert_event_append_only; ALTER TABLE alert DISABLE TRIGGER alert_no_delete; " +
			"ALTER TABLE notification ENABLE REPLICA TRIGGER notification_no_truncate; ALTER TABLE silence DISABLE TRIGGER silence_append_only; " +
			"ALTER TABLE retention_event DISABLE TRIGGER USER; ALTER TABLE " + day + " DISABLE TRIGGER inbox_event_append_only", Fail,
			"disabled triggers: alert.alert_no_delete, " + day + ".inbox_event_append_only, notification.notification_no_truncate, " +
				"retention_event.retention_event_append_only, retention_event.retention_event_no_truncate, silence.silence_append_only"},
	} {
		if test.admin != "" {
			pgtest.OpenOn(t, roles.Admin).MustExec(test.admin)
		}
		findings := mustExamine(t, e.with("DATABASE_URL", test.url))
		require.Equal(t, test.status, findings["roles"].Status, "%s: %s", test.name, findings["roles"].Detail)
		require.Contains(t, findings["roles"].Detail, test.detail, test.name)
	}
}

func roleOf(t *testing.T, rawURL string) string {
	t.Helper()
	return pgtest.PoolOn(t, rawURL).Config().ConnConfig.User
}

func TestExamine_Access(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		settings environ
		want     Status
	}{
		{environ{}, OK},
		{environ{"LISTEN_ADDR": "0.0.0.0"}, Warn},
		{environ{"LISTEN_ADDR": "0.0.0.0", "API_TOKEN": goodAPIToken}, OK},
		{environ{"API_TOKEN": goodAPIToken, "PUBLIC_READS": "true"}, Warn},
		{environ{"API_TOKEN": "short"}, Skip},
	} {
		findings := mustExamine(t, test.settings)
		require.Equal(t, test.want, findings["access"].Status, test.settings)
	}
}

func TestWeakness(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		goodSecret:                               "",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "",
		"my-strapi-signing-key-2026":             "has a common word in it",
		"ChangeMe-0d9c8b7a6f5e4d3c":              "has a common word in it",
		"aaaaaaaaaaaaaaaaaaaaaaaa":               "has few different characters",
		"abcabdabcabdabcabdabcabd":               "has few different characters",
		"a1b2c3d4e5a1b2c3d4e5a1b2c3d4e5":         "repeats itself",
	} {
		require.Equal(t, want, weakness(app.Secret(value)), value)
	}
}

func TestClockFinding(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]Status{
		0: OK, 2 * time.Second: OK, -3 * time.Second: Warn, 29 * time.Second: Warn, -time.Minute: Fail,
	} {
		require.Equal(t, want, clockFinding(ahead).Status, ahead)
	}
	require.Contains(t, clockFinding(-time.Minute).Detail, "1m0s behind")
}

func TestFixConnection(t *testing.T) {
	t.Parallel()
	for code, part := range map[string]string{
		"28P01": "user and password", "3D000": "Create the database", "53300": "max_connections", "08P01": "session mode", "XX000": "log",
	} {
		require.Contains(t, fixConnection(&pgconn.PgError{Code: code}), part)
	}
}

func TestExamine_UnreleasedDatabase(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	e = e.with("DATABASE_URL", pgtest.EmptyURL(t))
	old, err := os.ReadFile("../../db/migrations/testdata/unreleased.sql")
	require.NoError(t, err)
	pgtest.OpenOn(t, e["DATABASE_URL"]).MustExec(string(old))
	finding := mustExamine(t, e)["migrations"]
	require.Equal(t, Fail, finding.Status)
	require.Contains(t, finding.Fix, "Make a new database")
}
