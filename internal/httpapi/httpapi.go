// Package httpapi serves the webhook that Strapi calls, the JSON that dashboards and
// the frontend read, health and metrics for monitors, and the page at /. Each
// handler parses, calls a stage, and renders. Its only state are counters in memory:
// refused signatures and how long webhooks took.
package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/health"
	"dealbox/internal/inbox"
	"dealbox/internal/mirror"
	"dealbox/internal/reconcile"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

const (
	// maxHeaders is the most header bytes that a webhook may carry. Strapi
	// sends less than 1 kB; the rest is room for proxies.
	maxHeaders = 16 << 10
	// retryAfter is what a 503 advises, in seconds.
	retryAfter = 5
)

// Config holds the settings of the API.
type Config struct {
	// Version is shown in the health answers.
	Version string
	// Access is who may read and who may operate.
	Access Access
	// CORSOrigins are the exact origins (scheme://host[:port]) whose pages may read answers.
	CORSOrigins []string
	// TrustedProxies may name the client in X-Forwarded-For. It only matters for logs.
	TrustedProxies []netip.Prefix
	// BodyTimeout is how long a request may take to send its body (default 9 s: Strapi
	// gives up after 10 s).
	BodyTimeout time.Duration
	// MaxBody is the largest webhook body that is stored, in bytes (default 1 MiB). A larger
	// one, up to 16 MiB, is verified and its document refreshed.
	MaxBody int
	// BodyBudget bounds the bytes of large bodies that all deliveries hold together
	// (default 64 MiB). Beyond it a large one is answered 503.
	BodyBudget int64
	// CommitTimeout is how long a webhook waits for its commit before it is
	// answered 503 (default 7 s). Strapi gives up after 10 s.
	CommitTimeout time.Duration
	// ProbeTimeout bounds what a health answer asks the database (default
	// health.ProbeTimeout).
	ProbeTimeout time.Duration
	// ReconcileInterval is how often a reconciliation is due. Health is degraded when
	// one is overdue (0: health does not check it).
	ReconcileInterval time.Duration
	// HealthOnly leaves health, readiness and metrics: a process with role worker takes no
	// webhooks and shows no data.
	HealthOnly bool
	// Channels are those to which alerts are sent (nil: health does not say).
	Channels []string
	// WebhookURL is what has to be entered in Strapi; health names it until a webhook came.
	WebhookURL string
	// Logger gets one line a request (default: none).
	Logger *slog.Logger
}

// Stages are the parts of Dealbox that the routes call.
type Stages struct {
	// DB serves the reads and the health checks; ingest has connections of its own.
	DB *pgxpool.Pool
	// Verifier checks whether a delivery is authentic.
	Verifier *webhooksig.Verifier
	// Receive commits a delivery: (*inbox.Receiver).Receive. Any error means
	// that nothing was committed.
	Receive func(context.Context, inbox.Delivery) (inbox.Receipt, error)
	// Commits follows what Receive returns; /readyz and health ask it.
	Commits *health.Commits
	// Alerts acknowledges, resolves and silences.
	Alerts *alerting.Alerts
	// Breaker is Strapi's, for the health answers.
	Breaker *circuit.Breaker
	// Forecast reads and recomputes the forecast.
	Forecast *revenue.Forecast
	// Reconcile requests a reconciliation in a transaction: (*reconcile.Queue).Request.
	Reconcile func(context.Context, pgx.Tx, reconcile.Request) (int64, error)
	// Refresh requests refreshes of documents that are named, in a transaction:
	// (*mirror.Queue).EnqueueNamed.
	Refresh func(ctx context.Context, tx pgx.Tx, uids, documentIDs []string) (map[mirror.Key]int64, error)
	// Types are the content types that may be named in a request.
	Types []strapi.ContentType
	// Replays requests a refresh of the documents of stored events.
	Replays *inbox.Replayer
	// Groups is how many transactions committed deliveries, and how many deliveries
	// those were: (*inbox.Receiver).Groups. Nil: /metrics does not have them.
	Groups func() (groups, deliveries int64)
	// Readiness knows whether the process starts or stops.
	Readiness *health.Readiness
}

// API answers every HTTP request. Make it with New.
type API struct {
	config  Config
	stages  Stages
	access  authority
	origins map[string]bool
	csrf    *http.CrossOriginProtection
	assets  map[string]asset
	// documents are the pages of docs/, by file name.
	documents map[string]asset
	logger    *slog.Logger
	metrics   *metrics
	// signatures counts what the webhook accepted and refused.
	signatures signatures
	// bodies is what the deliveries that are under way hold.
	bodies budget
	// refusals counts refused requests that have no line of their own in the log.
	refusals refusals
	health   cached[measurement]
	ready    cached[error]
	handler  http.Handler
}

// New checks the settings and builds the routes. It opens nothing.
func New(config Config, stages Stages) (*API, error) {
	a := &API{
		config: config, stages: stages,
		access:  newAuthority(config.Access),
		origins: map[string]bool{},
		csrf:    http.NewCrossOriginProtection(),
		logger:  cmp.Or(config.Logger, slog.New(slog.DiscardHandler)),
	}
	a.config.BodyTimeout = cmp.Or(config.BodyTimeout, 9*time.Second)
	a.refusals = refusals{logger: a.logger, counts: map[string]*refusedCount{}}
	a.config.MaxBody = cmp.Or(config.MaxBody, maxStored)
	a.bodies.limit = cmp.Or(config.BodyBudget, bodyBudget)
	a.config.CommitTimeout = cmp.Or(config.CommitTimeout, 7*time.Second)
	a.config.ProbeTimeout = cmp.Or(config.ProbeTimeout, health.ProbeTimeout)
	for _, origin := range config.CORSOrigins {
		if err := a.csrf.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("CORS origin %q: %w", origin, err)
		}
		a.origins[origin] = true
	}
	if err := stages.check(); err != nil {
		return nil, err
	}
	var err error
	if a.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if a.documents, err = loadDocuments(); err != nil {
		return nil, err
	}
	a.stages.Receive = a.noted(stages.Receive)
	a.metrics = newMetrics(config.Version, stages)
	a.handler = a.observe(a.cors(a.Routes()))
	return a, nil
}

func (s Stages) check() error {
	missing := map[string]bool{
		"DB": s.DB == nil, "Verifier": s.Verifier == nil, "Receive": s.Receive == nil, "Commits": s.Commits == nil,
		"Breaker": s.Breaker == nil, "Forecast": s.Forecast == nil, "Readiness": s.Readiness == nil,
		"Reconcile": s.Reconcile == nil, "Refresh": s.Refresh == nil, "Replays": s.Replays == nil, "Alerts": s.Alerts == nil,
	}
	for name, isNil := range missing {
		if isNil {
			return fmt.Errorf("make the HTTP API: Stages.%s is missing", name)
		}
	}
	return nil
}

// noted returns receive with each outcome noted.
func (a *API) noted(receive func(context.Context, inbox.Delivery) (inbox.Receipt, error)) func(context.Context, inbox.Delivery) (inbox.Receipt, error) {
	return func(ctx context.Context, d inbox.Delivery) (inbox.Receipt, error) {
		receipt, err := receive(ctx, d)
		a.stages.Commits.Note(err)
		return receipt, err
	}
}

// Handler is the whole surface: the routes behind logging, panics and CORS.
func (a *API) Handler() http.Handler { return a.handler }

// Server is an http.Server for Handler with limits on slow and idle clients.
func (a *API) Server() *http.Server {
	return &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    2 * maxHeaders,
		ErrorLog:          slog.NewLogLogger(a.logger.Handler(), slog.LevelDebug),
	}
}
