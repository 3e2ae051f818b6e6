package fakestrapi

import (
	"math/rand/v2"
	"sync"
	"time"
)

// chance is a source of random numbers for several goroutines.
type chance struct {
	mu   sync.Mutex
	rand *rand.Rand
}

// newChance mixes the number of rows ever made into the seed: after a restart
// with the same folder a fixed seed must not give the ids of deleted documents
// to new ones.
func newChance(seed, issued uint64) *chance {
	if seed == 0 {
		seed = rand.Uint64()
	}
	return &chance{rand: rand.New(rand.NewPCG(seed, issued))}
}

// below returns true with probability p.
func (c *chance) below(p float64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rand.Float64() < p
}

// upTo returns a duration from 0 to d.
func (c *chance) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.rand.Int64N(int64(d) + 1))
}

func (c *chance) shuffle(n int, swap func(i, j int)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rand.Shuffle(n, swap)
}

// documentID returns an id like Strapi's (cuid2): 24 characters, the first a letter.
func (c *chance) documentID() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	const letters = 26
	c.mu.Lock()
	defer c.mu.Unlock()
	id := make([]byte, 24)
	id[0] = alphabet[c.rand.IntN(letters)]
	for i := 1; i < len(id); i++ {
		id[i] = alphabet[c.rand.IntN(len(alphabet))]
	}
	return string(id)
}
