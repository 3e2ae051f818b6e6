package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// refusalWindow is how long refused requests are counted before a line says how many.
	refusalWindow = time.Minute
	// maxRefusedClients bounds how many addresses such a line has.
	maxRefusedClients = 5
)

// refusals keeps strangers from filling the log. Of the requests that are refused with
// one code the first is logged at once, and each minute from then on a line has how many
// more came. The number of codes is fixed.
type refusals struct {
	logger *slog.Logger

	mu     sync.Mutex
	counts map[string]*refusedCount // by code, while its minute lasts
}

type refusedCount struct {
	level   slog.Level
	total   int
	clients map[string]int
	others  int // from clients beyond maxRefusedClients
}

// first reports whether this is the first refusal of its minute. Others are counted.
func (r *refusals) first(code, client string, level slog.Level) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	count, ok := r.counts[code]
	if !ok {
		r.begin(code, level)
		return true
	}
	count.total++
	if _, known := count.clients[client]; known || len(count.clients) < maxRefusedClients {
		count.clients[client]++
	} else {
		count.others++
	}
	return false
}

func (r *refusals) begin(code string, level slog.Level) {
	r.counts[code] = &refusedCount{level: level, clients: map[string]int{}}
	time.AfterFunc(refusalWindow, func() { r.report(code) })
}

// report logs what the minute counted, and begins another one unless it was quiet.
func (r *refusals) report(code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := r.counts[code]
	delete(r.counts, code)
	if count.total == 0 {
		return
	}
	r.begin(code, count.level)
	r.logger.LogAttrs(context.Background(), count.level, "more requests were refused",
		slog.String("code", code), slog.Int("count", count.total), slog.String("within", refusalWindow.String()),
		slog.String("clients", count.busiest()), slog.Int("from_other_clients", count.others))
}

// busiest lists the clients, those with the most requests first.
func (c *refusedCount) busiest() string {
	clients := slices.SortedFunc(maps.Keys(c.clients), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.clients[b], c.clients[a]), cmp.Compare(a, b))
	})
	for i, client := range clients {
		clients[i] = client + ": " + strconv.Itoa(c.clients[client])
	}
	return strings.Join(clients, ", ")
}
