package realstrapi_test

import (
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/realstrapi"
)

var twinRounds = flag.Int("twins", 1, "how many documents are published twice, one after the other")

// twinRaces is how often a round starts the race, which makes twins about every second time.
const twinRaces = 5

var nameOf = regexp.MustCompile(`"name":"([^"]*)"`)

// testTwins: a save and a bulk publish at the same time leave two published rows of one
// document in Strapi's database. It is one document in the mirror, a warning names it, it costs
// nothing in later runs, and all else goes on. A new publication heals it, and so does an unpublication.
func (o *otherwise) testTwins(t *testing.T) {
	strapi, err := pgxpool.New(t.Context(), o.database)
	require.NoError(t, err)
	defer strapi.Close()
	count := func(sql string, args ...any) (n int) {
		t.Helper()
		require.NoError(t, strapi.QueryRow(t.Context(), sql, args...).Scan(&n))
		return n
	}
	other := o.rest(http.MethodPost, "/pipeline-deals", values{"name": "beside twins", "deal_value": 1})
	o.dealbox.waitIdle()
	o.fullSync() // else the first one finds what came before
	lost := o.lostWebhooks()
	for round := range *twinRounds {
		id, how := o.makeTwins(strapi)
		o.dealbox.waitIdle()
		listed := o.names("/pipeline-deals?status=published&sort=id&filters[documentId][$eq]=" + id)
		require.Len(t, listed, 2)

		// The other document changes without an event and without a new updatedAt.
		name := fmt.Sprint("beside twins ", round)
		_, err := strapi.Exec(t.Context(), "UPDATE pipeline_deals SET name = $1 WHERE document_id = $2", name, other)
		require.NoError(t, err)
		o.fullSync()
		require.Equal(t, name, o.text("SELECT name FROM deal WHERE document_id = $1", other), "the others are mirrored")
		mirrored := o.text("SELECT string_agg(name, ', ') FROM deal WHERE document_id = $1 AND deleted_at IS NULL AND published_at IS NOT NULL", id)
		require.Contains(t, listed, mirrored, "the twins are one document")
		// A row that was published just before the list began may have replaced the other.
		o.eventually("a warning names it", func() bool {
			o.fullSync()
			return o.alert("published_twice") == "firing warning" &&
				strings.Contains(o.text("SELECT message FROM alert WHERE rule = 'published_twice' AND resolved_at IS NULL"), id)
		})
		require.Equal(t, fmt.Sprint(count("SELECT count(DISTINCT document_id) FROM pipeline_deals")), o.text("SELECT count(*)::text FROM deal WHERE deleted_at IS NULL"))

		refreshes := func() string { return o.text("SELECT sum(want_seq)::text FROM entity_sync") }
		before := refreshes()
		for range 2 {
			o.fullSync()
		}
		require.Equal(t, before, refreshes(), "later runs request no refresh")
		require.Equal(t, lost, o.lostWebhooks(), "no webhook counts as lost")
		t.Logf("round %d: %s; the list has %q, the document is %q, the mirror has %q", round+1, how, listed, o.names("/pipeline-deals/"+id), mirrored)

		healing := genuine{t: t, strapi: o.strapi}
		if round%2 == 0 {
			healing.bulk("bulkPublish", deals, id)
		} else {
			healing.unpublish(deals, id)
		}
		require.Less(t, count("SELECT count(*) FROM pipeline_deals WHERE document_id = $1 AND published_at IS NOT NULL", id), 2)
		o.dealbox.waitIdle()
		o.fullSync()
		o.eventually("the warning ends", func() bool { return o.alert("published_twice") == "" })
		require.Equal(t, "1", o.text("SELECT count(*)::text FROM deal WHERE document_id = $1 AND deleted_at IS NULL AND (published_at IS NULL) = $2", id, round%2 == 1))
	}
}

// makeTwins publishes a draft by two requests at once until both of them made a row. It says
// how. Where none of the races did, the second row is a copy that SQL makes.
func (o *otherwise) makeTwins(strapi *pgxpool.Pool) (documentID, how string) {
	o.t.Helper()
	for race := range twinRaces {
		id := o.rest(http.MethodPost, "/pipeline-deals?status=draft", values{"name": "a draft", "deal_value": 5})
		var both sync.WaitGroup
		both.Go(func() {
			answer, err := o.strapi.REST(o.t.Context(), http.MethodPut, prefix+"/pipeline-deals/"+id, values{"data": values{"name": "saved"}})
			noFailure(o.t, "save", answer, err)
		})
		both.Go(func() {
			answer, err := o.strapi.Admin(o.t.Context(), http.MethodPost, manager+deals+"/actions/bulkPublish", values{"documentIds": []string{id}})
			noFailure(o.t, "publish", answer, err)
		})
		both.Wait()
		if len(o.names("/pipeline-deals?status=published&filters[documentId][$eq]="+id)) == 2 {
			return id, fmt.Sprint("race ", race+1)
		}
		documentID = id
	}
	tag, err := strapi.Exec(o.t.Context(), `INSERT INTO pipeline_deals (document_id, name, deal_value, created_at, updated_at, published_at)
		SELECT document_id, 'a copy', deal_value, created_at, updated_at, published_at FROM pipeline_deals WHERE document_id = $1 AND published_at IS NOT NULL`, documentID)
	require.NoError(o.t, err)
	require.EqualValues(o.t, 1, tag.RowsAffected())
	return documentID, "by SQL"
}

// noFailure allows that Strapi refuses one of the two, which it often does with 400.
func noFailure(t *testing.T, what string, answer realstrapi.Answer, err error) {
	t.Helper()
	if err != nil || answer.Status >= http.StatusInternalServerError {
		t.Errorf("%s: status %d, %v", what, answer.Status, err)
	}
}

// names returns the names of the documents that a request returns.
func (o *otherwise) names(path string) (all []string) {
	o.t.Helper()
	answer, err := o.strapi.REST(o.t.Context(), http.MethodGet, prefix+path, nil)
	require.NoError(o.t, err)
	require.Equal(o.t, http.StatusOK, answer.Status, "%s", answer.Body)
	for _, m := range nameOf.FindAllSubmatch(answer.Body, -1) {
		all = append(all, string(m[1]))
	}
	return all
}

func (o *otherwise) lostWebhooks() string {
	o.t.Helper()
	return o.text("SELECT coalesce(sum(lost_webhooks), 0)::text FROM reconciliation_run")
}
