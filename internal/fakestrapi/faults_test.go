package fakestrapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	deal := r.mustCreate(DealUID, Values{"name": "A"})
	paths := []string{"/api/pipeline-deals", "/api/pipeline-deals/" + deal.DocumentID}
	for _, c := range []struct {
		fault  Fault
		status int // 0: no answer
		body   string
	}{
		{Fault{Kind: FaultDown}, 0, ""},
		{Fault{Kind: FaultCut}, 0, ""},
		{Fault{Kind: FaultStatus, Status: 503, Body: "<html>bad gateway</html>"}, 503, "<html>"},
		{Fault{Kind: FaultStatus, Status: 500}, 500, `"name":"InternalServerError","message":"Internal Server Error"}}`},
		{Fault{Kind: FaultStatus, Status: 429, RetryAfter: "7"}, 429, `"name":"TooManyRequestsError"`},
		{Fault{Kind: FaultHTML}, 200, "<!doctype html>"},
		{Fault{Kind: FaultTruncated}, 200, `{"data":`},
		{Fault{Kind: FaultNullData}, 200, `{"data":null,"meta":{}}`},
		{Fault{Kind: FaultEmptyArray}, 200, `[]`},
		{Fault{Kind: FaultSlow, Delay: time.Millisecond}, 200, `"name":"A"`},
		{Fault{Kind: FaultUnauthorized}, 401, `UnauthorizedError`},
		{Fault{Kind: FaultForbidden}, 403, `ForbiddenError`},
		{Fault{Kind: FaultMissingRoute}, 404, `NotFoundError`},
	} {
		r.Faults.Set(c.fault)
		for _, path := range paths {
			a, err := r.try("GET", path, "", token)
			if c.status == 0 {
				require.Error(t, err, "%s %s", c.fault.Kind, path)
				continue
			}
			require.NoError(t, err, "%s %s", c.fault.Kind, path)
			require.Equal(t, c.status, a.status, "%s %s", c.fault.Kind, path)
			require.Contains(t, a.body, c.body, "%s %s", c.fault.Kind, path)
			require.Equal(t, c.fault.RetryAfter, a.header.Get("Retry-After"))
			if c.fault.Kind == FaultTruncated {
				require.NotContains(t, a.body, "meta")
			}
		}
	}
	r.Faults.Clear()
	require.Equal(t, 200, r.get(paths[1]).status)
}

func TestFaults_NotFound(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	deals := withDeals(r, 3)
	path := "/api/pipeline-deals/" + deals[0].DocumentID

	r.Faults.Set(Fault{Kind: FaultNotFound})
	require.Equal(t, 404, r.get(path).status)
	require.Empty(t, listed(t, r.get("/api/pipeline-deals")))

	r.Faults.Set(Fault{Kind: FaultNotFound, Documents: []string{deals[0].DocumentID, deals[2].DocumentID}})
	require.Equal(t, 404, r.get(path).status)
	require.Equal(t, []string{deals[1].DocumentID}, listed(t, r.get("/api/pipeline-deals")))
}

func TestFaults_FailOnlyWhatTheyName(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	deals := withDeals(r, 2)
	at := func(i int) string { return "/api/pipeline-deals/" + deals[i].DocumentID }
	batch := "/api/pipeline-deals?filters[documentId][$in][0]=" + deals[0].DocumentID
	undo := r.Faults.Add(Fault{Kind: FaultStatus, Status: 500, Documents: []string{deals[0].DocumentID}})
	r.Faults.Add(Fault{Kind: FaultStatus, Status: 502, Plural: "billings"})
	r.Faults.Add(Fault{Kind: FaultStatus, Status: 503, Documents: []string{deals[1].DocumentID}, Times: 2})

	require.Equal(t, 500, r.get(at(0)).status)
	require.Equal(t, 500, r.get(batch).status)
	require.Equal(t, 200, r.get("/api/pipeline-deals").status)
	require.Equal(t, 502, r.get("/api/billings").status)
	require.Equal(t, []int{503, 503, 200}, []int{r.get(at(1)).status, r.get(at(1)).status, r.get(at(1)).status})
	undo()
	require.Equal(t, 200, r.get(at(0)).status)

	// A custom token that may find, but not findOne: also of what does not exist.
	r.Faults.Set(Fault{Kind: FaultForbidden, Action: "findOne"})
	require.Equal(t, 200, r.get("/api/pipeline-deals").status)
	require.Equal(t, []int{403, 403}, []int{r.get(at(0)).status, r.get("/api/pipeline-deals/none").status})
}

func TestFaults_HangUntilCleared(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.Faults.Set(Fault{Kind: FaultHang})
	failed := make(chan error)
	go func() {
		_, err := r.try("GET", "/api/pipeline-deals", "", token)
		failed <- err
	}()
	require.Eventually(t, func() bool { return r.Requests.Counts().Lists == 1 }, time.Minute, time.Millisecond)
	select {
	case err := <-failed:
		require.Fail(t, "the request did not hang", "%v", err)
	default:
	}
	// Clearing may come before the request hangs: then it gets its answer.
	r.Faults.Clear()
	<-failed //nolint:errcheck // either way is right
	require.Equal(t, 200, r.get("/api/pipeline-deals").status)
}

func TestRequests_Counts(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	deal := withDeals(r, 1)[0]
	r.Faults.Set(Fault{Kind: FaultStatus, Status: 500})
	r.get("/api/pipeline-deals/" + deal.DocumentID)
	r.Faults.Clear()
	r.get("/api/pipeline-deals/" + deal.DocumentID)
	r.get("/api/pipeline-deals?filters[documentId][$in][0]=" + deal.DocumentID)
	r.get("/api/pipeline-deals?pagination[pageSize]=1")
	r.call(http.MethodPut, "/api/pipeline-deals/"+deal.DocumentID, `{"data":{}}`)
	r.get("/favicon.ico")
	counts := r.Requests.Counts()
	require.Equal(t, Counts{Documents: 2, Lists: 1, Probes: 1, Writes: 1, Others: 1}, counts)
	require.Equal(t, 6, counts.Total())
	require.Equal(t, 4, counts.Gets())
	require.Equal(t, 3, r.Requests.Document(deal.DocumentID))
	r.Requests.Reset()
	require.Zero(t, r.Requests.Counts())
}
