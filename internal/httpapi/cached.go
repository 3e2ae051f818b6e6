package httpapi

import (
	"sync"
	"time"
)

// maxCacheAge is how old the answers may be that need no token. It bounds what
// strangers can make the database do to one probe a second.
const maxCacheAge = time.Second

// cached keeps a value for maxCacheAge. Callers that come while it is being read
// wait for it, which Config.ProbeTimeout bounds.
type cached[T any] struct {
	mu    sync.Mutex
	value T
	until time.Time
}

func (c *cached[T]) get(read func() T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().After(c.until) {
		c.value = read()
		c.until = time.Now().Add(maxCacheAge)
	}
	return c.value
}
