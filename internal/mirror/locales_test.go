package mirror

import (
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/circuit"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/retry"
)

// localized gives deals and billings locales; all attributes but owner and
// currency have a value of their own in each. What a real Strapi does with them is
// in internal/realstrapi; the fake shows the same.
func localized(withDrafts bool) option {
	return func(c *fakestrapi.Config, _ *retry.Policy, _ *circuit.Config) {
		c.Types = fakestrapi.PipelineTypes(withDrafts, true)
		for i := range c.Types {
			c.Types[i].Localized = true
			c.Types[i].Shared = []string{"currency"}
		}
		c.Types[0].Shared = append(c.Types[0].Shared, "owner")
	}
}

// translate makes or changes a document in a locale.
func (h *env) translate(key Key, locale string, values fakestrapi.Values) Key {
	h.t.Helper()
	_, err := h.fake.In(locale).Update(key.UID, key.DocumentID, values)
	require.NoError(h.t, err)
	return Key{key.UID, key.DocumentID, locale}
}

// Strapi copies what the locales of a document share to all of them and sends one
// webhook. A change in one is followed by a refresh of the others, and that ends.
func TestLocales_Shared(t *testing.T) {
	t.Parallel()
	h := newEnv(t, localized(false))
	deal := h.deal(fakestrapi.Values{"name": "deal", "owner": "ada"})
	en := Key{deal.UID, deal.DocumentID, "en"}
	fr := h.translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	require.NoError(t, h.refresh(en))
	require.Empty(t, h.laterJobs(), "one locale has no others")
	require.NoError(t, h.refresh(fr))
	require.Equal(t, []LocalesArgs{LocalesArgs(fr)}, h.laterJobs())
	h.workLater(fr)
	h.drain()
	require.Equal(t, []LocalesArgs{LocalesArgs(fr)}, h.laterJobs(), "a sync that changes nothing inserts no job")

	_, err := h.fake.Update(deal.UID, deal.DocumentID, fakestrapi.Values{"owner": "bo"})
	require.NoError(t, err)
	require.NoError(t, h.refresh(en))
	owner := func() string {
		return one[string](h, "SELECT string_agg(locale || ' ' || owner, ', ' ORDER BY locale) FROM deal")
	}
	require.Equal(t, "en bo, fr ada", owner())
	require.Equal(t, []LocalesArgs{LocalesArgs(fr), LocalesArgs(en)}, h.laterJobs())
	require.Equal(t, "scheduled", one[string](h, "SELECT max(state::text) FROM river.river_job WHERE kind = 'mirror_locales'"))
	h.workLater(en)
	h.drain()
	require.Equal(t, "en bo, fr bo", owner())
	require.Equal(t, []LocalesArgs{LocalesArgs(fr), LocalesArgs(en), LocalesArgs(fr)}, h.laterJobs())
	h.workLater(fr)
	h.drain()
	require.Len(t, h.laterJobs(), 3, "it ends")
}

func (h *env) laterJobs() (all []LocalesArgs) {
	h.t.Helper()
	rows, err := h.pool.Query(h.t.Context(), "SELECT args FROM river.river_job WHERE kind = 'mirror_locales' ORDER BY id")
	require.NoError(h.t, err)
	all, err = pgx.CollectRows(rows, pgx.RowTo[LocalesArgs])
	require.NoError(h.t, err)
	return all
}

func (h *env) workLater(changed Key) {
	h.t.Helper()
	require.NoError(h.t, NewLocalesWorker(h.sync).Work(h.t.Context(), &river.Job[LocalesArgs]{Args: LocalesArgs(changed)}))
}

// A deal in one locale lists the billings of that locale, so their links are
// compared within it.
func TestLocales_SilentRelations(t *testing.T) {
	t.Parallel()
	h := newEnv(t, localized(false))
	deal := h.deal(fakestrapi.Values{"name": "deal"})
	fr := h.translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	b := h.billing(deal)
	bFR := h.translate(b, "fr", fakestrapi.Values{"amount": json.Number("5"), "deal": deal.DocumentID})
	for _, locale := range []string{"en", "fr"} {
		require.NoError(t, h.refresh(Key{deal.UID, deal.DocumentID, locale}))
		require.NoError(t, h.refresh(Key{b.UID, b.DocumentID, locale}))
	}
	h.drain()
	links := func() string {
		return one[string](h, "SELECT string_agg(locale || ' ' || (deal_document_id IS NOT NULL), ', ' ORDER BY locale) FROM billing")
	}
	require.Equal(t, "en true, fr true", links())
	for _, step := range []struct {
		targets []string
		want    string
	}{{nil, "en true, fr false"}, {[]string{b.DocumentID}, "en true, fr true"}} {
		_, err := h.fake.In("fr").SetRelation(fr.UID, fr.DocumentID, "billings", step.targets...)
		require.NoError(t, err)
		require.NoError(t, h.refresh(fr))
		require.Greater(t, h.entity(bFR).Want, h.entity(bFR).Done)
		require.Equal(t, h.entity(Key{b.UID, b.DocumentID, "en"}).Want, h.entity(Key{b.UID, b.DocumentID, "en"}).Done)
		h.drain()
		require.Equal(t, step.want, links())
	}

	// The webhook of a billing is late: its deal lists it, in which locale, too.
	entry, err := h.fake.In("fr").Create(b.UID, fakestrapi.Values{"amount": json.Number("7"), "deal": deal.DocumentID})
	require.NoError(t, err)
	require.NoError(t, h.refresh(fr))
	h.drain()
	require.Equal(t, "fr", one[string](h, "SELECT locale FROM billing WHERE document_id = $1 AND deleted_at IS NULL", entry.DocumentID))
}

// A type is empty when it has no document in any locale.
func TestLocales_Empty(t *testing.T) {
	t.Parallel()
	h := newEnv(t, localized(true))
	entry, err := h.fake.In("fr").CreateDraft(fakestrapi.DealUID, fakestrapi.Values{"name": "brouillon"})
	require.NoError(t, err)
	empty := func() bool {
		is, err := h.sync.source.isEmpty(t.Context(), contentTypes[0], circuit.Snapshot{State: circuit.Closed})
		require.NoError(t, err)
		return is
	}
	require.False(t, empty())
	require.NoError(t, h.fake.In("fr").Delete(fakestrapi.DealUID, entry.DocumentID))
	require.True(t, empty())
}
