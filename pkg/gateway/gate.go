package gateway

import (
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/quota"
)

// gate bounds the handshakes of one gateway before anything is spent on them.
type gate struct {
	max  int // handshakes at once; negative: no limit
	rate quota.Rate
	made time.Time // what the bucket's clock counts from

	mu     sync.Mutex
	inside int
	bucket quota.Bucket
}

// enter lets one more handshake in, or says why not and when to come again. What it
// lets in must leave.
func (g *gate) enter() (Refusal, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.max >= 0 && g.inside >= g.max {
		return RefuseHandshakes, time.Second
	}
	if g.rate.Limited() {
		if wait := g.bucket.Take(g.rate, 1, time.Since(g.made)); wait > 0 {
			return RefuseAcceptRate, wait
		}
	}
	g.inside++
	return "", 0
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
}
