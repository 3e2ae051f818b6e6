package mirror

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/strapi"
)

// localized is a Strapi whose deals have locales, which the simulated one has
// not: as its documentation says, a request that names no locale is answered in
// the default one, and no request is answered in all of them.
type localized struct {
	mu    sync.Mutex
	names map[string]map[string]string // documentId → locale → name
}

const defaultLocale = "en"

func (l *localized) edit(change func(names map[string]map[string]string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l.names)
}

func (l *localized) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	query := r.URL.Query()
	locale := query.Get("locale")
	if locale == "" {
		locale = defaultLocale
	}
	if id := r.PathValue("id"); id != "" {
		name, ok := l.names[id][locale]
		if !ok {
			l.answer(w, http.StatusNotFound, map[string]any{
				"data": nil, "error": map[string]any{"status": 404, "name": "NotFoundError", "message": "Not Found", "details": map[string]any{}},
			})
			return
		}
		l.answer(w, http.StatusOK, map[string]any{"data": entry(id, locale, name), "meta": map[string]any{}})
		return
	}
	var ids []string
	for id, names := range l.names {
		if _, ok := names[locale]; ok && id > query.Get("filters[documentId][$gt]") && r.PathValue("plural") == "pipeline-deals" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	size, _ := strconv.Atoi(query.Get("pagination[pageSize]"))
	page := []any{}
	for _, id := range ids[:min(size, len(ids))] {
		page = append(page, entry(id, locale, l.names[id][locale]))
	}
	l.answer(w, http.StatusOK, map[string]any{
		"data": page, "meta": map[string]any{"pagination": map[string]any{"page": 1, "pageSize": size, "total": len(ids)}},
	})
}

func (*localized) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func entry(id, locale, name string) map[string]any {
	const at = "2026-11-24T08:00:00.000Z"
	return map[string]any{
		"id": 1, "documentId": id, "locale": locale, "name": name, "billings": []any{},
		"createdAt": at, "updatedAt": at, "publishedAt": at,
	}
}

// A document has a row for each locale that a webhook or a sweep told of. A sweep
// is of the default locale and leaves the rows of other locales alone.
func TestLocales(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	l := &localized{names: map[string]map[string]string{
		"both": {"en": "deal", "fr": "affaire"}, "french": {"fr": "affaire"}, "plain": {"en": "deal"},
	}}
	mux := http.NewServeMux()
	mux.Handle("GET /api/{plural}", l)
	mux.Handle("GET /api/{plural}/{id}", l)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	var err error
	h.sync.source.client, err = strapi.New(strapi.Config{BaseURL: server.URL, Token: "read-only-token", Timeout: time.Minute})
	require.NoError(t, err)
	key := func(id, locale string) Key { return Key{fakestrapi.DealUID, id, locale} }
	live := func() string {
		return one[string](h, "SELECT string_agg(document_id || '/' || locale || ' ' || name, ', ' ORDER BY document_id, locale) FROM deal WHERE deleted_at IS NULL")
	}

	// Webhooks name the locale.
	require.NoError(t, h.look(key("both", "fr")))
	require.NoError(t, h.look(key("french", "fr")))
	require.Equal(t, "both/fr affaire, french/fr affaire", live())

	// A sweep finds those of the default locale, and no ghost.
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, [2]int64{2, 0}, [2]int64{run.Missing, run.Ghosts})
	h.drain()
	require.Equal(t, "both/en deal, both/fr affaire, french/fr affaire, plain/en deal", live())
	h.requireInStep()

	// One locale is deleted: the others of the document stay.
	l.edit(func(names map[string]map[string]string) { delete(names["both"], "fr") })
	require.NoError(t, h.look(key("both", "fr")))
	require.Equal(t, "both/en deal, french/fr affaire, plain/en deal", live())

	// The default one is deleted without a webhook: the sweep finds it, and it alone.
	l.edit(func(names map[string]map[string]string) {
		names["both"]["fr"] = "de nouveau"
		delete(names["both"], "en")
	})
	require.NoError(t, h.look(key("both", "fr")))
	run = h.sweep(Request{Extent: Full})
	require.Equal(t, [2]int64{0, 1}, [2]int64{run.Missing, run.Ghosts})
	h.drain()
	require.Equal(t, "both/fr de nouveau, french/fr affaire, plain/en deal", live())
	h.requireInStep()
}
