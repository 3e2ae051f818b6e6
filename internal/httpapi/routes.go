package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"dealbox/internal/text"
)

var (
	get  = []string{http.MethodGet, http.MethodHead}
	post = []string{http.MethodPost}
	del  = []string{http.MethodDelete}
)

const webhookPath = "/api/v1/webhooks/strapi"

// Routes is the whole surface. Each route names who may call it: anybody, a
// reader, an insider or an operator. The webhook is open to anybody whose delivery
// is signed. A worker has the first ones alone.
func (a *API) Routes() http.Handler {
	r := mux.NewRouter().SkipClean(true)
	// Methods changes its argument, which two routers would share.
	handle := func(methods []string, path string, may guard, h handler) {
		r.Handle(path, a.serve(may, h)).Methods(slices.Clone(methods)...)
	}
	// route takes the query parameters that there are; any other is refused.
	route := func(methods []string, path string, may guard, h handler, params ...string) {
		handle(methods, path, may, only(params, h))
	}

	route(get, "/metrics", a.insider, a.showMetrics)
	route(get, "/api/v1/health/detailed", a.reader, a.showDetailedHealth)
	// A probe must not fail for its query.
	handle(get, "/healthz", a.anybody, a.showAlive)
	handle(get, "/readyz", a.anybody, a.showReady)
	handle(get, "/api/v1/health", a.anybody, a.showHealth)
	r.NotFoundHandler = a.serve(a.anybody, notFound)
	r.MethodNotAllowedHandler = a.serve(a.anybody, methodNotAllowed(r))
	if a.config.HealthOnly {
		r.NotFoundHandler = a.serve(a.anybody, notOfWorker)
		return r
	}

	// A delivery is not refused for a query that somebody put behind the URL in Strapi.
	handle(post, webhookPath, a.anybody, a.signed(a.receiveWebhook))

	route(get, "/api/v1/alerts", a.reader, a.listAlerts, "level", "min_level", "status", "rule", "since", "until", "limit", "cursor")
	route(get, "/api/v1/alerts/summary", a.reader, a.summarizeAlerts, "since", "until")
	route(get, "/api/v1/alerts/{id}", a.reader, a.showAlert)
	route(post, "/api/v1/alerts/{id}/acknowledge", a.operator, a.acknowledgeAlert)
	route(post, "/api/v1/alerts/{id}/resolve", a.operator, a.resolveAlert)
	route(get, "/api/v1/silences", a.reader, a.listSilences)
	route(post, "/api/v1/silences", a.operator, a.addSilence)
	route(del, "/api/v1/silences/{id}", a.operator, a.endSilence)
	route(get, "/api/v1/models/forecast/base", a.reader, a.showForecast, "start_month", "end_month", "currency")
	route(post, "/api/v1/models/forecast/run", a.operator, a.runForecast)
	route(post, "/api/v1/models/ingest/strapi-sync", a.operator, a.runSync)

	route(get, "/api/v1/events", a.insider, a.listEvents, "status", "event", "entity", "document_id", "since", "until", "limit", "cursor")
	route(post, "/api/v1/events/replay", a.operator, a.replayEvents)
	route(get, "/api/v1/events/{id}", a.insider, a.showEvent)
	route(post, "/api/v1/events/{id}/replay", a.operator, a.replayEvent)

	// Nor is a page for what a mail program adds to a link.
	handle(get, "/", a.reader, a.showDashboard)
	handle(get, "/assets/{name}", a.reader, a.showAsset)
	handle(get, "/docs/{name}", a.anybody, a.showDocument)
	return r
}

// only refuses a request with a query parameter that the route does not have: it would
// be answered as if it were not there. "_" is what browsers add to pass a cache.
func only(params []string, h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
			if name != "_" && !slices.Contains(params, name) {
				return unknownParameter(text.Line(name, maxShownText), params)
			}
		}
		return h(w, r)
	}
}

func unknownParameter(name string, params []string) error {
	if len(params) == 0 {
		return invalidParameter(name, "there is no such parameter here; there is none")
	}
	return invalidParameter(name, "there is no such parameter; there are "+strings.Join(params, ", "))
}

// handler does one route's work: parse, call, render. serve renders and logs the
// error that it returns.
type handler func(w http.ResponseWriter, r *http.Request) error

// guard returns an error for a request that the route is not meant for.
type guard func(w http.ResponseWriter, r *http.Request) error

func (a *API) serve(may guard, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := may(w, r)
		if err == nil {
			err = h(w, r)
		}
		if err != nil {
			a.fail(w, err)
		}
	})
}

// methodNotAllowed lists the methods that the path has in the header Allow.
func methodNotAllowed(r *mux.Router) handler {
	return func(w http.ResponseWriter, req *http.Request) error {
		var allowed []string
		for _, method := range slices.Concat(get, post, del) {
			try := *req
			try.Method = method
			var match mux.RouteMatch
			if r.Match(&try, &match) && match.MatchErr == nil {
				allowed = append(allowed, method)
			}
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return &Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "this path does not have that method"}
	}
}
