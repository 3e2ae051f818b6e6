package fakestrapi

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/strapi"
)

func TestPersist_RestartGoesOn(t *testing.T) {
	t.Parallel()
	for _, drafts := range []bool{false, true} {
		c := Config{Types: PipelineTypes(drafts, true), Dir: t.TempDir(), Seed: 1}
		s, err := New(c)
		require.NoError(t, err)
		a, err := s.Create(DealUID, Values{"name": "A – Ü", "deal_value": 1.25})
		require.NoError(t, err)
		gone, err := s.Create(DealUID, nil)
		require.NoError(t, err)
		for range 3 {
			_, err = s.Create(BillingUID, Values{"deal": a.DocumentID})
			require.NoError(t, err)
		}
		require.NoError(t, s.Import(BillingUID, []byte(`{"id":900,"documentId":"../weird id","publishedAt":"2026-01-01T00:00:00.000Z"}`)))
		require.NoError(t, s.Delete(DealUID, gone.DocumentID))
		last := s.store.tables[DealUID].seq
		before := [][]Entry{s.List(DealUID, strapi.Published), s.List(DealUID, strapi.Draft), s.List(BillingUID, strapi.Draft)}
		require.NoError(t, s.Close())

		s, err = New(c)
		require.NoError(t, err)
		after := [][]Entry{s.List(DealUID, strapi.Published), s.List(DealUID, strapi.Draft), s.List(BillingUID, strapi.Draft)}
		require.Equal(t, before, after)
		require.Len(t, after[0][0].Relations["billings"], 3)
		next, err := s.Create(DealUID, nil)
		require.NoError(t, err)
		require.Greater(t, next.ID, last, "ids go on, also after the last one was deleted")
		require.NotEqual(t, gone.DocumentID, next.DocumentID, "a fixed seed does not give an id again")
		require.NoError(t, s.Close())
	}
}

func TestPersist_WritesWhileItRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := New(Config{Types: PipelineTypes(false, false), Dir: dir})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	deal, err := s.Create(DealUID, Values{"name": "A"})
	require.NoError(t, err)
	file := filepath.Join(dir, "pipeline-deals", deal.DocumentID+".json")
	require.Eventually(t, func() bool { _, err := os.Stat(file); return err == nil }, time.Minute, 5*time.Millisecond)
	require.NoError(t, s.Delete(DealUID, deal.DocumentID))
	require.Eventually(t, func() bool { _, err := os.Stat(file); return err != nil }, time.Minute, 5*time.Millisecond)
}

func TestPersist_BrokenFilesAreLeftOut(t *testing.T) {
	t.Parallel()
	c := Config{Types: PipelineTypes(false, false), Dir: t.TempDir()}
	s, err := New(c)
	require.NoError(t, err)
	deal, err := s.Create(DealUID, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(filepath.Join(c.Dir, "pipeline-deals", "broken.json"), []byte(`{"documentId":`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(c.Dir, sequencesFile), nil, 0o600))

	s, err = New(c)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.Len(t, s.List(DealUID, strapi.Published), 1)
	next, err := s.Create(DealUID, nil)
	require.NoError(t, err)
	require.Greater(t, next.ID, deal.ID)

	require.NoError(t, os.WriteFile(filepath.Join(c.Dir, "file"), nil, 0o600))
	c.Dir = filepath.Join(c.Dir, "file")
	_, err = New(c)
	require.ErrorContains(t, err, "keep the fake Strapi's documents")
}
