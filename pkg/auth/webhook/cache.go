package webhook

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cache keeps verdicts under the hash of their question: it holds no credential.
type cache struct {
	size int

	mu      sync.Mutex
	entries map[[sha256.Size]byte]entry
}

type entry struct {
	verdict verdict
	until   time.Time
}

func newCache(size int) *cache {
	return &cache{size: size, entries: map[[sha256.Size]byte]entry{}}
}

func (c *cache) get(key [sha256.Size]byte, now time.Time) (verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !now.Before(e.until) {
		return verdict{}, false
	}
	return e.verdict, true
}

// put keeps a verdict, in place of another one if the cache is full.
func (c *cache) put(key [sha256.Size]byte, v verdict, until time.Time) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key]; !ok && len(c.entries) >= c.size {
		c.makeRoom(now)
	}
	c.entries[key] = entry{v, until}
}

// makeRoom removes one entry: of a few at random, one that is over if there is any.
func (c *cache) makeRoom(now time.Time) {
	looked := 0
	for k, e := range c.entries { // in random order
		if looked++; looked == maxLook || looked == c.size || !now.Before(e.until) {
			delete(c.entries, k)
			return
		}
	}
}

// maxLook is how many entries are looked at to make room for one.
const maxLook = 32
