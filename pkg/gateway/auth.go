package gateway

import (
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// identify replaces who the client is, and tells its services: what they get after
// that is the new identity's. Only the read loop calls it, so that no pin is made
// meanwhile.
func (c *conn) identify(i wire.Identity) {
	c.client.identity.Store(&i)
	c.mu.Lock()
	var streams []*backplane.Stream
	for _, p := range c.pins {
		if p.state == pinOpen {
			streams = append(streams, p.stream)
		}
	}
	c.mu.Unlock()
	for _, s := range streams {
		_ = s.SendIdentity(i) // on an error, a reset follows
	}
}
