package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/health"
	"dealbox/internal/pgtest"
)

const strapiToken = "strapi-" + canary

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

// mustExamine runs doctor in both forms, and makes sure that neither shows a secret.
func mustExamine(t *testing.T, e environ) (map[string]finding, output) {
	t.Helper()
	plain, asJSON := dealbox(t, e, "", "doctor"), dealbox(t, e, "", "doctor --json")
	require.Equal(t, plain.code, asJSON.code)
	for _, text := range []string{plain.stdout, plain.stderr, asJSON.stdout, asJSON.stderr} {
		require.NotContains(t, text, canary)
	}
	var r report
	require.NoError(t, json.Unmarshal([]byte(asJSON.stdout), &r))
	require.Equal(t, r.OK, asJSON.code == exitDone)
	findings := map[string]finding{}
	for _, f := range r.Checks {
		require.NotContains(t, findings, f.Check, "each check once")
		findings[f.Check] = f
		require.Contains(t, plain.stdout, f.Check)
		if f.Verdict == verdictFail || f.Verdict == verdictWarn {
			require.NotEmpty(t, f.Fix, f.Check)
			require.Contains(t, plain.stdout, oneLine(f.Fix))
		}
	}
	return findings, plain
}

// requireVerdicts wants the given ones, and ok for all others.
func requireVerdicts(t *testing.T, findings map[string]finding, others map[string]verdict) {
	t.Helper()
	for check, f := range findings {
		want, given := others[check]
		if !given {
			want = verdictOK
			if check == checkDatabase && strings.Contains(f.Detail, "a round trip") {
				want = f.Verdict // on a busy machine the fastest of three takes over 50 ms
			}
		}
		require.Equal(t, want, f.Verdict, "%s: %s", check, f.Detail)
	}
	for check := range others {
		require.Contains(t, findings, check)
	}
}

func TestDoctor_Healthy(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	findings, out := mustExamine(t, e)
	require.Equal(t, exitDone, out.code, out.stdout)
	requireVerdicts(t, findings, nil)
	for _, check := range []string{
		"settings", "access", "webhook secret", "database", "migrations", "roles", "partitions", "retention", "clock", "webhooks", "strapi", "strapi token", "strapi clock",
		"type " + dealUID, "fields " + dealUID, "type " + billingUID, "fields " + billingUID, "alert webhook",
	} {
		require.Contains(t, findings, check)
	}
	require.Contains(t, findings["database"].Detail, "Postgres 1")
	require.Equal(t, "13 mapped attributes exist", findings["fields "+dealUID].Detail)
	require.Empty(t, out.stderr)
}

func TestDoctor_NothingSet(t *testing.T) {
	t.Parallel()
	findings, out := mustExamine(t, nil)
	require.Equal(t, exitFailed, out.code)
	require.Contains(t, out.stderr, "4 checks fail")
	for _, name := range []string{"DATABASE_URL", "STRAPI_URL", "STRAPI_API_TOKEN", "STRAPI_WEBHOOK_SECRET"} {
		require.Equal(t, verdictFail, findings[name].Verdict)
	}
	for _, check := range []string{"database", "migrations", "roles", "partitions", "retention", "clock", "strapi", "strapi token", "webhook secret"} {
		require.Equal(t, verdictSkip, findings[check].Verdict, check)
	}
}

// What is right is checked even when other settings are wrong.
func TestDoctor_EveryMistake(t *testing.T) {
	t.Parallel()
	good, _ := healthy(t)
	findings, out := mustExamine(t, mistakes.with("DATABASE_URL", good["DATABASE_URL"]))
	require.Equal(t, exitFailed, out.code)
	for name := range mistakes {
		if name != "DATABASE_URL" {
			require.Equal(t, verdictFail, findings[name].Verdict, name)
		}
	}
	require.NotEqual(t, verdictFail, findings["database"].Verdict) // a busy machine is a warning
	require.Equal(t, verdictOK, findings["migrations"].Verdict)
}

func TestDoctor_Database(t *testing.T) {
	t.Parallel()
	skips := map[string]verdict{"database": verdictFail, "migrations": verdictSkip, "roles": verdictSkip, "partitions": verdictSkip, "retention": verdictSkip, "clock": verdictSkip, "webhooks": verdictSkip}
	t.Run("Away", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		findings, _ := mustExamine(t, e.with("DATABASE_URL", "postgres://dealbox:"+canary+"@127.0.0.1:1/dealbox"))
		requireVerdicts(t, findings, skips)
		require.Contains(t, findings["database"].Fix, "Check that Postgres runs")
	})
	t.Run("NoSuchDatabase", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		findings, _ := mustExamine(t, e.with("DATABASE_URL", e["DATABASE_URL"]+"&dbname=does_not_exist"))
		requireVerdicts(t, findings, skips)
		require.Contains(t, findings["database"].Fix, "Create the database")
	})
	t.Run("Behind", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		findings, _ := mustExamine(t, e.with("DATABASE_URL", pgtest.EmptyURL(t)))
		requireVerdicts(t, findings, map[string]verdict{"migrations": verdictFail, "roles": verdictSkip, "partitions": verdictSkip, "retention": verdictSkip, "webhooks": verdictSkip})
		require.Equal(t, "Run 'dealbox migrate up'.", findings["migrations"].Fix)
	})
	t.Run("FewPartitions", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		roles := pgtest.SeparateRoles(t)
		mustExec(t, roles.Owner, dropPartitions(fmt.Sprintf("> (now() AT TIME ZONE 'UTC')::date + %d", health.MinPartitionDays-1)))
		findings, out := mustExamine(t, e.with("DATABASE_URL", roles.App))
		require.Equal(t, exitDone, out.code, "a warning is no failure")
		requireVerdicts(t, findings, map[string]verdict{"partitions": verdictWarn})
	})
	t.Run("OldPartition", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		roles := pgtest.SeparateRoles(t)
		mustExec(t, roles.Owner, "CREATE TABLE inbox_event_20260101 PARTITION OF inbox_event FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')")
		findings, out := mustExamine(t, e.with("DATABASE_URL", roles.App))
		require.Equal(t, exitDone, out.code, "a warning is no failure")
		requireVerdicts(t, findings, map[string]verdict{"retention": verdictWarn})
		require.Contains(t, findings["retention"].Detail, "since 2026-01-01")
		findings, _ = mustExamine(t, e.with("DATABASE_URL", roles.App, "EVENT_RETENTION", "10000d"))
		requireVerdicts(t, findings, nil)
	})
	t.Run("NoPartitions", func(t *testing.T) {
		t.Parallel()
		e, _ := healthy(t)
		roles := pgtest.SeparateRoles(t)
		mustExec(t, roles.Owner, dropPartitions("IS NOT NULL"))
		findings, _ := mustExamine(t, e.with("DATABASE_URL", roles.App))
		requireVerdicts(t, findings, map[string]verdict{"partitions": verdictFail, "retention": verdictSkip})
	})
}

// dropPartitions of inbox_event whose day meets the condition.
func dropPartitions(condition string) string {
	return `DO $$ DECLARE part text; BEGIN
		FOR part IN SELECT relname FROM pg_class WHERE relname ~ '^inbox_event_\d{8}$' AND to_date(right(relname, 8), 'YYYYMMDD') ` + condition + `
		LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END $$`
}

func TestDoctor_StrapiClock(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]verdict{
		0: verdictOK, 2 * time.Minute: verdictOK, -2 * time.Minute: verdictOK,
		4 * time.Minute: verdictWarn, -4 * time.Minute: verdictWarn, 6 * time.Minute: verdictFail, -6 * time.Minute: verdictFail,
	} {
		require.Equal(t, want, judgeStrapiClock(ahead, 5*time.Minute).Verdict, ahead)
	}
	fake, err := fakestrapi.New(fakestrapi.Config{
		Types: fakestrapi.PipelineTypes(false, false), Token: testToken,
		Now: func() time.Time { return time.Now().Add(-time.Hour) },
	})
	require.NoError(t, err)
	server, err := fake.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close(t.Context()) })
	e, _ := healthy(t)
	findings, _ := mustExamine(t, e.with("STRAPI_URL", server.URL))
	require.Equal(t, verdictFail, findings["strapi clock"].Verdict)
	require.Contains(t, findings["strapi clock"].Detail, "1h0m0s ahead of Strapi: signed webhooks are refused (timestamp_out_of_tolerance, over 5m0s)")
}

func TestDoctor_Webhooks(t *testing.T) {
	t.Parallel()
	e, _ := healthy(t)
	findings, _ := mustExamine(t, e)
	require.Contains(t, findings["webhooks"].Detail, "none has arrived yet")
	mustExec(t, e["DATABASE_URL"], `INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, body)
		VALUES (gen_random_uuid(), (now() AT TIME ZONE 'UTC')::date, now() - interval '3 min', 'x', 'standard', '{}')`)
	findings, _ = mustExamine(t, e)
	require.Regexp(t, `the last one arrived 3m\d+s ago, proved by scheme standard`, findings["webhooks"].Detail)
}

func TestDoctor_Strapi(t *testing.T) {
	t.Parallel()
	deal, billing := "type "+dealUID, "type "+billingUID
	dealFields, billingFields := "fields "+dealUID, "fields "+billingUID
	noTypes := map[string]verdict{deal: verdictSkip, billing: verdictSkip, dealFields: verdictSkip, billingFields: verdictSkip}
	and := func(more map[string]verdict) map[string]verdict {
		for k, v := range noTypes {
			if _, given := more[k]; !given {
				more[k] = v
			}
		}
		return more
	}
	away := and(map[string]verdict{"strapi": verdictFail, "strapi token": verdictSkip})
	silent := and(map[string]verdict{"strapi": verdictFail, "strapi token": verdictSkip, "strapi clock": verdictSkip})
	noRoute := and(map[string]verdict{"strapi token": verdictSkip, deal: verdictFail, billing: verdictFail})
	for _, test := range []struct {
		name  string
		fault fakestrapi.Fault
		want  map[string]verdict
		check string
		fix   string
	}{
		{"Down", fakestrapi.Fault{Kind: fakestrapi.FaultDown}, silent, "strapi", "Check STRAPI_URL, that Strapi runs"},
		{"Hangs", fakestrapi.Fault{Kind: fakestrapi.FaultHang}, silent, "strapi", "Check STRAPI_URL, that Strapi runs"},
		{"BadGateway", fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 502}, away, "strapi", "the proxy in front of it"},
		{"HTML", fakestrapi.Fault{Kind: fakestrapi.FaultHTML}, away, "strapi", "Point STRAPI_URL to Strapi 5 itself"},
		{
			"TokenRefused", fakestrapi.Fault{Kind: fakestrapi.FaultUnauthorized},
			and(map[string]verdict{"strapi token": verdictFail}), "strapi token", "Make a read-only API token",
		},
		{"NoRoutes", fakestrapi.Fault{Kind: fakestrapi.FaultMissingRoute}, noRoute, billing, "in STRAPI_BILLING_TYPES"},
		{
			"NoRouteOfOne", fakestrapi.Fault{Kind: fakestrapi.FaultMissingRoute, Plural: "pipeline-deals"},
			map[string]verdict{deal: verdictFail, dealFields: verdictSkip}, deal, "in STRAPI_DEAL_TYPES",
		},
		{
			"OneForbidden", fakestrapi.Fault{Kind: fakestrapi.FaultForbidden, Plural: "billings"},
			map[string]verdict{billing: verdictFail, billingFields: verdictSkip}, billing, "Give the token find and findOne of " + billingUID,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e, fake := healthy(t)
			fake.Faults.Set(test.fault)
			if test.fault.Kind == fakestrapi.FaultHang {
				e = e.with("STRAPI_TIMEOUT", "0.5") // the others must be answered, and a busy machine takes its time
			}
			findings, out := mustExamine(t, e)
			require.Equal(t, exitFailed, out.code)
			requireVerdicts(t, findings, test.want)
			require.Contains(t, findings[test.check].Fix, test.fix)
		})
	}
}

func TestDoctor_Fields(t *testing.T) {
	t.Parallel()
	deal, billing := "fields "+dealUID, "fields "+billingUID
	for _, test := range []struct {
		name    string
		types   []fakestrapi.Type
		empty   bool
		mapping string
		want    map[string]verdict
		detail  string // of the deal's fields
	}{
		{
			"Empty", fakestrapi.PipelineTypes(false, false), true, "",
			map[string]verdict{deal: verdictSkip, billing: verdictSkip}, "there is no published document yet",
		},
		{
			"Renamed", fakestrapi.PipelineTypes(true, true), false, "",
			map[string]verdict{deal: verdictFail, billing: verdictWarn}, "the type has no status; without status its documents count for nothing",
		},
		{
			"Mapped", fakestrapi.PipelineTypes(true, true), false, "status=deal_status,stage=phase,owner=",
			map[string]verdict{deal: verdictWarn, billing: verdictWarn}, "the type has no phase (our stage): null in Dealbox",
		},
		{
			"Relation", fakestrapi.PipelineTypes(false, false), false, "billings=invoices",
			map[string]verdict{deal: verdictFail}, "Strapi does not populate the relation invoices",
		},
		{
			"RelationOfAnEmptyType", fakestrapi.PipelineTypes(false, false), true, "billings=invoices",
			map[string]verdict{deal: verdictFail, billing: verdictSkip}, "Strapi does not populate the relation invoices",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, strapiURL := fakeStrapi(t, fakestrapi.Config{Types: test.types}, test.empty)
			e, _ := healthy(t)
			findings, _ := mustExamine(t, e.with("STRAPI_URL", strapiURL, "STRAPI_DEAL_FIELDS", test.mapping))
			requireVerdicts(t, findings, test.want)
			require.Equal(t, test.detail, strings.TrimPrefix(findings[deal].Detail, "not checked: "))
		})
	}
}

func TestDoctor_AlertWebhook(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	for _, test := range []struct {
		name, url, secret string
		want              verdict
		fix               string
	}{
		{"NotSet", "", "", verdictWarn, "Set ALERT_WEBHOOK_URL"},
		{"Unsigned", "healthy", "", verdictWarn, "Set ALERT_WEBHOOK_SECRET"},
		{"NothingThere", "http://127.0.0.1:1/" + canary, goodAlert, verdictFail, "Check that the receiver runs"},
		{"Untrusted", untrusted.URL + "/" + canary, goodAlert, verdictFail, "a certificate that this machine trusts"},
		{"NoSuchHost", "https://alerts.invalid/" + canary, goodAlert, verdictFail, "Check the host's name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e, _ := healthy(t)
			if test.url == "healthy" {
				test.url = e["ALERT_WEBHOOK_URL"]
			}
			findings, _ := mustExamine(t, e.with("ALERT_WEBHOOK_URL", test.url, "ALERT_WEBHOOK_SECRET", test.secret))
			requireVerdicts(t, findings, map[string]verdict{"alert webhook": test.want})
			require.Contains(t, findings["alert webhook"].Fix, test.fix)
		})
	}
}

func TestDoctor_Access(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		settings environ
		want     verdict
	}{
		{environ{}, verdictOK},
		{environ{"LISTEN_ADDR": "0.0.0.0"}, verdictWarn},
		{environ{"LISTEN_ADDR": "0.0.0.0", "API_TOKEN": goodAPIToken}, verdictOK},
		{environ{"API_TOKEN": goodAPIToken, "PUBLIC_READS": "true"}, verdictWarn},
		{environ{"API_TOKEN": "short"}, verdictSkip},
	} {
		findings, _ := mustExamine(t, test.settings)
		require.Equal(t, test.want, findings["access"].Verdict, test.settings)
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
		require.Equal(t, want, weakness(secret(value)), value)
	}
}

func TestJudgeClock(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]verdict{
		0: verdictOK, 2 * time.Second: verdictOK, -3 * time.Second: verdictWarn, 29 * time.Second: verdictWarn, -time.Minute: verdictFail,
	} {
		require.Equal(t, want, judgeClock(ahead).Verdict, ahead)
	}
	require.Contains(t, judgeClock(-time.Minute).Detail, "1m0s behind")
}

func TestFixConnection(t *testing.T) {
	t.Parallel()
	for code, part := range map[string]string{
		"28P01": "user and password", "3D000": "Create the database", "53300": "max_connections", "08P01": "session mode", "XX000": "log",
	} {
		require.Contains(t, fixConnection(&pgconn.PgError{Code: code}), part)
	}
}
