package backplane

import (
	"fmt"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// OpenStream makes a stream to peer; h takes what comes back. Nothing is sent before
// [Stream.SendOpen]. Streams to this node itself skip Redis.
func (b *Backplane) OpenStream(peer wire.Incarnation, h StreamHandler) *Stream {
	return b.demux.openStream(peer, wire.StreamID(b.lastStream.Add(1)), h)
}

// Serve lets other nodes open streams for a service. accept is called for each Open,
// from the goroutine that receives from the peer, so it must not block. It returns
// the handler of the stream's frames; or nil if it does not take the stream, after a
// [Stream.SendRefuse]. Streams for services that are not served are refused.
//
// stop ends the acceptance of new streams; those that are open go on. A service can
// be served once at a time.
func (b *Backplane) Serve(service string, accept func(s *Stream, o wire.Open) StreamHandler) (stop func(), err error) {
	if err := wire.ValidateSlug(service); err != nil {
		return nil, fmt.Errorf("backplane: service name: %w", err)
	}
	return b.demux.serve(service, accept)
}

func (d *demux) serve(service string, accept func(*Stream, wire.Open) StreamHandler) (func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.services[service] != nil {
		return nil, fmt.Errorf("backplane: service %q is served by this node already", service)
	}
	a := &acceptor{accept: accept}
	d.services[service] = a
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.services[service] == a {
			delete(d.services, service)
		}
	}, nil
}
