package app

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // FORECAST_TIMEZONE works in an image without /usr/share/zoneinfo

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/retention"
	"dealbox/internal/retry"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// Getenv reads the process's environment, and nothing else does: every function takes
// a getenv, and packages take their Config by value.
func Getenv(name string) string { return os.Getenv(name) }

// Config holds every setting, one group for each part that reads it.
type Config struct {
	Database  DatabaseConfig
	Listen    ListenConfig
	Access    AccessConfig
	Webhook   WebhookConfig
	Strapi    StrapiConfig
	Retry     retry.Policy
	Circuit   CircuitConfig
	Jobs      JobsConfig
	Reconcile ReconcileConfig
	Forecast  ForecastConfig
	Alerts    AlertsConfig
	Retention retention.Config
	Heartbeat HeartbeatConfig
	Log       LogConfig
	Lifecycle LifecycleConfig
}

// DatabaseConfig is for the pools.
type DatabaseConfig struct {
	URL        Secret // it holds a password
	MigrateURL Secret // the owner's role; URL when DATABASE_MIGRATE_URL is not set
	// MaxConns counts the connections of one replica; ingest has its own share of them.
	MaxConns int
}

// ListenConfig is where the HTTP server listens and where people reach it.
type ListenConfig struct {
	Addr string // host:port
	// PublicURL has no slash at its end; nil when unset.
	PublicURL *url.URL
}

// AccessConfig is who may read and who may act.
type AccessConfig struct {
	APIToken       Secret
	AdminTokens    []AdminToken
	PublicReads    bool
	TrustedProxies []netip.Prefix
	CORSOrigins    []string
}

// AdminToken lets one operator act; Name is the actor in the history.
type AdminToken struct {
	Name  string
	Token Secret
}

// WebhookConfig is how deliveries prove that they are authentic.
type WebhookConfig struct {
	Schemes   []webhooksig.Scheme // empty when only the static token is used
	Secrets   []Secret
	Tolerance time.Duration
	Token     Secret // one, or several for rotation, comma-separated
	MaxBytes  int    // of a body that is stored
}

// StrapiConfig is where Strapi is and what of it is mirrored.
type StrapiConfig struct {
	URL      string
	APIToken Secret
	Timeout  time.Duration // of one request
	Types    []strapi.ContentType
}

// CircuitConfig is for the breaker in front of Strapi.
type CircuitConfig struct {
	FailureThreshold int
	RecoveryTimeout  time.Duration
}

// JobsConfig is for the workers.
type JobsConfig struct {
	WorkerCount int
	MaxAttempts int // failures of one document before it is a dead letter
}

// ReconcileConfig is how often Dealbox compares the mirror with Strapi.
type ReconcileConfig struct {
	Interval     time.Duration // what Strapi updated since the last time
	FullInterval time.Duration // every document
	Overlap      time.Duration // how far Interval reaches back behind the last time
}

// ForecastConfig is for the forecast.
type ForecastConfig struct {
	Currency      string
	Locale        string // Strapi's default one
	HorizonMonths int
	Location      *time.Location
	SwingPercent  int // a change within an hour that is worth a warning; 0 for none
}

// LifecycleConfig is for the process.
type LifecycleConfig struct {
	// ShutdownTimeout bounds everything from the signal to the end of the process,
	// ShutdownDelay too.
	ShutdownTimeout time.Duration
	// ShutdownDelay is how long webhooks are still taken while /readyz is 503.
	ShutdownDelay time.Duration
}

// Need reads one group of settings. A command names the groups that it needs,
// and only those are checked.
type Need func(s *settings, c *Config)

// Everything is what serve and dev need.
var Everything = []Need{
	NeedDatabase, NeedListen, needAccess, needWebhook, needStrapi,
	needJobs, needReconcile, needForecast, NeedAlerts, needRetention, needHeartbeat, needLog, needLifecycle,
}

// LoadConfig reads the groups that the caller needs. The error is a
// *SettingsError that names every wrong setting; the Config then still holds
// what is right, with defaults in place of what is wrong.
func LoadConfig(getenv func(string) string, needs ...Need) (Config, error) {
	s := &settings{getenv: getenv}
	var c Config
	for _, read := range needs {
		read(s, &c)
	}
	for i := range c.Strapi.Types {
		c.Strapi.Types[i].Location = c.Forecast.Location // nil where no forecast is needed
	}
	s.eachSecretOnce()
	if len(s.problems) > 0 {
		return c, &SettingsError{Problems: s.problems}
	}
	return c, nil
}

const databaseExample = "postgres://user:password@host:5432/database"

// NeedDatabase reads the service's database.
func NeedDatabase(s *settings, c *Config) {
	if s.text("DATABASE_URL") == "" {
		s.wrong("DATABASE_URL", "is not set", "Give the Postgres (15 or later) that Dealbox keeps its data in, such as "+databaseExample+".")
	}
	c.Database.URL = s.databaseURL("DATABASE_URL")
	// Below minConns there is no connection left for one of: ingest (2, so that one
	// slow commit does not stop the next), readers, River's listener, the workers.
	c.Database.MaxConns = s.integer("DATABASE_MAX_CONNS", 10, minConns, 1000)
}

// NeedMigrateIfSet is for doctor: it reports a wrong
// DATABASE_MIGRATE_URL and not a missing one.
func NeedMigrateIfSet(s *settings, c *Config) {
	if s.text("DATABASE_MIGRATE_URL") != "" {
		NeedMigrate(s, c)
	}
}

// NeedMigrate reads the owner's URL. The service's own is only its default.
func NeedMigrate(s *settings, c *Config) {
	name := "DATABASE_MIGRATE_URL"
	if s.text(name) == "" {
		name = "DATABASE_URL"
	}
	if s.text(name) == "" {
		s.wrong(name, "is not set", "Give the Postgres (15 or later) to migrate, such as "+databaseExample+
			"; DATABASE_MIGRATE_URL when another role owns the tables.")
	}
	c.Database.MigrateURL = s.databaseURL(name)
}

// databaseURL never shows the value, nor pgx's error about it: in a URL that cannot be
// parsed any part may be the password.
func (s *settings) databaseURL(name string) Secret {
	v := s.text(name)
	if v == "" {
		return ""
	}
	if scheme, _, ok := strings.Cut(v, "://"); ok && scheme != "postgres" && scheme != "postgresql" {
		s.wrong(name, "does not start with postgres://", "Give a URL such as "+databaseExample+".")
		return ""
	}
	if _, err := pgxpool.ParseConfig(v); err != nil {
		s.wrong(name, "cannot be read (it is not shown, because it may hold a password)",
			"Give a URL such as "+databaseExample+"; write @ : / ? # % in the password percent-encoded; check the port, sslmode and the files that it names.")
		return ""
	}
	return Secret(v)
}

// NeedListen reads where the service listens and where people reach it.
func NeedListen(s *settings, c *Config) {
	host := strings.Trim(s.textOr("LISTEN_ADDR", "127.0.0.1"), "[]")
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, ":/ ") {
		s.wrong("LISTEN_ADDR", "is "+shown(host), "Give an address without a port, such as 127.0.0.1 or 0.0.0.0; the port is PORT.")
	}
	// Port 0 lets the system choose one; tests use it.
	port := s.integer("PORT", 8000, 0, 65535)
	c.Listen.Addr = net.JoinHostPort(host, strconv.Itoa(port))
	if u := s.webURL("PUBLIC_URL"); u != nil {
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
		c.Listen.PublicURL = u
	}
}

func needJobs(s *settings, c *Config) {
	// River takes at most 10,000 workers a queue.
	c.Jobs.WorkerCount = s.integer("WORKER_COUNT", 50, 1, 10_000)
	c.Jobs.MaxAttempts = s.integer("JOB_MAX_ATTEMPTS", 12, 1, 1000)
}

func needReconcile(s *settings, c *Config) {
	// A job checks once a minute which run is due, so less than that makes no difference.
	c.Reconcile.Interval = s.duration("RECONCILE_INTERVAL", 2*time.Minute, time.Second, 24*time.Hour)
	c.Reconcile.FullInterval = s.duration("RECONCILE_FULL_INTERVAL", time.Hour, time.Second, 7*24*time.Hour)
	c.Reconcile.Overlap = s.duration("RECONCILE_OVERLAP", 2*time.Minute, time.Second, 24*time.Hour)
}

func needForecast(s *settings, c *Config) {
	c.Forecast.Currency = strings.ToUpper(s.textOr("FORECAST_CURRENCY", "THB"))
	if !isCurrency(c.Forecast.Currency) {
		s.wrong("FORECAST_CURRENCY", "is "+shown(c.Forecast.Currency), "Give the three letters of a currency (ISO 4217), such as THB or EUR.")
	}
	// Strapi's own default is en, too.
	c.Forecast.Locale = s.textOr("FORECAST_LOCALE", "en")
	c.Forecast.HorizonMonths = s.integer("FORECAST_HORIZON_MONTHS", 12, 1, 120)

	c.Forecast.SwingPercent = s.integer("FORECAST_SWING_PERCENT", 25, 0, 1000)

	zone := s.textOr("FORECAST_TIMEZONE", "UTC")
	c.Forecast.Location = time.UTC
	// "Local" is whatever the machine happens to be set to, and may differ between replicas.
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		s.wrong("FORECAST_TIMEZONE", "is "+shown(zone), "Give a name of the IANA time zone database, such as UTC or Asia/Bangkok.")
		return
	}
	c.Forecast.Location = location
}

func isCurrency(v string) bool {
	return len(v) == 3 && !strings.ContainsFunc(v, func(r rune) bool { return r < 'A' || r > 'Z' })
}

func needLog(s *settings, c *Config) {
	c.Log.Level = logLevels[s.choice("LOG_LEVEL", "info", "debug", "info", "warn", "error")]
	// Empty is: text on a terminal, else json.
	c.Log.Format = s.choice("LOG_FORMAT", "", "json", "text")
}

func needLifecycle(s *settings, c *Config) {
	timeout := s.duration("SHUTDOWN_TIMEOUT", 20*time.Second, time.Second, 10*time.Minute)
	c.Lifecycle.ShutdownTimeout = timeout
	// The other half is for what must still be answered and committed. A short
	// SHUTDOWN_TIMEOUT alone shortens the default.
	c.Lifecycle.ShutdownDelay = s.duration("SHUTDOWN_DELAY", min(5*time.Second, timeout/4), 0, timeout/2)
}

// eachSecretOnce refuses one secret for two purposes: whoever holds it for one
// would have the other, too. The problem has the names alone.
func (s *settings) eachSecretOnce() {
	for i, a := range s.secrets {
		same := func(b namedSecret) bool { return a.value == b.value }
		if j := slices.IndexFunc(s.secrets[:i], same); j >= 0 {
			s.sameSecret(s.secrets[j].setting, a.setting)
		}
	}
}

func (s *settings) sameSecret(first, second string) {
	if first == second {
		s.wrong(second, "holds the same value twice", "Give each entry its own value.")
		return
	}
	s.wrong(second, "has the same value as "+first, "Give each its own secret.")
}

// URL returns the address at which people reach this process, without a slash at
// its end: PUBLIC_URL, else where it listens.
func (l ListenConfig) URL() string {
	if l.PublicURL != nil {
		return l.PublicURL.String()
	}
	return "http://" + reachable(l.Addr)
}

// reachable returns an address to connect to for one to listen on: 0.0.0.0 and :: are
// every address of this machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
