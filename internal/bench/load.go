package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"dealbox/internal/webhooksig"
)

// secret signs the load. It is only for this program.
const secret = "dealbox-bench-secret-0123456789"

// rates is what one run of load measured.
type rates struct {
	perSecond     float64
	p50, p99, max time.Duration
	failed        int
}

func (r rates) String() string {
	return fmt.Sprintf("%8.0f req/s   p50 %6s   p99 %6s   max %6s   not 202: %d",
		r.perSecond, ms(r.p50), ms(r.p99), ms(r.max), r.failed)
}

func ms(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + "ms"
}

// requests are signed beforehand: signing is the sender's cost, not Dealbox's.
func requests(n int, prefix string) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = request(fmt.Sprintf("%s%0*d", prefix, 24-len(prefix), i))
	}
	return all
}

// request is one POST on the wire, about a deal of its own.
func request(documentID string) []byte {
	body := []byte(`{"event":"entry.update","createdAt":"2026-11-24T09:00:00.000Z","model":"pipeline-deal",` +
		`"uid":"api::pipeline-deal.pipeline-deal","entry":{"id":1,"documentId":"` + documentID + `",` +
		`"name":"Deal A – Ünïcode \"quotes\"","deal_value":120000.5,"probability":60,"stage":"negotiation",` +
		`"recognition_start_month":"2026-01-01","recognition_end_month":"2026-06-01","status":"active","currency":"THB",` +
		`"createdAt":"2026-11-23T21:08:39.053Z","updatedAt":"2026-11-23T21:08:40.969Z","publishedAt":"2026-11-23T21:08:40.959Z","billings":[]}}`)
	header, err := webhooksig.Sign(webhooksig.SchemeStandard, secret, "msg_"+documentID, time.Now(), body)
	if err != nil {
		panic(err) // the secret above is valid
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST /api/v1/webhooks/strapi HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	_ = header.Write(&b)
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// load sends the requests over a fixed number of connections, each as soon as
// the last was answered. It writes the bytes itself, because Go's HTTP client
// would take more of the shared cores than Dealbox does.
func load(ctx context.Context, address string, connections int, all [][]byte) (rates, error) {
	var next atomic.Int64
	var failed atomic.Int64
	took := make([][]time.Duration, connections)
	errs := make([]error, connections)
	var wg sync.WaitGroup
	start := time.Now()
	for c := range connections {
		wg.Go(func() {
			took[c], errs[c] = oneConnection(ctx, address, all, &next, &failed)
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return rates{}, err
		}
	}
	times := slices.Concat(took...)
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[int(q*float64(len(times)-1))] }
	return rates{
		perSecond: float64(len(times)) / elapsed.Seconds(),
		p50:       at(0.50), p99: at(0.99), max: at(1), failed: int(failed.Load()),
	}, nil
}

func oneConnection(ctx context.Context, address string, all [][]byte, next, failed *atomic.Int64) ([]time.Duration, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReader(conn)
	var times []time.Duration
	for ctx.Err() == nil {
		i := int(next.Add(1)) - 1
		if i >= len(all) {
			return times, nil
		}
		start := time.Now()
		if _, err := conn.Write(all[i]); err != nil {
			return nil, fmt.Errorf("send: %w", err)
		}
		status, err := readAnswer(answers)
		if err != nil {
			return nil, err
		}
		if status != http.StatusAccepted {
			failed.Add(1)
		}
		times = append(times, time.Since(start))
	}
	return times, ctx.Err()
}

// readAnswer reads one answer and returns its status.
func readAnswer(r *bufio.Reader) (int, error) {
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) < len("HTTP/1.1 200") {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, fmt.Errorf("read the status: %w", err)
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("read the headers: %w", err)
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, fmt.Errorf("read the length: %w", err)
			}
		}
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return status, err
}
