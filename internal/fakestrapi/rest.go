package fakestrapi

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxBody bounds what a write may send.
const maxBody = 16 << 20

// ServeHTTP is Strapi's REST API: <prefix>/<plural> and <prefix>/<plural>/<documentId>.
func (s *Strapi) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := s.read(r)
	fault := s.Faults.match(q)
	s.Requests.count(q) // after the match: who sees the count knows that the fault has it
	a := s.answer(r, q, fault)
	w.Header().Set("Date", s.config.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("X-Powered-By", "Strapi <strapi.io>")
	a.write(w)
}

// request is what a request asks for.
type request struct {
	method     string
	plural     string
	documentID string // "" asks for the collection
	locale     string // "" is the default one
	route      bool   // the path has the shape of a REST route
	query      *node
	problem    *Error // why the query cannot be read
	// named are the documents that the request names in its path or its filters.
	named []string
}

func (s *Strapi) read(r *http.Request) request {
	q := request{method: r.Method}
	path := strings.TrimSuffix(r.URL.Path, "/")
	rest, isAPI := strings.CutPrefix(path, s.config.Prefix+"/")
	q.plural, q.documentID, _ = strings.Cut(rest, "/")
	q.route = isAPI && q.plural != "" && !strings.Contains(q.documentID, "/")
	q.query, q.problem = parseQuery(r.URL.RawQuery)
	if q.query != nil {
		q.locale, _ = q.query.get("locale").value()
	}
	if q.documentID != "" {
		q.named = []string{q.documentID}
	} else if q.query != nil {
		filter := q.query.get("filters").get("documentId")
		q.named = slices.Concat(filter.get("$in").items(), filter.get("$eq").items())
	}
	return q
}

// answer applies the fault, then does what Strapi does.
func (s *Strapi) answer(r *http.Request, q request, fault Fault) answer {
	if !fault.before(r.Context()) {
		return answer{abort: true}
	}
	if a, instead := fault.instead(); instead {
		return a
	}
	body, status, documents, err := s.serve(r, q, fault)
	if !sleep(r.Context(), s.config.Latency.Request+time.Duration(documents)*s.config.Latency.Document) {
		return answer{abort: true}
	}
	if err != nil {
		return s.failure(err)
	}
	return fault.after(answer{status: status, body: body})
}

// failure returns an error as Strapi writes it. An internal error has no details.
func (s *Strapi) failure(err error) answer {
	var e *Error
	if !errors.As(err, &e) {
		s.logger.Error("fake Strapi: a request failed", "error", err)
		e = internalError()
	}
	return e.answer()
}

// serve routes a request: an unknown route is 404 for everyone, then comes the
// token, then the document.
func (s *Strapi) serve(r *http.Request, q request, fault Fault) (body []byte, status, documents int, err error) {
	s = s.In(q.locale)
	t := s.routed(q)
	if t == nil {
		return nil, 0, 0, notFound()
	}
	if err := s.permit(r, q); err != nil {
		return nil, 0, 0, err
	}
	if q.problem != nil {
		return nil, 0, 0, q.problem
	}
	switch {
	case q.method == http.MethodGet && q.documentID == "":
		return s.getList(t, q, fault)
	case q.method == http.MethodGet:
		body, err = s.getOne(t, q, fault)
		return body, http.StatusOK, 1, err
	case q.method == http.MethodDelete:
		return nil, http.StatusNoContent, 1, s.delete(t, q)
	default:
		body, status, err = s.write(t, r, q)
		return body, status, 1, err
	}
}

// routed returns the type of a request's route, nil when there is no such route.
func (s *Strapi) routed(q request) *table {
	if !q.route {
		return nil
	}
	for _, t := range s.store.tables {
		if t.Plural == q.plural {
			return t
		}
	}
	return nil
}

func (s *Strapi) permit(r *http.Request, q request) error {
	if !allowed(q) {
		return methodNotAllowed()
	}
	reader := carries(r, s.config.ReadToken)
	if s.config.Token != "" && !reader && !carries(r, s.config.Token) {
		return unauthorized()
	}
	if slices.Contains(s.config.Forbidden, q.plural) || s.store.forbids(s.routed(q).UID) || reader && q.method != http.MethodGet {
		return forbidden()
	}
	return nil
}

func carries(r *http.Request, token string) bool {
	got, want := r.Header.Get("Authorization"), "Bearer "+token
	return token != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

func allowed(q request) bool {
	if q.documentID == "" {
		return q.method == http.MethodGet || q.method == http.MethodPost
	}
	return q.method == http.MethodGet || q.method == http.MethodPut || q.method == http.MethodDelete
}
