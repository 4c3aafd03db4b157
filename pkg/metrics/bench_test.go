package metrics

import (
	"testing"
	"time"
)

// BenchmarkRoundTrip is what the hooks of gateway and service cost for a message and
// its reply that are both timed, without the clock.
func BenchmarkRoundTrip(b *testing.B) {
	m := New()
	g, s := m.Gateway("public"), m.Service("chat")
	observe := g.Requests("chat", "/echo")
	b.ReportAllocs()
	for b.Loop() {
		g.MessagesIn("chat", 1, 128)
		s.MessageReceived(128)
		s.MessageStarted(time.Microsecond)
		s.MessageSent(128, 0)
		s.Router.Handled(time.Microsecond)
		g.MessagesOut(1, 130)
		observe(time.Millisecond, 2*time.Millisecond)
	}
}
