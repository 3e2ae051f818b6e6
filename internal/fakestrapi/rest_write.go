package fakestrapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// write serves POST /api/<plural> and PUT /api/<plural>/<documentId>.
func (s *Strapi) write(t *table, r *http.Request, q request) ([]byte, int, error) {
	where := t.version(q)
	sel, err := t.selection(q.query)
	if err != nil {
		return nil, 0, err
	}
	values, err := readData(r.Body)
	if err != nil {
		return nil, 0, err
	}
	entry, status, err := s.writeDocument(t, q, values, where == published)
	if err != nil {
		return nil, 0, err
	}
	body, err := s.one(t, t.key(entry.DocumentID, s.locale), where, sel)
	return body, status, err
}

func (s *Strapi) writeDocument(t *table, q request, values Values, publish bool) (Entry, int, error) {
	if q.method == http.MethodPost {
		entry, err := s.create(t.UID, values, publish)
		return entry, http.StatusCreated, err
	}
	entry, err := s.update(t.UID, q.documentID, values, publish)
	return entry, http.StatusOK, err
}

// readData reads {"data":{…}}.
func readData(body io.Reader) (Values, error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxBody))
	if err != nil {
		return nil, rejected("the body cannot be read: %v", err)
	}
	var envelope struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(raw, &envelope); err != nil || envelope.Data == nil {
		return nil, rejected(`Missing "data" payload in the request body`)
	}
	values := Values{}
	for name, value := range envelope.Data {
		values[name] = value
	}
	return values, nil
}

// delete serves DELETE /api/<plural>/<documentId>: 204 also for a document
// that is not there, and 500 with status=draft.
func (s *Strapi) delete(t *table, q request) error {
	if t.version(q) == draft {
		return internalError()
	}
	if err := s.Delete(t.UID, q.documentID); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}
