package simulation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/inbox"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/reconcile"
	"dealbox/internal/retry"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
)

// contentTypes fit fakestrapi.PipelineTypes(drafts, true).
var contentTypes = []strapi.ContentType{
	{Kind: strapi.Deal, UID: fakestrapi.DealUID, Plural: "pipeline-deals", Fields: map[string]string{"status": "deal_status", "billings": "billings"}},
	{Kind: strapi.Billing, UID: fakestrapi.BillingUID, Plural: "billings", Fields: map[string]string{"status": "billing_status", "deal": "deal"}},
}

const (
	replicas     = 2
	receiverName = "receiver"
	// maxAttempts is small, so that documents die in a short history, too.
	maxAttempts = 4
	// failureThreshold of the breaker, small for the same reason.
	failureThreshold = 3
	// swingPercent of the forecast: few documents change it rarely by much.
	swingPercent = 1
)

// env is Dealbox with its Strapi: the workers, doors and breaker of
// production, twice, over one database.
type env struct {
	*scheduler

	gate     *gate
	fake     *fakestrapi.Strapi
	replicas []replica
	// sent are the webhooks that Strapi sent and that did not arrive yet.
	sent [][]byte
	// outage: every request fails. poisoned documents are answered with this status,
	// 500 or 404, while the lists have them.
	outage   bool
	poisoned map[string]int
	// asked says when Strapi was last asked for a document, in commits.
	asked  map[string]int
	names  names
	mutant *mutant
}

// replica is one process.
type replica struct {
	queue     *mirror.Queue
	runs      *reconcile.Queue
	receiver  *inbox.Receiver
	sync      *mirror.SyncWorker
	reconcile *reconcile.Worker
	forecast  *revenue.Forecast
	recompute *revenue.RecomputeWorker
	breaker   *circuit.Breaker
}

func newEnv(s *scheduler, g *gate, jobs inserter, drafts bool, seed uint64, m *mutant) (*env, error) {
	h := &env{scheduler: s, gate: g, poisoned: map[string]int{}, asked: map[string]int{}, mutant: m}
	var err error
	h.fake, err = fakestrapi.New(fakestrapi.Config{
		Types: fakestrapi.PipelineTypes(drafts, true), Token: "read-only-token", Seed: seed + 1,
		Webhooks: []fakestrapi.Webhook{{URL: "http://dealbox/webhooks"}}, WebhookTransport: roundTrip(h.webhook), KeepDeliveries: 1,
	})
	if err != nil {
		return nil, err
	}
	for range replicas {
		r, err := h.newReplica(jobs, m)
		if err != nil {
			return nil, err
		}
		h.replicas = append(h.replicas, r)
	}
	return h, nil
}

func (h *env) newReplica(jobs inserter, m *mutant) (r replica, err error) {
	client, err := strapi.New(strapi.Config{BaseURL: "http://strapi", Token: "read-only-token", Transport: roundTrip(h.request)})
	if err != nil {
		return r, err
	}
	logger := slog.New(slog.DiscardHandler)
	alerts := alerting.New(alerting.Config{}, notify.New(notify.Config{}, nil))
	// A source of its own: the jitter must not depend on who runs first.
	jitter := rand.New(rand.NewPCG(1, uint64(len(h.replicas))))
	number := len(h.replicas) + 1
	gate := &gate{
		scheduler: h.scheduler, db: h.gate.db, mutant: m,
		receiver: fmt.Sprintf("%s %d", receiverName, number), slot: int16(number),
	}
	r.breaker = circuit.New(gate, circuit.Config{FailureThreshold: failureThreshold, Logger: logger, Holder: fmt.Sprint(len(h.replicas))})
	r.queue, r.runs = mirror.NewQueue(jobs), reconcile.NewQueue(jobs)
	r.forecast = revenue.New(revenue.Config{Currency: "THB", Alerts: alerts, SwingPercent: swingPercent}, jobs)
	r.recompute = revenue.NewRecomputeWorker(r.forecast, gate, logger)
	source := mirror.NewSource(gate, client, r.breaker, retry.Policy{MaxRetries: 1}, contentTypes)
	r.sync = mirror.NewSyncWorker(gate, r.queue, source, r.forecast, alerts, mirror.Config{
		Types: contentTypes, MaxAttempts: maxAttempts, Logger: logger, Random: jitter.Float64,
	})
	r.reconcile = reconcile.NewWorker(gate, r.runs, r.queue, source, alerts, reconcile.Config{
		Types: contentTypes, PageSize: 2, Random: jitter.Float64,
		Requeue: []func(context.Context, pgx.Tx) error{r.queue.RequeueOrphans, r.forecast.RequeueOrphans},
	})
	r.receiver = inbox.NewReceiver(gate, r.queue, r.runs, alerts, inbox.Config{Types: contentTypes, Writers: 1})
	return r, nil
}

// roundTrip is a transport in the process.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// webhook takes what Strapi sends: when it arrives is the history's to decide.
func (h *env) webhook(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.sent = append(h.sent, body)
	h.mu.Unlock()
	return answer(http.StatusAccepted, ""), nil
}

// request is one of the workers' to Strapi. It stops before Strapi sees it and
// while the answer is under way.
func (h *env) request(r *http.Request) (*http.Response, error) {
	where := strings.TrimPrefix(r.URL.Path, "/api/")
	if r.URL.Query().Get("status") == "draft" {
		where += " (draft)"
	}
	h.mu.Lock()
	h.asked[path.Base(r.URL.Path)] = h.commits
	h.mu.Unlock()
	v := h.stop(r.Context(), &stop{where: "GET " + where, point: requestPoint})
	if r.Context().Err() != nil {
		h.noteList(r, true)
		return nil, r.Context().Err()
	}
	response, err := h.respond(r, v)
	h.noteList(r, v != proceed && v != refuse || h.outage)
	h.stop(r.Context(), &stop{where: "answer of " + where, point: answerPoint})
	if r.Context().Err() != nil {
		h.noteList(r, true)
		return nil, r.Context().Err()
	}
	return response, err
}

func (h *env) respond(r *http.Request, v signal) (*http.Response, error) {
	_, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	switch {
	case v == fail:
		return nil, errors.New("the simulation cut the connection to Strapi")
	case v == breakDown || h.outage:
		return answer(http.StatusServiceUnavailable, "no backend"), nil
	case v == refuse:
		return answer(http.StatusUnauthorized, `{"data":null,"error":{"status":401,"name":"UnauthorizedError","message":"Missing or invalid credentials"}}`), nil
	case v == garble:
		return answer(http.StatusOK, "<html>Bad gateway</html>"), nil
	case h.poisoned[id] == http.StatusNotFound:
		return notFound(), nil
	case h.poisoned[id] != 0:
		return answer(http.StatusInternalServerError, `{"data":null,"error":{"status":500,"name":"InternalServerError","message":"Internal Server Error"}}`), nil
	}
	if a := h.mutant.answerFor(r, id); a != nil {
		return a, nil
	}
	h.mutant.ask(r, id)
	w := httptest.NewRecorder()
	h.fake.ServeHTTP(w, r)
	return w.Result(), nil
}

func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

// arrived takes what Strapi has sent since, in an order that does not depend on
// Strapi's own concurrency.
func (h *env) arrived() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.sent
	h.sent = nil
	slices.SortFunc(all, bytes.Compare)
	return all
}

// work runs a job on a replica as River does.
func (r replica) work(ctx context.Context, j jobRow) error {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	switch args := j.Args.(type) {
	case mirror.SyncArgs:
		return r.sync.Work(ctx, riverJob(args))
	case reconcile.Args:
		return r.reconcile.Work(ctx, riverJob(args))
	case revenue.RecomputeArgs:
		return r.recompute.Recompute(ctx, complete(ctx, j.ID))
	}
	return fmt.Errorf("no worker for %T", j.Args)
}

// names gives documents short names: d1 is the first deal, b1 the first billing.
type names struct {
	pairs []string
	count map[string]int
}

func (n *names) add(letter, id string) string {
	if n.count == nil {
		n.count = map[string]int{}
	}
	n.count[letter]++
	name := fmt.Sprint(letter, n.count[letter])
	n.pairs = append(n.pairs, id, name)
	return name
}

// in replaces ids by names.
func (n *names) in(text string) string { return strings.NewReplacer(n.pairs...).Replace(text) }

func riverJob[A river.JobArgs](args A) *river.Job[A] { return &river.Job[A]{Args: args} }

const jobTimeout = 30 * time.Second
