package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/notify/email"
	"dealbox/internal/retention"
	"dealbox/internal/webhooksig"
)

// secrets of the right length, each its own.
const (
	goodSecret   = "b7f0c2a94d1e8365f0a1b2c3d4e5f607"
	otherSecret  = "0d9c8b7a6f5e4d3c2b1a09f8e7d6c5b4"
	goodToken    = "4f1d2c3b5a69788796a5b4c3d2e1f0aa"
	goodAPIToken = "e2b19d8c7f6a5043b2c1d0e9f8a7b6c5"
	goodAdmin    = "91a2b3c4d5e6f708192a3b4c5d6e7f80"
	goodAlert    = "7c6d5e4f30212f3e4d5c6b7a89980716"
)

// required is the least that `serve` needs.
var required = environ{
	"DATABASE_URL":          "postgres://dealbox:pw@127.0.0.1:5432/dealbox",
	"STRAPI_URL":            "https://cms.example.com",
	"STRAPI_API_TOKEN":      "0a1b2c3d4e5f6071",
	"STRAPI_WEBHOOK_SECRET": goodSecret,
}

func mustLoad(t *testing.T, e environ, needs ...Need) Config {
	t.Helper()
	config, err := LoadConfig(e.getenv, needs...)
	require.NoError(t, err)
	return config
}

func TestLoadConfig_Defaults(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, required, Everything...)
	require.Equal(t, 10, c.Database.MaxConns)
	require.Equal(t, ListenConfig{Addr: "127.0.0.1:8000"}, c.Listen)
	require.Equal(t, AccessConfig{}, c.Access)
	require.Equal(t, WebhookConfig{
		Schemes: []webhooksig.Scheme{webhooksig.SchemeStandard, webhooksig.SchemeTimestamped, webhooksig.SchemeStrapi},
		Secrets: []Secret{goodSecret}, Tolerance: 300 * time.Second, MaxBytes: 1 << 20,
	}, c.Webhook)
	require.Equal(t, 10*time.Second, c.Strapi.Timeout)
	require.Equal(t, 3, c.Retry.MaxRetries)
	require.Equal(t, time.Second, c.Retry.InitialDelay)
	require.Equal(t, time.Minute, c.Retry.MaxDelay)
	require.InDelta(t, 2.0, c.Retry.Base, 0)
	require.Equal(t, CircuitConfig{5, time.Minute}, c.Circuit)
	require.Equal(t, JobsConfig{WorkerCount: 50, MaxAttempts: 12}, c.Jobs)
	require.Equal(t, ReconcileConfig{2 * time.Minute, time.Hour, 2 * time.Minute}, c.Reconcile)
	require.Equal(t, ForecastConfig{"THB", "en", 12, time.UTC, 25}, c.Forecast)
	require.Equal(t, AlertsConfig{
		WebhookFormat: "standard", WebhookLevel: "error", RemindEvery: 4 * time.Hour,
		Instance: "cms.example.com", StrapiAdminURL: "https://cms.example.com/admin",
	}, c.Alerts)
	require.Equal(t, retention.Config{Events: 90 * day, Alerts: 400 * day, Forecasts: 48 * time.Hour}, c.Retention)
	require.Equal(t, HeartbeatConfig{}, c.Heartbeat)
	require.Equal(t, LogConfig{Level: slog.LevelInfo}, c.Log)
	require.Equal(t, LifecycleConfig{ShutdownTimeout: 20 * time.Second, ShutdownDelay: 5 * time.Second}, c.Lifecycle)
}

func TestLoadConfig_EverySetting(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, required.with(
		"DATABASE_MAX_CONNS", "20", "PORT", "0", "LISTEN_ADDR", "::", "PUBLIC_URL", "https://ops.example.com/dealbox/",
		"STRAPI_WEBHOOK_SECRET", goodSecret+" , whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,",
		"STRAPI_WEBHOOK_SCHEMES", "Strapi,standard,strapi", "STRAPI_WEBHOOK_TOLERANCE", "60", "WEBHOOK_MAX_BYTES", "2 MiB",
		"STRAPI_WEBHOOK_TOKEN", goodToken+", "+otherSecret, "STRAPI_TIMEOUT", "2.5",
		"RETRY_MAX_RETRIES", "0", "RETRY_INITIAL_DELAY", "0.5", "RETRY_MAX_DELAY", "5s", "RETRY_EXPONENTIAL_BASE", "1.5",
		"JOB_MAX_ATTEMPTS", "3", "WORKER_COUNT", "7",
		"CIRCUIT_BREAKER_FAILURE_THRESHOLD", "2", "CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "1.0",
		"RECONCILE_INTERVAL", "30s", "RECONCILE_FULL_INTERVAL", "6h", "RECONCILE_OVERLAP", "90",
		"FORECAST_CURRENCY", "eur", "FORECAST_LOCALE", "th", "FORECAST_HORIZON_MONTHS", "24", "FORECAST_TIMEZONE", "Asia/Bangkok",
		"ALERT_WEBHOOK_URL", "https://hooks.example.com/T0/B0?x=y", "ALERT_WEBHOOK_SECRET", goodAlert,
		"INSTANCE_NAME", "Sales, Bangkok", "STRAPI_ADMIN_URL", "https://panel.example.com/admin/", "SMTP_HELO", "box.example.com",
		"ALERT_WEBHOOK_FORMAT", "slack", "ALERT_NOTIFY_LEVEL", "CRITICAL", "ALERT_REPEAT_INTERVAL", "90m",
		"ALERT_EMAIL_ENABLED", "true", "SMTP_URL", "smtp://dealbox:p%40ss@mail.example.com:2525", "ALERT_EMAIL_LEVEL", "warning",
		"ALERT_EMAIL_FROM", "alerts@example.com", "ALERT_EMAIL_TO", "ops@example.com, Ann <ann@example.com>",
		"API_TOKEN", goodAPIToken, "ADMIN_TOKEN", "ann="+goodAdmin, "PUBLIC_READS", "TRUE",
		"TRUSTED_PROXIES", "10.1.2.3/8, ::ffff:192.0.2.1", "CORS_ORIGINS", "https://App.example.com/,http://localhost:3000",
		"EVENT_RETENTION", "30d", "ALERT_RETENTION", "1000d", "FORECAST_RETENTION", "3600", "HEARTBEAT_URL", "https://hc.example.com/ping/1?x=y",
		"LOG_LEVEL", "debug", "LOG_FORMAT", "text", "SHUTDOWN_TIMEOUT", "45s", "SHUTDOWN_DELAY", "7",
	), Everything...)
	require.Equal(t, 20, c.Database.MaxConns)
	require.Equal(t, "[::]:0", c.Listen.Addr)
	require.Equal(t, "https://ops.example.com/dealbox", c.Listen.PublicURL.String())
	require.Equal(t, WebhookConfig{
		Schemes:   []webhooksig.Scheme{webhooksig.SchemeStrapi, webhooksig.SchemeStandard},
		Secrets:   []Secret{goodSecret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
		Tolerance: time.Minute, Token: goodToken + "," + otherSecret, MaxBytes: 2 << 20,
	}, c.Webhook)
	require.Equal(t, 2500*time.Millisecond, c.Strapi.Timeout)
	require.Equal(t, 0, c.Retry.MaxRetries)
	require.Equal(t, 500*time.Millisecond, c.Retry.InitialDelay)
	require.Equal(t, 5*time.Second, c.Retry.MaxDelay)
	require.InDelta(t, 1.5, c.Retry.Base, 0)
	require.Equal(t, JobsConfig{WorkerCount: 7, MaxAttempts: 3}, c.Jobs)
	require.Equal(t, CircuitConfig{2, time.Second}, c.Circuit)
	require.Equal(t, ReconcileConfig{30 * time.Second, 6 * time.Hour, 90 * time.Second}, c.Reconcile)
	require.Equal(t, "EUR", c.Forecast.Currency)
	require.Equal(t, "th", c.Forecast.Locale)
	require.Equal(t, 24, c.Forecast.HorizonMonths)
	require.Equal(t, "Asia/Bangkok", c.Forecast.Location.String())
	require.Equal(t, c.Forecast.Location, c.Strapi.Types[0].Zone(), "the day of a datetime is the forecast's")
	require.Equal(t, AlertsConfig{
		WebhookURL: "https://hooks.example.com/T0/B0?x=y", WebhookSecret: goodAlert,
		WebhookFormat: "slack", WebhookLevel: "critical", RemindEvery: 90 * time.Minute,
		Instance: "Sales, Bangkok", StrapiAdminURL: "https://panel.example.com/admin",
		Email: &EmailConfig{
			Host: "mail.example.com", Port: 2525, Security: email.StartTLS, User: "dealbox", Password: "p@ss",
			Helo: "box.example.com", From: "alerts@example.com", To: []string{"ops@example.com", "Ann <ann@example.com>"}, Level: "warning",
		},
	}, c.Alerts)
	require.Equal(t, AccessConfig{
		APIToken: goodAPIToken, AdminTokens: []AdminToken{{"ann", goodAdmin}}, PublicReads: true,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")},
		CORSOrigins:    []string{"https://app.example.com", "http://localhost:3000"},
	}, c.Access)
	require.Equal(t, retention.Config{Events: 30 * day, Alerts: 1000 * day, Forecasts: time.Hour}, c.Retention)
	require.Equal(t, HeartbeatConfig{"https://hc.example.com/ping/1?x=y"}, c.Heartbeat)
	require.Equal(t, LogConfig{Level: slog.LevelDebug, Format: "text"}, c.Log)
	require.Equal(t, LifecycleConfig{ShutdownTimeout: 45 * time.Second, ShutdownDelay: 7 * time.Second}, c.Lifecycle)
}

// mistakes has a wrong value for every setting. Those of secrets hold the canary.
var mistakes = environ{
	"DATABASE_URL":                      "postgres://dealbox:" + canary + "/x@host:5432/db",
	"DATABASE_MIGRATE_URL":              "mysql://owner:" + canary + "@host/db",
	"DATABASE_MAX_CONNS":                "3",
	"WORKER_COUNT":                      "0",
	"PORT":                              "eighty",
	"LISTEN_ADDR":                       "127.0.0.1:9000",
	"PUBLIC_URL":                        "https://user:" + canary + "@host",
	"STRAPI_URL":                        "https://user:" + canary + "@cms.example.com",
	"STRAPI_API_TOKEN":                  "Bearer " + canary,
	"STRAPI_WEBHOOK_SECRET":             "whsec_" + canary,
	"STRAPI_WEBHOOK_SCHEMES":            "standard,sha1",
	"STRAPI_WEBHOOK_TOLERANCE":          "-1s",
	"STRAPI_WEBHOOK_TOKEN":              canary + " x",
	"WEBHOOK_MAX_BYTES":                 "17MiB",
	"STRAPI_DEAL_TYPES":                 "pipeline-deals",
	"STRAPI_BILLING_TYPES":              "api::billing.billing=",
	"STRAPI_DEAL_FIELDS":                "colour=color",
	"STRAPI_BILLING_FIELDS":             "amount",
	"STRAPI_TIMEOUT":                    "10 seconds",
	"RETRY_MAX_RETRIES":                 "-1",
	"RETRY_INITIAL_DELAY":               "0",
	"RETRY_MAX_DELAY":                   "x",
	"RETRY_EXPONENTIAL_BASE":            "0.5",
	"JOB_MAX_ATTEMPTS":                  "0",
	"CIRCUIT_BREAKER_FAILURE_THRESHOLD": "0",
	"CIRCUIT_BREAKER_RECOVERY_TIMEOUT":  "NaN",
	"RECONCILE_INTERVAL":                "0",
	"RECONCILE_FULL_INTERVAL":           "-1h",
	"RECONCILE_OVERLAP":                 "x",
	"FORECAST_CURRENCY":                 "BAHT",
	"FORECAST_HORIZON_MONTHS":           "0",
	"FORECAST_TIMEZONE":                 "Mars/Olympus",
	"FORECAST_SWING_PERCENT":            "-1",
	"ALERT_WEBHOOK_URL":                 "https://u:" + canary + "@hooks.example.com",
	"ALERT_WEBHOOK_SECRET":              "whsec_!" + canary,
	"ALERT_WEBHOOK_FORMAT":              "discord",
	"INSTANCE_NAME":                     "two\nlines",
	"STRAPI_ADMIN_URL":                  "https://user:" + canary + "@cms.example.com/admin",
	"SMTP_HELO":                         "localhost",
	"ALERT_WEBHOOK_LEVEL":               "loud",
	"ALERT_NOTIFY_LEVEL":                "fatal",
	"ALERT_REPEAT_INTERVAL":             "1s",
	"ALERT_EMAIL_ENABLED":               "sometimes",
	"ALERT_EMAIL_LEVEL":                 "quiet",
	"ALERT_EMAIL_FROM":                  "x@y\r\nBcc: a@b",
	"ALERT_EMAIL_TO":                    "ops",
	"SMTP_URL":                          "smtp://dealbox:" + canary + "@mail.example.com?tls=none",
	"API_TOKEN":                         canary[:20],
	"ADMIN_TOKEN":                       "ann=" + canary[:18],
	"PUBLIC_READS":                      "maybe",
	"TRUSTED_PROXIES":                   "10.0.0.0/33",
	"CORS_ORIGINS":                      "*",
	"EVENT_RETENTION":                   "6d",
	"ALERT_RETENTION":                   "29d",
	"FORECAST_RETENTION":                "1s",
	"HEARTBEAT_URL":                     "https://hc.example.com/" + canary + "#x",
	"LOG_LEVEL":                         "loud",
	"LOG_FORMAT":                        "xml",
	"SHUTDOWN_TIMEOUT":                  "0",
	"SHUTDOWN_DELAY":                    "11s", // over half of the default of SHUTDOWN_TIMEOUT
}

func TestLoadConfig_EveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	config, err := LoadConfig(mistakes.getenv, append(Everything, NeedMigrateIfSet)...)
	require.Error(t, err)
	text := err.Error()
	require.True(t, strings.HasPrefix(text, fmt.Sprintf("%d settings are wrong:\n", len(mistakes))), text)
	reported := map[string]int{}
	for _, p := range ProblemsOf(err) {
		reported[p.Setting]++
		require.NotEmpty(t, p.Wrong, p.Setting)
		require.True(t, strings.HasSuffix(p.Fix, "."), "%s: the fix is a sentence", p.Setting)
	}
	for name := range mistakes {
		require.Equal(t, 1, reported[name], "%s is reported once:\n%s", name, text)
		require.Contains(t, text, "\n  "+name+" ")
	}
	for _, part := range []string{canary, canary[:18], canary[len(canary)-18:]} {
		require.NotContains(t, text, part)
		require.NotContains(t, shownEveryWay(t, config, err), part)
	}
}

func TestLoadConfig_SecretsNeverShown(t *testing.T) {
	t.Parallel()
	config := mustLoad(t, required.with(
		"DATABASE_URL", "postgres://dealbox:"+canary+"@127.0.0.1/dealbox", "DATABASE_MIGRATE_URL", "postgres://owner:"+canary+"@127.0.0.1/dealbox",
		"STRAPI_API_TOKEN", canary+"1", "STRAPI_WEBHOOK_SECRET", canary+"2,"+canary+"3", "STRAPI_WEBHOOK_TOKEN", canary+"4",
		"API_TOKEN", canary+"5", "ADMIN_TOKEN", "ann="+canary+"6", "ALERT_WEBHOOK_SECRET", canary+"7",
		"ALERT_WEBHOOK_URL", "https://hooks.example.com/"+canary,
	), append(Everything, NeedMigrate)...)
	require.NotContains(t, shownEveryWay(t, config, nil), canary)
	require.Equal(t, "https://hooks.example.com", HostOf(config.Alerts.WebhookURL))
}

func shownEveryWay(t *testing.T, config Config, err error) string {
	t.Helper()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v", config, config, config)
	// net/url is not made for JSON; everything else is.
	config.Listen.PublicURL, config.Forecast.Location = nil, nil
	require.NoError(t, json.NewEncoder(&out).Encode(config))
	NewLogger(&out, LogConfig{Format: "json"}).Error("x", "config", config, "error", err)
	NewLogger(&out, LogConfig{Format: "text"}).Error("x", "config", config, "error", err)
	return out.String()
}

func TestLoadConfig_OnlyWhatIsNeeded(t *testing.T) {
	t.Parallel()
	// Everything else is wrong, and nobody asks.
	e := mistakes.with("DATABASE_URL", required["DATABASE_URL"], "DATABASE_MIGRATE_URL", "")
	c := mustLoad(t, e, NeedMigrate)
	require.Equal(t, required["DATABASE_URL"], c.Database.MigrateURL.Reveal())

	e = mistakes.with("DATABASE_MIGRATE_URL", "postgres://owner@h/d", "DATABASE_URL", "")
	c = mustLoad(t, e, NeedMigrate)
	require.Equal(t, "postgres://owner@h/d", c.Database.MigrateURL.Reveal())

	c = mustLoad(t, mistakes.with("STRAPI_WEBHOOK_SECRET", goodSecret), NeedSigning)
	require.Equal(t, []Secret{goodSecret}, c.Webhook.Secrets)

	_, err := LoadConfig(environ{}.getenv, Everything...)
	var names []string
	for _, p := range ProblemsOf(err) {
		names = append(names, p.Setting)
	}
	require.Equal(t, []string{"DATABASE_URL", "STRAPI_WEBHOOK_SECRET", "STRAPI_URL", "STRAPI_API_TOKEN"}, names)
}

func TestLoadConfig_DatabaseURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"postgres://u:p@h:5432/d", "postgresql://u@h/d?sslmode=require", "postgres:///d?host=/tmp/socket", "host=h user=u dbname=d password=p",
	} {
		_, err := LoadConfig(environ{"DATABASE_URL": good}.getenv, NeedDatabase)
		require.NoError(t, err, good)
	}
	for _, bad := range []string{
		"postgres://u:" + canary + "/a@h:5432/d", "postgres://u:" + canary + "?b@h:port/d", "postgres://u:p%zz" + canary + "@h/d",
		"postgres://u:" + canary + "@h:99999999/d", "postgres://u:" + canary + "@h/d?sslmode=perhaps",
		"postgres://u:" + canary + "@h/d?connect_timeout=x", "http://u:" + canary + "@h/d", canary, "host=h password='" + canary,
		"postgres://u:" + canary + "@h/d?sslrootcert=/does/not/exist&sslmode=verify-full",
	} {
		_, err := LoadConfig(environ{"DATABASE_URL": bad}.getenv, NeedDatabase)
		require.Len(t, ProblemsOf(err), 1, bad)
		require.NotContains(t, err.Error(), canary)
		require.Contains(t, err.Error(), "DATABASE_URL ")
	}
}

func TestLoadConfig_WebhookSecret(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ secret, token, wrong string }{
		{goodSecret, "", ""},
		{"", goodToken, ""},
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", ""}, // 24 bytes
		{"123456789012345678901234", "", ""},               // 24 bytes
		{"", "", "is not set"},
		{" , ", "", "is not set"},
		{"12345678901234567890123", "", "has a secret of 23 bytes, less than 24"},
		{goodSecret + ",short", "", "has a secret of 5 bytes, less than 24"},
		{"whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM=", "", "has a secret of 23 bytes, less than 24"}, // 38 characters
		{"whsec_" + goodSecret + "!", "", "starts with whsec_ but is not base64 after it"},
		{goodSecret + "," + goodSecret, "", "holds the same value twice"},
	} {
		_, err := LoadConfig(environ{"STRAPI_WEBHOOK_SECRET": test.secret, "STRAPI_WEBHOOK_TOKEN": test.token}.getenv, needWebhook)
		if test.wrong == "" {
			require.NoError(t, err, test.secret)
			continue
		}
		require.Len(t, ProblemsOf(err), 1, test.secret)
		require.Equal(t, test.wrong, ProblemsOf(err)[0].Wrong, test.secret)
	}
}

func TestLoadConfig_WebhookMaxBytes(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int{"": 1 << 20, "1024": 1 << 10, "512KiB": 512 << 10, "16 MiB": 16 << 20, "16777216": 16 << 20} {
		c := mustLoad(t, environ{"STRAPI_WEBHOOK_TOKEN": goodToken, "WEBHOOK_MAX_BYTES": value}, needWebhook)
		require.Equal(t, want, c.Webhook.MaxBytes, value)
	}
	for _, bad := range []string{"0", "1023", "0KiB", "0MiB", "-1MiB", "16777217", "17MiB", "1e6", "1MB", "MiB", "9999999999999MiB"} {
		_, err := LoadConfig(environ{"STRAPI_WEBHOOK_TOKEN": goodToken, "WEBHOOK_MAX_BYTES": bad}.getenv, needWebhook)
		require.Len(t, ProblemsOf(err), 1, bad)
	}
}

// A Strapi that cannot sign: only its static token is accepted.
func TestLoadConfig_WebhookTokenAlone(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, environ{"STRAPI_WEBHOOK_TOKEN": goodToken}, needWebhook)
	require.Empty(t, c.Webhook.Schemes)
	require.Equal(t, goodToken, c.Webhook.Token.Reveal())
}

// A secret of some letters would stand in ordinary text, too.
func TestLoadConfig_ShortSecrets(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"STRAPI_WEBHOOK_SECRET", "STRAPI_WEBHOOK_TOKEN", "STRAPI_API_TOKEN", "API_TOKEN", "ADMIN_TOKEN", "ALERT_WEBHOOK_SECRET"} {
		for _, value := range []string{"a", "fifteen-bytes-x"} {
			_, err := LoadConfig(required.with(name, value).getenv, Everything...)
			require.Len(t, ProblemsOf(err), 1, "%s=%s", name, value)
			require.Equal(t, name, ProblemsOf(err)[0].Setting)
			require.Contains(t, err.Error(), fmt.Sprintf("%d byte", len(value)))
		}
	}
	mustLoad(t, required.with("STRAPI_API_TOKEN", "sixteen-bytes-xy", "SMTP_URL", "smtp://a:b@mail.example.com"), Everything...)
}

func TestLoadConfig_EachSecretOnce(t *testing.T) {
	t.Parallel()
	settings := []string{"STRAPI_WEBHOOK_SECRET", "STRAPI_WEBHOOK_TOKEN", "STRAPI_API_TOKEN", "API_TOKEN", "ADMIN_TOKEN", "ALERT_WEBHOOK_SECRET"}
	for i, first := range settings {
		for _, second := range settings[:i] {
			_, err := LoadConfig(required.with(first, canary, second, canary).getenv, Everything...)
			require.Len(t, ProblemsOf(err), 1, "%s = %s", first, second)
			require.Contains(t, err.Error(), first)
			require.Contains(t, err.Error(), second)
			require.NotContains(t, err.Error(), canary)
		}
	}
}

func TestLoadConfig_AdminToken(t *testing.T) {
	t.Parallel()
	const padded = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM="
	for _, test := range []struct {
		value string
		want  []AdminToken
		wrong string
	}{
		{value: ""},
		{value: goodAdmin, want: []AdminToken{{"admin", goodAdmin}}},
		{value: padded, want: []AdminToken{{"admin", padded}}},
		{value: padded + "=", want: []AdminToken{{"admin", padded + "="}}},
		{value: "ann=" + padded, want: []AdminToken{{"ann", padded}}},
		{value: "ann=" + goodAdmin + ", bob@example.com=" + goodToken, want: []AdminToken{{"ann", goodAdmin}, {"bob@example.com", goodToken}}},
		{value: "ann=short", wrong: "is 5 bytes long, less than 24"},
		{value: "ann=" + goodAdmin + ",ann=" + goodToken, wrong: "has two entries of one name"},
		{value: goodAdmin + "," + goodToken, wrong: "has two entries of one name"},
		{value: "an n=" + goodAdmin, wrong: "has an entry whose name is not 1 to 64 letters, digits or . _ @ -"},
		{value: "=" + goodAdmin, wrong: "has an entry whose name is not 1 to 64 letters, digits or . _ @ -"},
		{value: "ann=" + goodAdmin + " x", wrong: "holds a space or a character that no header can carry"},
	} {
		c, err := LoadConfig(environ{"ADMIN_TOKEN": test.value}.getenv, needAccess)
		if test.wrong == "" {
			require.NoError(t, err, test.value)
			require.Equal(t, test.want, c.Access.AdminTokens, test.value)
			continue
		}
		require.Len(t, ProblemsOf(err), 1, test.value)
		require.Equal(t, test.wrong, ProblemsOf(err)[0].Wrong, test.value)
	}
}

func TestLoadConfig_CORSOrigins(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"*", "null", "app.example.com", "https://app.example.com/path", "https://*.example.com", "https://app.example.com:443",
		"http://app.example.com:80", "https://app.example.com?x", "https://user:" + canary + "@app.example.com", "file:///x",
	} {
		_, err := LoadConfig(environ{"CORS_ORIGINS": "https://good.example.com," + bad}.getenv, needAccess)
		require.Len(t, ProblemsOf(err), 1, bad)
		require.NotContains(t, err.Error(), canary)
	}
}

func TestLoadConfig_Listen(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"0.0.0.0": "0.0.0.0:8000", "::1": "[::1]:8000", "[::1]": "[::1]:8000", "localhost": "localhost:8000", "": "127.0.0.1:8000",
	} {
		require.Equal(t, want, mustLoad(t, environ{"LISTEN_ADDR": value}, NeedListen).Listen.Addr)
	}
	require.Equal(t, "127.0.0.1:80", reachable("0.0.0.0:80"))
	require.Equal(t, "127.0.0.1:80", reachable("[::]:80"))
	require.Equal(t, "10.0.0.1:80", reachable("10.0.0.1:80"))
}

// The fix must fit what is wrong: the defaults need no setting at all.
func TestLoadConfig_RetryDelays(t *testing.T) {
	t.Parallel()
	_, err := LoadConfig(environ{"RETRY_INITIAL_DELAY": "90", "RETRY_MAX_DELAY": ""}.getenv, needRetry)
	require.ErrorContains(t, err, "RETRY_MAX_DELAY is 1m0s, less than RETRY_INITIAL_DELAY (1m30s)")
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]EmailConfig{
		"smtp://mail.example.com":              {Host: "mail.example.com", Port: 587, Security: email.StartTLS},
		"smtps://a:b@mail.example.com":         {Host: "mail.example.com", Port: 465, Security: email.ImplicitTLS, User: "a", Password: "b"},
		"smtp://mailpit:1025?tls=none":         {Host: "mailpit", Port: 1025, Security: email.NoTLS},
		"smtp://a%40b.example:c%2Fd@[::1]:25/": {Host: "::1", Port: 25, Security: email.StartTLS, User: "a@b.example", Password: "c/d"},
	} {
		var e EmailConfig
		require.Empty(t, e.parseServer(url), url)
		require.Equal(t, want, e)
	}
	for _, url := range []string{
		"mail.example.com:587", "http://mail.example.com", "smtp://", "smtp://mail.example.com:0", "smtp://mail.example.com/x", "smtp://m#f",
		"smtp://m?tls=off", "smtp://m?tls=none&x=y", "smtps://m?tls=none", "smtp://a:b@m?tls=none",
	} {
		require.NotEmpty(t, (&EmailConfig{}).parseServer(url), url)
	}
}

// What tells installations apart, what mail servers are given and where Strapi's editor
// is need no setting.
func TestLoadConfig_DefaultsOfAlerts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ publicURL, strapiURL, instance, helo, admin string }{
		{"https://crm.example.com/dealbox/", "https://cms.example.com", "crm.example.com", "crm.example.com", "https://cms.example.com/admin"},
		{"", "https://cms.example.com/api/", "cms.example.com", "", "https://cms.example.com/admin"},
		{"", "https://example.com/cms/api", "example.com", "", "https://example.com/cms/admin"},
		{"", "https://crm.example.com/rest/v2", "crm.example.com", "", "https://crm.example.com/admin"},
		{"", "https://example.com/rest", "example.com", "", "https://example.com/admin"},
		{"http://127.0.0.1:8000", "http://localhost:1337", "127.0.0.1:8000", "", "http://localhost:1337/admin"},
		{"http://dealbox:8000", "", "dealbox:8000", "", ""},
		{"", "", "", "", ""},
	} {
		got, err := LoadConfig(environ{"PUBLIC_URL": c.publicURL, "STRAPI_URL": c.strapiURL, "ALERT_EMAIL_ENABLED": "true", "SMTP_URL": "smtp://h",
			"ALERT_EMAIL_FROM": "a@b.example", "ALERT_EMAIL_TO": "c@d.example"}.getenv, NeedAlerts)
		require.NoError(t, err)
		require.Equal(t, c.instance, got.Alerts.Instance)
		require.Equal(t, c.helo, got.Alerts.Email.Helo)
		require.Equal(t, c.admin, got.Alerts.StrapiAdminURL)
	}
	for _, wrong := range []string{"localhost", "dealbox", "a b.example", "192.0.2.1", "x.example.com\r\nMAIL"} {
		_, err := LoadConfig(environ{"SMTP_HELO": wrong}.getenv, NeedAlerts)
		require.Len(t, ProblemsOf(err), 1, wrong)
	}
}

// The README names every setting that the program reads.
func TestLoadConfig_SettingsAreInTheReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	read := map[string]bool{}
	_, _ = LoadConfig(func(name string) string { read[name] = true; return "" }, append(Everything, NeedMigrate)...)
	require.Greater(t, len(read), 50)
	for name := range read {
		require.Contains(t, string(readme), name)
	}
}
