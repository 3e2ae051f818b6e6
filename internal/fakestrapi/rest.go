package fakestrapi

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds what a write may send.
const maxBody = 16 << 20

// ServeHTTP is Strapi's REST API: /api/<plural> and /api/<plural>/<documentId>.
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
	rest, isAPI := strings.CutPrefix(path, "/api/")
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

// action returns the permission that a token needs for the request.
func (q request) action() string {
	switch {
	case q.method == http.MethodGet && q.documentID == "":
		return "find"
	case q.method == http.MethodGet:
		return "findOne"
	}
	return map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodDelete: "delete"}[q.method]
}

// answer is what goes back.
type answer struct {
	status int
	body   []byte
	header http.Header
	abort  bool // close the connection, in the middle of the body if there is one
	cut    int  // with abort: how much of the body goes out
}

func (a answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.abort && a.body == nil {
		panic(http.ErrAbortHandler)
	}
	if a.body != nil && w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	if a.body != nil {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if a.abort {
		_, _ = w.Write(a.body[:a.cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body) // the client is gone: nothing to do
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

func (e *Error) answer() answer {
	if e.Name == "" { // the router's own, which is no JSON
		return answer{status: e.Status, body: []byte(e.Message), header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}}
	}
	var b bytes.Buffer
	b.WriteString(`{"data":null,"error":{"status":` + strconv.Itoa(e.Status))
	writeKey(&b, "name")
	b.Write(encodeString(e.Name))
	writeKey(&b, "message")
	b.Write(encodeString(e.Message))
	if e.Status < http.StatusInternalServerError {
		details, err := encode(e.Details)
		if err != nil || e.Details == nil {
			details = []byte("{}")
		}
		writeKey(&b, "details")
		b.Write(details)
	}
	b.WriteString("}}")
	return answer{status: e.Status, body: b.Bytes()}
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
	if slices.Contains(s.config.Forbidden, q.plural) || reader && q.method != http.MethodGet {
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

// version reads status. Anything but published is draft. Types without drafts
// ignore it.
func (t *table) version(q request) slot {
	status, given := q.query.get("status").value()
	if !t.Drafts || !given || status == "published" {
		return published
	}
	return draft
}

// selection reads fields and populate.
func (t *table) selection(n *node) (selection, error) {
	fields, problem := t.parseFields(n.get("fields"))
	if problem != nil {
		return selection{}, problem
	}
	sel := selection{fields: fields}
	sel.populate, problem = t.parsePopulate(n.get("populate"))
	if problem != nil {
		return selection{}, problem
	}
	return sel, nil
}

func (t *table) parseFields(n *node) ([]string, *Error) {
	names := n.names()
	if slices.Contains(names, "*") {
		return nil, nil
	}
	for _, name := range names {
		if _, known := t.kind(name); !known {
			return nil, invalidKey("fields", name, "")
		}
	}
	return names, nil
}

// parsePopulate reads populate=*, populate=a,b, populate[0]=a and
// populate[a][fields][0]=b, deeper ones too.
func (t *table) parsePopulate(n *node) (map[string]selection, *Error) {
	populate := map[string]selection{}
	if n == nil {
		return populate, nil
	}
	if n.isList() || len(n.keys) == 0 {
		return t.populateNames(n.names())
	}
	for _, name := range n.keys {
		relation, known := t.relation(name)
		if !known {
			return nil, invalidKey("populate", name, "")
		}
		if v, given := n.children[name].value(); given && v == "false" {
			continue
		}
		sel, err := t.store.tables[relation.Target].selection(n.children[name])
		if err != nil {
			return nil, inPopulate(err)
		}
		populate[name] = sel
	}
	return populate, nil
}

// inPopulate returns the error about a selection inside populate: to Strapi its
// parameter is populate.
func inPopulate(err error) *Error {
	var problem *Error
	if !errors.As(err, &problem) {
		return internalError()
	}
	if details, ok := problem.Details.(keyDetails); ok {
		details.Param = "populate"
		problem.Details = details
	}
	return problem
}

func (t *table) populateNames(names []string) (map[string]selection, *Error) {
	populate := map[string]selection{}
	for _, name := range names {
		if name == "*" || name == "true" {
			return t.allRelations().populate, nil
		}
		if _, known := t.relation(name); !known {
			return nil, invalidKey("populate", name, name)
		}
		populate[name] = selection{}
	}
	return populate, nil
}
