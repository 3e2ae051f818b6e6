package mirror

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
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

// alive are the live deals by the names that the test gives their documents.
func (h *env) alive(names map[string]Key) string {
	h.t.Helper()
	rows, err := h.pool.Query(h.t.Context(), "SELECT document_id, locale, coalesce(name, '') FROM deal WHERE deleted_at IS NULL ORDER BY name, locale")
	require.NoError(h.t, err)
	text := ""
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var id, locale, name string
		err := row.Scan(&id, &locale, &name)
		for short, key := range names {
			if key.DocumentID == id {
				id = short
			}
		}
		text += fmt.Sprintf("%s/%s %s, ", id, locale, name)
		return struct{}{}, err
	})
	require.NoError(h.t, err)
	return text
}

// A document has a row for each locale. A sweep is of all of them: it finds what no
// webhook told of, and ghosts in the locale that is gone alone.
func TestLocales(t *testing.T) {
	t.Parallel()
	for name, withDrafts := range map[string]bool{"plain": false, "drafts": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, localized(withDrafts))
			both, plain := h.deal(fakestrapi.Values{"name": "deal"}), h.deal(fakestrapi.Values{"name": "plain"})
			entry, err := h.fake.In("fr").Create(fakestrapi.DealUID, fakestrapi.Values{"name": "seule"})
			require.NoError(t, err)
			french := Key{fakestrapi.DealUID, entry.DocumentID, "fr"}
			bothFR := h.translate(both, "fr", fakestrapi.Values{"name": "affaire"})
			names := map[string]Key{"both": both, "plain": plain, "french": french}

			// Webhooks name the locale.
			require.NoError(t, h.look(bothFR))
			require.Equal(t, "both/fr affaire, ", h.alive(names))
			run := h.sweep(Request{Extent: Full})
			require.Equal(t, [3]int64{3, 0, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			require.Equal(t, int64(4), run.Listed)
			h.drain()
			require.Equal(t, "both/fr affaire, both/en deal, plain/en plain, french/fr seule, ", h.alive(names))
			h.requireInStep()

			// The webhook of one locale is lost: a delta heals it.
			h.translate(both, "fr", fakestrapi.Values{"name": "affaire 2"})
			run = h.sweep(Request{Extent: Delta})
			require.Equal(t, [3]int64{0, 1, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			h.drain()
			require.Equal(t, "both/fr affaire 2, both/en deal, plain/en plain, french/fr seule, ", h.alive(names))

			// A locale is deleted without a webhook; the others of the document stay.
			require.NoError(t, h.fake.In("fr").Delete(fakestrapi.DealUID, both.DocumentID))
			run = h.sweep(Request{Extent: Full})
			require.Equal(t, [3]int64{0, 0, 1}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			h.drain()
			require.Equal(t, "both/en deal, plain/en plain, french/fr seule, ", h.alive(names))

			// So is the default one of another document.
			h.translate(plain, "de", fakestrapi.Values{"name": "schlicht"})
			require.NoError(t, h.fake.Delete(fakestrapi.DealUID, plain.DocumentID))
			run = h.sweep(Request{Extent: Full})
			require.Equal(t, [3]int64{1, 0, 1}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			h.drain()
			require.Equal(t, "both/en deal, plain/de schlicht, french/fr seule, ", h.alive(names))
			h.requireInStep()
		})
	}
}

// Each locale is published for itself: of a document the one is listed as it is
// published, the other as a draft.
func TestLocales_Publication(t *testing.T) {
	t.Parallel()
	h := newEnv(t, localized(true))
	deal := h.deal(fakestrapi.Values{"name": "deal"})
	fr := h.translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	h.sweep(Request{Extent: Full})
	h.drain()
	require.NoError(t, h.fake.In("fr").Unpublish(fr.UID, fr.DocumentID))
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, [3]int64{0, 1, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts})
	h.drain()
	require.Equal(t, "en true, fr false", one[string](h,
		"SELECT string_agg(locale || ' ' || (published_at IS NOT NULL), ', ' ORDER BY locale) FROM deal WHERE deleted_at IS NULL"))
	h.requireInStep()
}

// Pages are cut between documents, so a page that ends in the midst of one loses none.
func TestLocales_Pages(t *testing.T) {
	t.Parallel()
	h := newEnv(t, localized(true))
	for i := range 12 {
		deal := h.deal(fakestrapi.Values{"name": fmt.Sprint("deal ", i)})
		for _, locale := range []string{"de", "fr", "th"}[:i%4] {
			h.translate(deal, locale, fakestrapi.Values{"name": fmt.Sprint(locale, i)})
		}
	}
	for _, size := range []int{5, 7, 9} {
		_, err := h.pool.Exec(t.Context(), "TRUNCATE deal, entity_sync")
		require.NoError(t, err)
		id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
		h.run(h.reconciler(size))
		run := h.runRow(id)
		require.Equal(t, "done", run.Status)
		require.Equal(t, [3]int64{30, 0, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts}, "pages of %d", size)
		h.drain()
		require.Equal(t, 30, h.live())
		h.requireInStep()
	}

	// A page that cannot hold one document with all its locales ends the run with a
	// word of what to do, and takes nothing for deleted.
	id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
	h.run(h.reconciler(3))
	run := h.runRow(id)
	require.Equal(t, "failed", run.Status)
	require.Contains(t, *run.Error, "maxLimit")
	require.Equal(t, 30, h.live())
}

// Strapi copies what the locales of a document share to all of them and sends one
// webhook. A change in one is followed by a look at the others, and that ends.
func TestLocales_Shared(t *testing.T) {
	t.Parallel()
	h := newEnv(t, localized(false))
	deal := h.deal(fakestrapi.Values{"name": "deal", "owner": "ada"})
	en := Key{deal.UID, deal.DocumentID, "en"}
	fr := h.translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	require.NoError(t, h.look(en))
	require.Empty(t, h.laterJobs(), "one locale has no others")
	require.NoError(t, h.look(fr))
	require.Equal(t, []LocalesArgs{LocalesArgs(fr)}, h.laterJobs())
	h.workLater(fr)
	h.drain()
	require.Equal(t, []LocalesArgs{LocalesArgs(fr)}, h.laterJobs(), "what has not changed asks for nothing")

	_, err := h.fake.Update(deal.UID, deal.DocumentID, fakestrapi.Values{"owner": "bo"})
	require.NoError(t, err)
	require.NoError(t, h.look(en))
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
	h.requireInStep()
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

// A difference in one locale that a webhook of another told of is no lost webhook:
// there is none for it.
func TestLocales_SharedIsNotLost(t *testing.T) {
	t.Parallel()
	h := newEnv(t, localized(false))
	deal := h.deal(fakestrapi.Values{"name": "deal", "owner": "ada"})
	fr := h.translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	other := h.translate(h.deal(fakestrapi.Values{"name": "other"}), "fr", fakestrapi.Values{"name": "autre"})
	h.sweep(Request{Extent: Full})
	h.drain()
	for _, key := range []Key{deal, other} {
		_, err := h.fake.Update(key.UID, key.DocumentID, fakestrapi.Values{"owner": "bo"})
		require.NoError(t, err)
	}
	en := Key{deal.UID, deal.DocumentID, "en"}
	h.event(en, "entry.update", 2)
	require.NoError(t, h.look(en))
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, int64(3), run.Stale, "the deal in fr, and the other one in both")
	_, err := h.pool.Exec(t.Context(), "UPDATE reconciliation_difference SET found_at = found_at - interval '61 seconds'")
	require.NoError(t, err)
	require.NoError(t, h.reconciler(7).settle(t.Context()))
	require.Equal(t, int64(2), h.runRow(run.ID).LostWebhooks)
	require.Equal(t, fr.DocumentID, one[string](h, "SELECT document_id FROM reconciliation_difference WHERE lost = false AND run_id = $1", run.ID))
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
	h.sweep(Request{Extent: Full})
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
		require.NoError(t, h.look(fr))
		require.Greater(t, h.entity(bFR).Want, h.entity(bFR).Done)
		require.Equal(t, h.entity(Key{b.UID, b.DocumentID, "en"}).Want, h.entity(Key{b.UID, b.DocumentID, "en"}).Done)
		h.drain()
		require.Equal(t, step.want, links())
		h.requireInStep()
	}

	// The webhook of a billing is late: its deal tells of it, and in which locale.
	entry, err := h.fake.In("fr").Create(b.UID, fakestrapi.Values{"amount": json.Number("7"), "deal": deal.DocumentID})
	require.NoError(t, err)
	require.NoError(t, h.look(fr))
	h.drain()
	require.Equal(t, "fr", one[string](h, "SELECT locale FROM billing WHERE document_id = $1 AND deleted_at IS NULL", entry.DocumentID))
	h.requireInStep()
}

// A type can get its locales later, and lose them again: Strapi then shows each
// document under another key. Nothing vanished, so the guard has no part in it.
func TestLocales_TypeChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		option        option
		before, after string
	}{
		{"it gets locales", localized(true), "", "en"},
		{"it loses them", drafts, "en", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, test.option)
			keys := h.fill(30)
			for _, table := range []string{"deal", "entity_sync"} {
				_, err := h.pool.Exec(t.Context(), "UPDATE "+table+" SET locale = $1", test.before)
				require.NoError(t, err)
			}
			// A look under the old key, such as a replay asks for, leads to the new one.
			require.NoError(t, h.look(Key{keys[0].UID, keys[0].DocumentID, test.before}))
			h.drain()
			require.Equal(t, test.after, one[string](h, "SELECT locale FROM deal WHERE document_id = $1 AND deleted_at IS NULL", keys[0].DocumentID))

			run := h.sweep(Request{Extent: Full})
			require.Equal(t, [3]int64{29, 29, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			h.drain()
			require.Equal(t, 30, one[int](h, "SELECT count(*) FROM deal WHERE deleted_at IS NULL AND locale = $1", test.after))
			require.Equal(t, 30, h.live())
			require.NotContains(t, h.openAlerts(), alerting.RuleMassDeleteGuard)
			h.requireInStep()
		})
	}
}

// Deleting a locale in Strapi's settings deletes its documents without webhooks:
// the guard asks whether that was meant.
func TestLocales_Guard(t *testing.T) {
	t.Parallel()
	h := newEnv(t, localized(false))
	var fr []Key
	for i := range 12 {
		deal := h.deal(fakestrapi.Values{"name": fmt.Sprint("deal ", i)})
		fr = append(fr, h.translate(deal, "fr", fakestrapi.Values{"name": fmt.Sprint("affaire ", i)}))
	}
	h.sweep(Request{Extent: Full})
	h.drain()
	for _, key := range fr {
		require.NoError(t, h.fake.In("fr").SilentDelete(key.UID, key.DocumentID))
	}
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, [2]int64{12, 12}, [2]int64{run.Ghosts, run.Held})
	h.drain()
	require.Equal(t, 24, h.live())
	require.Contains(t, h.openAlerts(), alerting.RuleMassDeleteGuard)
	h.sweep(Request{Extent: Full, AllowDeletes: true, Actor: "test"})
	h.drain()
	require.Equal(t, 12, one[int](h, "SELECT count(*) FROM deal WHERE deleted_at IS NULL AND locale = 'en'"))
	require.Equal(t, 12, h.live())
	h.requireInStep()
}

// A Strapi that is emptied answers so in every locale: one that is empty is not.
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
