package httpapi_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/httpapi"
	"dealbox/internal/inbox"
	"dealbox/internal/pgtest"
)

func TestWebhook_Accepted(t *testing.T) {
	t.Parallel()
	h := open(t)
	first := h.do(h.delivery(dealEvent("entry.update", "doc1")))
	require.Equal(t, http.StatusAccepted, first.StatusCode, string(first.body))
	require.Equal(t, "application/json", first.Header.Get("Content-Type"))
	require.Equal(t, "no-store", first.Header.Get("Cache-Control"))
	tree := first.json(t)
	id := tree["event_id"]
	require.Equal(t, map[string]any{
		"status": "accepted", "event_id": id, "event": "entry.update", "entity": "pipeline-deal",
		"action": "forecast_recompute_queued", "duplicate": false,
	}, tree)

	require.Equal(t, h.MustText("SELECT id::text FROM inbox_event"), id)

	again := h.do(h.delivery(dealEvent("entry.update", "doc1"))).json(t)
	require.Equal(t, true, again["duplicate"])
	require.Equal(t, id, again["event_id"])
}

func TestWebhook_Actions(t *testing.T) {
	t.Parallel()
	h := open(t)
	for body, action := range map[string]string{
		dealEvent("entry.delete", "doc1"): "cleanup_queued",
		dealEvent("entry.other", "doc1"):  "ignored",
		`{"event":"trigger-test"}`:        "ignored",
		`{"event":"entry.`:                "quarantined",
		``:                                "quarantined",
	} {
		got := h.do(h.delivery(body))
		require.Equal(t, http.StatusAccepted, got.StatusCode, body)
		require.Equal(t, action, got.json(t)["action"], body)
	}
}

// Each case breaks one rule and all the rules after it, so it also tells the
// order of the checks.
func TestWebhook_OrderOfChecks(t *testing.T) {
	t.Parallel()
	h := open(t)
	big := strings.Repeat("x", 16<<20+1)
	wrong := strings.Repeat("0", 64)
	post := func(header http.Header, body string) *http.Request {
		r := h.request(http.MethodPost, "/api/v1/webhooks/strapi", strings.NewReader(body))
		r.Header = header
		return r
	}
	typed := func(more ...string) http.Header {
		header := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
		for i := 0; i < len(more); i += 2 {
			header.Add(more[i], more[i+1])
		}
		return header
	}
	huge := strings.Repeat("h", 20<<10)
	for name, c := range map[string]struct {
		request *http.Request
		status  int
		code    string
	}{
		"Method":        {h.request(http.MethodPut, "/api/v1/webhooks/strapi", strings.NewReader(big)), 405, "method_not_allowed"},
		"NoContentType": {post(http.Header{"Content-Encoding": {"gzip"}}, big), 415, "unsupported_media_type"},
		"ContentType":   {post(http.Header{"Content-Type": {"text/plain"}, "Content-Encoding": {"gzip"}}, big), 415, "unsupported_media_type"},
		"Encoding":      {post(typed("Content-Encoding", "gzip", "X-Huge", huge), big), 415, "unsupported_encoding"},
		"Identity":      {post(typed("Content-Encoding", "identity"), "{}"), 415, "unsupported_encoding"},
		"Headers":       {post(typed("X-Huge", huge), big), 431, "headers_too_large"},
		"Length":        {post(typed(), big), 413, "body_too_large"},
		"Missing":       {post(typed(), "{}"), 401, "signature_missing"},
		"Malformed":     {post(typed("X-Strapi-Signature", "nonsense"), "{}"), 401, "signature_malformed"},
		"Mismatch":      {post(typed("X-Strapi-Signature", wrong), "{}"), 401, "signature_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			got := h.do(c.request)
			e := requireError(t, got, c.status, c.code)
			require.Empty(t, e["details"])
			if name == "Method" {
				require.Equal(t, "POST", got.Header.Get("Allow"))
			}
			if c.status == http.StatusUnauthorized {
				require.Equal(t, "the delivery is not authentic", e["message"])
			}
		})
	}
	requireNoEvents(t, h)
}

func requireNoEvents(t *testing.T, h *env) {
	t.Helper()
	require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM inbox_event"))
}

func TestWebhook_Size(t *testing.T) {
	t.Parallel()
	h := open(t)
	t.Run("LargestIsStored", func(t *testing.T) {
		body := strings.Repeat(" ", 1<<20)
		require.Equal(t, http.StatusAccepted, h.do(h.delivery(body)).StatusCode)
		chunked := h.delivery(body)
		chunked.ContentLength = -1
		require.Equal(t, http.StatusAccepted, h.do(chunked).StatusCode)
		require.Equal(t, "1048576 ", h.MustText("SELECT octet_length(body) || ' ' || coalesce(body_bytes::text, '') FROM inbox_event"))
	})
	t.Run("PromisedLengthIsAnsweredBeforeTheBody", func(t *testing.T) {
		c := dial(t, h)
		c.send(formed + "Content-Length: 16777217\r\n\r\n")
		got := c.answer()
		require.Equal(t, 413, got.StatusCode)
		require.True(t, got.Close)
	})
	t.Run("EndlessChunks", func(t *testing.T) {
		c := dial(t, h)
		c.send(formed + "Transfer-Encoding: chunked\r\n\r\n")
		go func() {
			chunk := "10000\r\n" + strings.Repeat("x", 0x10000) + "\r\n"
			for {
				if _, err := io.WriteString(c.conn, chunk); err != nil {
					return // cut, as it must be
				}
			}
		}()
		got := c.answer()
		require.Equal(t, 413, got.StatusCode)
		require.True(t, got.Close)
	})
}

// A body over WEBHOOK_MAX_BYTES is verified, accounted for, and not stored; its document
// is refreshed. Where it names none, everything is compared.
func TestWebhook_Large(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *httpapi.Config, _ *httpapi.Stages) { c.MaxBody = 64 << 10 })
	billings := `{"documentId":"other","name":"` + strings.Repeat("x", 100) + `"},`
	large := func(documentID string, size int) string {
		return strings.Replace(dealEvent("entry.update", documentID), `"name"`, `"billings":[`+strings.Repeat(billings, size/len(billings))+`{}],"locale":"fr","name"`, 1)
	}
	deal := large("deal1", 200<<10)
	for range 2 {
		got := h.do(h.delivery(deal))
		require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
		require.Equal(t, "forecast_recompute_queued", got.json(t)["action"])
	}
	chunked := h.delivery(large("deal2", 200<<10))
	chunked.ContentLength = -1
	require.Equal(t, http.StatusAccepted, h.do(chunked).StatusCode)
	require.Equal(t, []string{"deal1 fr 2", "deal2 fr 1"}, h.MustTexts("SELECT document_id || ' ' || locale || ' ' || want_seq FROM entity_sync ORDER BY 1"))
	require.Equal(t, "pending f "+fmt.Sprintf("%d %x", len(deal), sha256.Sum256([]byte(deal))), h.MustText(
		"SELECT concat_ws(' ', status, body_kept, body_bytes, body_sha256) FROM audit_event WHERE document_id = 'deal1'"))
	require.Equal(t, "0", h.MustText("SELECT sum(octet_length(body))::text FROM inbox_event"))
	shown := h.get("/api/v1/events/" + h.MustText("SELECT id::text FROM inbox_event WHERE document_id = 'deal1'")).json(t)
	require.Nil(t, shown["body"])
	require.Equal(t, json.Number(fmt.Sprint(len(deal))), at(t, shown, "body_not_kept", "bytes"))

	forged := h.delivery(large("deal3", 200<<10))
	forged.Header.Set("X-Strapi-Signature", strings.Repeat("0", 64))
	requireError(t, h.do(forged), 401, "signature_mismatch")

	require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM reconciliation_run"))
	got := h.do(h.delivery(`{"event":"entry.upd` + strings.Repeat("x", 200<<10)))
	require.Equal(t, http.StatusAccepted, got.StatusCode)
	require.Equal(t, "quarantined", got.json(t)["action"])
	require.Equal(t, "full after_quarantine", h.MustText("SELECT kind || ' ' || trigger FROM reconciliation_run"))

	require.Equal(t, "3 0 2 0 0 1", h.MustText("SELECT concat_ws(' ', received, processed, pending, dead, ignored, quarantined) FROM inbox_ledger"))
	require.Contains(t, string(h.get("/metrics").body), "dealbox_webhook_bodies_not_kept_total 4")

	most := large("deal4", 16<<20)
	requireError(t, h.do(h.delivery(most)), 413, "body_too_large")
	most = most[:16<<20]
	require.Equal(t, http.StatusAccepted, h.do(h.delivery(most)).StatusCode)
}

// formed is a signature in form, which is wrong for any body.
var formed = "X-Strapi-Signature: " + strings.Repeat("0", 64) + "\r\n"

// wire is a connection that a test speaks HTTP over by hand.
type wire struct {
	t    *testing.T
	conn net.Conn
}

func dial(t *testing.T, h *env) wire {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(h.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return wire{t, conn}
}

// send starts a POST to the webhook; rest is the last headers and what follows.
func (c wire) send(rest string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, "POST /api/v1/webhooks/strapi HTTP/1.1\r\nHost: dealbox\r\nContent-Type: application/json\r\n"+rest)
	require.NoError(c.t, err)
}

func (c wire) answer() *http.Response {
	c.t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c.conn), nil)
	require.NoError(c.t, err)
	return response
}

func TestWebhook_Body(t *testing.T) {
	t.Parallel()
	h := open(t)
	t.Run("SlowIsCut", func(t *testing.T) {
		h := open(t, func(c *httpapi.Config, _ *httpapi.Stages) { c.BodyTimeout = 200 * time.Millisecond })
		c := dial(t, h)
		c.send(formed + "Content-Length: 100\r\n\r\n{")
		got := c.answer()
		require.Equal(t, http.StatusRequestTimeout, got.StatusCode)
		require.True(t, got.Close)
	})
	t.Run("TruncatedIsUnreadable", func(t *testing.T) {
		c := dial(t, h)
		c.send(formed + "Content-Length: 100\r\n\r\n{")
		require.NoError(t, c.conn.(*net.TCPConn).CloseWrite())
		require.Equal(t, http.StatusBadRequest, c.answer().StatusCode)
	})
	requireNoEvents(t, h)
}

// What the headers decide is answered before the body comes, and a client that goes on
// sending still gets its answer.
func TestWebhook_RefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	h := open(t)
	for name, test := range map[string]struct {
		header string
		status int
	}{
		"NoSignature":     {"Content-Length: 8388608\r\n\r\n", 401},
		"Malformed":       {"X-Strapi-Signature: nonsense\r\nContent-Length: 8388608\r\n\r\n", 401},
		"MalformedChunks": {"X-Strapi-Signature: nonsense\r\nTransfer-Encoding: chunked\r\n\r\n", 401},
		"ExpectsContinue": {"Expect: 100-continue\r\nContent-Length: 8388608\r\n\r\n", 401},
		"TooLarge":        {formed + "Content-Length: 33554432\r\n\r\n", 413},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, h)
			c.send(test.header)
			got := c.answer()
			require.Equal(t, test.status, got.StatusCode)
			require.True(t, got.Close)
		})
	}
	t.Run("TheWholeBodyIsSentFirst", func(t *testing.T) {
		for _, signature := range []string{"", "nonsense"} {
			c := dial(t, h)
			c.send("X-Strapi-Signature: " + signature + "\r\nContent-Length: 8388608\r\n\r\n")
			_, err := io.WriteString(c.conn, strings.Repeat("x", 8<<20)) // as a client that does not listen meanwhile
			require.NoError(t, err)
			require.Equal(t, 401, c.answer().StatusCode)
		}
	})
	requireNoEvents(t, h)
}

// Large bodies that strangers send slowly take their share of the budget and no more:
// the next large one is answered 503, usual ones are taken, and so are large
// ones when the slow ones are cut.
func TestWebhook_BodyBudget(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *httpapi.Config, _ *httpapi.Stages) { c.BodyBudget, c.BodyTimeout = 1<<20, 2*time.Second })
	large := dealEvent("entry.update", "large"+strings.Repeat(" ", 600<<10))
	require.Equal(t, http.StatusAccepted, h.do(h.delivery(large)).StatusCode)
	var strangers []wire
	for range 3 {
		c := dial(t, h)
		c.send(formed + "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 400<<10))
		strangers = append(strangers, c)
	}
	var refused answer
	require.Eventually(t, func() bool {
		refused = h.do(h.delivery(large))
		return refused.StatusCode == http.StatusServiceUnavailable
	}, time.Minute, time.Millisecond, "the strangers hold the budget")
	requireError(t, refused, 503, "too_many_large_bodies")
	require.Equal(t, "5", refused.Header.Get("Retry-After"))
	require.Equal(t, http.StatusAccepted, h.do(h.delivery(dealEvent("entry.update", "usual"))).StatusCode)

	for _, c := range strangers {
		require.Contains(t, []int{http.StatusRequestTimeout, http.StatusServiceUnavailable}, c.answer().StatusCode)
	}
	require.Eventually(t, func() bool { return h.do(h.delivery(large)).StatusCode == http.StatusAccepted }, time.Minute, time.Millisecond)
}

// Promise 8: an unauthenticated request costs no database connection.
func TestWebhook_BadSignatures(t *testing.T) {
	t.Parallel()
	h := open(t)
	before := h.Pool.Stat().AcquireCount()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1250 {
				r := httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/strapi", strings.NewReader(dealEvent("entry.update", "doc1")))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("X-Strapi-Signature", strings.Repeat("0", 64))
				w := httptest.NewRecorder()
				h.api.Handler().ServeHTTP(w, r)
				if w.Code != http.StatusUnauthorized {
					t.Errorf("answered %d", w.Code)
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, before, h.Pool.Stat().AcquireCount())
	requireNoEvents(t, h)
}

func TestWebhook_NotCommitted(t *testing.T) {
	t.Parallel()
	t.Run("DatabaseAway", func(t *testing.T) {
		t.Parallel()
		h := build(t, dead(t))
		got := h.do(h.delivery(dealEvent("entry.update", "doc1")))
		requireError(t, got, 503, "not_committed")
		require.Equal(t, "5", got.Header.Get("Retry-After"))
		line := h.logLine(got.Header.Get("X-Request-Id"))
		require.Equal(t, "WARN", line["level"])
		require.Contains(t, line["error"], "connect")
	})
	t.Run("DatabaseStuck", func(t *testing.T) {
		t.Parallel()
		h := open(t, func(c *httpapi.Config, _ *httpapi.Stages) { c.CommitTimeout = 300 * time.Millisecond })
		tx, err := h.Pool.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(context.Background()) }()
		_, err = tx.Exec(t.Context(), "LOCK TABLE entity_sync")
		require.NoError(t, err)
		requireError(t, h.do(h.delivery(dealEvent("entry.update", "doc1"))), 503, "not_committed")
	})
}

// Strapi never sends twice: what arrived is committed, though nobody waits for the answer.
func TestWebhook_ClientDisconnects_DeliveryIsCommitted(t *testing.T) {
	t.Parallel()
	h := open(t)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	body := dealEvent("entry.update", "doc1")
	r := httptest.NewRequestWithContext(gone, http.MethodPost, "/api/v1/webhooks/strapi", strings.NewReader(body))
	r.Header = signed(t, body)
	w := httptest.NewRecorder()
	h.api.Handler().ServeHTTP(w, r)
	require.Equal(t, http.StatusAccepted, w.Code, w.Body.String())
}

// The read deadline for the body must not end a request whose commit takes longer.
func TestWebhook_CommitOutlivesBodyTimeout(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *httpapi.Config, s *httpapi.Stages) {
		c.BodyTimeout = 500 * time.Millisecond
		receive := s.Receive
		s.Receive = func(ctx context.Context, d inbox.Delivery) (inbox.Receipt, error) {
			select {
			case <-time.After(2 * c.BodyTimeout):
				return receive(ctx, d)
			case <-ctx.Done():
				return inbox.Receipt{}, ctx.Err()
			}
		}
	})
	client := &http.Client{Transport: &http.Transport{}}
	for i := range 3 { // over one connection: the deadline does not end that either
		r := h.delivery(dealEvent("entry.update", fmt.Sprint("doc", i)))
		r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(c httptrace.GotConnInfo) { require.Equal(t, i > 0, c.Reused) },
		}))
		response, err := client.Do(r)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, response.Body)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusAccepted, response.StatusCode)
	}
}

func TestWebhook_Log(t *testing.T) {
	t.Parallel()
	h := open(t)
	good := h.do(h.delivery(dealEvent("entry.update", "doc-in-the-body")))
	line := h.logLine(good.Header.Get("X-Request-Id"))
	require.Equal(t, "DEBUG", line["level"])
	require.Equal(t, "127.0.0.1", line["client"])

	r := h.delivery(`{}`)
	r.Header.Set("X-Strapi-Signature", strings.Repeat("0", 64))
	bad := h.do(r)
	line = h.logLine(bad.Header.Get("X-Request-Id"))
	require.Equal(t, "INFO", line["level"])
	require.Equal(t, "signature_mismatch", line["code"])

	again := h.delivery(`{}`)
	again.Header.Set("X-Strapi-Signature", strings.Repeat("0", 64))
	line = h.logLine(h.do(again).Header.Get("X-Request-Id"))
	require.Equal(t, "DEBUG", line["level"], "the next ones of the minute are counted")

	for _, never := range []string{"doc-in-the-body", secret, good.Request.Header.Get("X-Strapi-Signature")} {
		require.NotContains(t, h.log.String(), never)
	}
}

func BenchmarkWebhook_NoDatabase(b *testing.B) {
	h := build(b, pgtest.Pool(b), func(c *httpapi.Config, s *httpapi.Stages) {
		c.Logger = nil
		s.Receive = func(context.Context, inbox.Delivery) (inbox.Receipt, error) {
			return inbox.Receipt{Event: "entry.update", Entity: "pipeline-deal", Action: inbox.ActionRecompute}, nil
		}
	})
	body := dealEvent("entry.update", "doc1")
	header := signed(b, body)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/strapi", strings.NewReader(body))
		r.Header = header
		h.api.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
}
