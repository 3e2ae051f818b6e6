// Package fakestrapi is a Strapi 5 to develop and test against: its document
// service, its REST API and its webhooks, with the behaviour that was measured
// on Strapi 5.54.0 (order of events, shapes of payloads, what changes without
// an event, what is lost). It keeps its documents in memory and, when it is
// given a folder, on disk.
//
// A change goes: document service (documents.go) → store (store.go) → event,
// read again after the commit (events.go) → queue and POST (runner.go,
// deliver.go). Readers come in through rest.go. It has no media library: its routes
// are 404, and there are no events of files.
package fakestrapi

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Config is what the fake Strapi holds and how it behaves.
type Config struct {
	Types []Type
	// Prefix is api.rest.prefix. Default /api.
	Prefix string
	// Token is the API token that requests must carry as Bearer. Empty: none is needed.
	Token string
	// ReadToken is a token of the read-only kind: its writes get 403.
	ReadToken string
	// Forbidden lists plurals that the tokens may not use: 403.
	Forbidden []string
	Webhooks  []Webhook
	// WebhookTimeout is how long one POST may take. Default 10 s, as Strapi.
	WebhookTimeout time.Duration
	// WebhookTransport makes the POSTs; nil means one of its own.
	WebhookTransport http.RoundTripper
	// WebhookJitter delays each webhook by up to this long before it is sent,
	// as a network does, so that they overtake each other. Default none.
	WebhookJitter time.Duration
	// KeepDeliveries is how many deliveries Deliveries remembers. Default 1,000;
	// negative: all.
	KeepDeliveries int
	// Overtake is how often the entry.publish of a save that also publishes
	// goes out before its entry.create or entry.update, from 0 to 1. Zero means
	// the measured 11 of 60; negative means never.
	Overtake float64
	// MaxLimit is api.rest.maxLimit: longer pages are cut silently. Default 100.
	MaxLimit int
	// DefaultPageSize is the page size that a request gets that names none. Default 25.
	DefaultPageSize int
	Latency         Latency
	// Dir is where the documents are kept as JSON files. Empty: memory only.
	Dir string
	// Now is the clock of the Date header and of every timestamp. Default time.Now.
	Now func() time.Time
	// Seed makes ids and chances repeatable. Zero: a random one.
	Seed   uint64
	Logger *slog.Logger
}

// Latency is how long a REST answer takes: Request, and Document for each
// document in it. A real Strapi took 7 ms for one and 18 ms for a hundred.
type Latency struct {
	Request, Document time.Duration
}

// The defaults of Config.
const (
	defaultMaxLimit       = 100
	defaultPageSize       = 25
	defaultTimeout        = 10 * time.Second
	defaultKeepDeliveries = 1000
	defaultOvertake       = 11.0 / 60
)

// Strapi is the fake. It is an http.Handler (the REST API) and has the
// document service as methods. All of it may be used concurrently.
type Strapi struct {
	// Webhooks is the webhook runner.
	Webhooks *Runner
	// Faults makes the REST API fail.
	Faults *Faults
	// Requests counts the requests to the REST API.
	Requests *Requests

	config  Config
	now     func() time.Time
	chance  *chance
	store   *store
	persist *persister // nil: memory only
	logger  *slog.Logger
	locale  string // of the document service; "": the default one. See In.
}

// New makes a fake Strapi, with the documents that Config.Dir holds. Its error
// names everything that is wrong with the configuration.
func New(c Config) (*Strapi, error) {
	if wrong := append(checkTypes(c.Types), checkWebhooks(c.Webhooks)...); len(wrong) > 0 {
		return nil, fmt.Errorf("configure the fake Strapi: %s", strings.Join(wrong, "; "))
	}
	c = c.withDefaults()
	s := &Strapi{
		config:   c,
		now:      func() time.Time { return c.Now().UTC().Truncate(time.Millisecond) },
		Faults:   newFaults(),
		Requests: newRequests(),
		store:    newStore(c.Types),
		logger:   c.Logger,
	}
	if c.Dir != "" {
		persist, err := openPersister(c.Dir, s.store, c.Logger)
		if err != nil {
			return nil, err
		}
		s.persist = persist
	}
	s.chance = newChance(c.Seed, s.store.issued())
	s.Webhooks = newRunner(c, s.chance)
	return s, nil
}

func (c Config) withDefaults() Config {
	c.MaxLimit = orDefault(c.MaxLimit, defaultMaxLimit)
	c.Prefix = cmp.Or(c.Prefix, "/api")
	c.DefaultPageSize = orDefault(c.DefaultPageSize, defaultPageSize)
	c.WebhookTimeout = orDefault(c.WebhookTimeout, defaultTimeout)
	c.KeepDeliveries = orDefault(c.KeepDeliveries, defaultKeepDeliveries)
	c.Overtake = orDefault(c.Overtake, defaultOvertake)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Close stops the webhook runner, whose queue is lost as in a real restart,
// and writes the documents that are not on disk yet. The document service and
// the REST API keep working, without webhooks.
func (s *Strapi) Close() error {
	s.Webhooks.close()
	if s.persist == nil {
		return nil
	}
	return s.persist.close()
}

// Types returns the content types, as configured.
func (s *Strapi) Types() []Type { return s.config.Types }
