package mirror

import (
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/circuit"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest/strapitest"
)

// Strapi copies what the locales of a document share to all of them and sends one
// webhook. A change in one is followed by a refresh of the others, and that ends.
func TestLocales_Shared(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Localized(false))
	deal := h.Deal(fakestrapi.Values{"name": "deal", "owner": "ada"})
	en := Key{deal.UID, deal.DocumentID, "en"}
	fr := h.Translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	require.NoError(t, h.refresh(en))
	require.Empty(t, h.laterJobs(), "one locale has no others")
	require.NoError(t, h.refresh(fr))
	require.Equal(t, []LocalesArgs{LocalesArgs(fr)}, h.laterJobs())
	h.workLater(fr)
	h.drain()
	require.Equal(t, []LocalesArgs{LocalesArgs(fr)}, h.laterJobs(), "a sync that changes nothing inserts no job")

	_, err := h.Fake.Update(deal.UID, deal.DocumentID, fakestrapi.Values{"owner": "bo"})
	require.NoError(t, err)
	require.NoError(t, h.refresh(en))
	owner := func() string {
		return h.MustText("SELECT string_agg(locale || ' ' || owner, ', ' ORDER BY locale) FROM deal")
	}
	require.Equal(t, "en bo, fr ada", owner())
	require.Equal(t, []LocalesArgs{LocalesArgs(fr), LocalesArgs(en)}, h.laterJobs())
	require.Equal(t, "scheduled", h.MustText("SELECT max(state::text) FROM river.river_job WHERE kind = 'mirror_locales'"))
	h.workLater(en)
	h.drain()
	require.Equal(t, "en bo, fr bo", owner())
	require.Equal(t, []LocalesArgs{LocalesArgs(fr), LocalesArgs(en), LocalesArgs(fr)}, h.laterJobs())
	h.workLater(fr)
	h.drain()
	require.Len(t, h.laterJobs(), 3, "it ends")
}

func (h *env) laterJobs() (all []LocalesArgs) {
	h.T.Helper()
	rows, err := h.Pool.Query(h.T.Context(), "SELECT args FROM river.river_job WHERE kind = 'mirror_locales' ORDER BY id")
	require.NoError(h.T, err)
	all, err = pgx.CollectRows(rows, pgx.RowTo[LocalesArgs])
	require.NoError(h.T, err)
	return all
}

func (h *env) workLater(changed Key) {
	h.T.Helper()
	require.NoError(h.T, NewLocalesWorker(h.sync).Work(h.T.Context(), &river.Job[LocalesArgs]{Args: LocalesArgs(changed)}))
}

// A deal in one locale lists the billings of that locale, so their links are
// compared within it.
func TestLocales_SilentRelations(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Localized(false))
	deal := h.Deal(fakestrapi.Values{"name": "deal"})
	fr := h.Translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	b := h.Billing(deal)
	bFR := h.Translate(b, "fr", fakestrapi.Values{"amount": json.Number("5"), "deal": deal.DocumentID})
	for _, locale := range []string{"en", "fr"} {
		require.NoError(t, h.refresh(Key{deal.UID, deal.DocumentID, locale}))
		require.NoError(t, h.refresh(Key{b.UID, b.DocumentID, locale}))
	}
	h.drain()
	links := func() string {
		return h.MustText("SELECT string_agg(locale || ' ' || (deal_document_id IS NOT NULL), ', ' ORDER BY locale) FROM billing")
	}
	require.Equal(t, "en true, fr true", links())
	for _, step := range []struct {
		targets []string
		want    string
	}{{nil, "en true, fr false"}, {[]string{b.DocumentID}, "en true, fr true"}} {
		_, err := h.Fake.In("fr").SetRelation(fr.UID, fr.DocumentID, "billings", step.targets...)
		require.NoError(t, err)
		require.NoError(t, h.refresh(fr))
		require.Greater(t, h.Entity(bFR).Want, h.Entity(bFR).Done)
		require.Equal(t, h.Entity(Key{b.UID, b.DocumentID, "en"}).Want, h.Entity(Key{b.UID, b.DocumentID, "en"}).Done)
		h.drain()
		require.Equal(t, step.want, links())
	}

	// The webhook of a billing is late: its deal lists it, in which locale, too.
	entry, err := h.Fake.In("fr").Create(b.UID, fakestrapi.Values{"amount": json.Number("7"), "deal": deal.DocumentID})
	require.NoError(t, err)
	require.NoError(t, h.refresh(fr))
	h.drain()
	require.Equal(t, "fr", h.MustText("SELECT locale FROM billing WHERE document_id = $1 AND deleted_at IS NULL", entry.DocumentID))
}

// A type is empty when it has no document in any locale.
func TestLocales_TypeIsEmptyWithoutADocumentInAnyLocale(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Localized(true))
	entry, err := h.Fake.In("fr").CreateDraft(fakestrapi.DealUID, fakestrapi.Values{"name": "brouillon"})
	require.NoError(t, err)
	empty := func() bool {
		is, err := h.sync.source.isEmpty(t.Context(), strapitest.Types[0], circuit.Snapshot{State: circuit.Closed})
		require.NoError(t, err)
		return is
	}
	require.False(t, empty())
	require.NoError(t, h.Fake.In("fr").Delete(fakestrapi.DealUID, entry.DocumentID))
	require.True(t, empty())
}
