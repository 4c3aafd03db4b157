package metrics

import (
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Service returns what fills the instruments of a service's instance; it goes into
// service.Config.Hooks.
func (m *Metrics) Service(name string) service.Hooks {
	if m == nil {
		return service.Hooks{}
	}
	sockets := m.gauge(serviceSockets, name)
	opened := m.counter(serviceOpened, name)
	received, receivedBytes := m.counter(serviceReceived, name), m.counter(serviceReceivedBytes, name)
	sent, sentBytes := m.counter(serviceSent, name), m.counter(serviceSentBytes, name)
	queue, wait := m.histogram(serviceQueue, name), m.histogram(serviceCreditWait, name)
	left := m.gauge(serviceDrainLeft, name)
	return service.Hooks{
		SocketOpened: func(string) { sockets.add(1); opened.add(1) },
		SocketClosed: func(_ string, status wire.CloseCode, source wire.CloseSource) {
			sockets.add(-1)
			m.counter(serviceClosed, name, closeCode(status), closeSource(source)).add(1)
		},
		MessageReceived: func(bytes int) { received.add(1); receivedBytes.add(bytes) },
		MessageStarted:  queue.time,
		MessageSent: func(bytes int, waited time.Duration) {
			sent.add(1)
			sentBytes.add(bytes)
			if waited > 0 {
				wait.time(waited)
			}
		},
		Violation: func(v service.Violation) { m.counter(serviceViolations, name, string(v)).add(1) },
		Drained:   func(n, _ int) { left.store(float64(n)) },
		Router:    m.Router(name),
	}
}

// Router returns what fills the instruments of handlers. Service has it already:
// it is for routers that serve WebSockets without a gateway, in
// router.Config.Hooks.
func (m *Metrics) Router(name string) router.Hooks {
	if m == nil {
		return router.Hooks{}
	}
	panics, timeouts, limits := m.counter(servicePanics, name), m.counter(serviceTurnTimeouts, name), m.counter(serviceHandlerLimit, name)
	return router.Hooks{
		Panicked:     func() { panics.add(1) },
		TurnTimedOut: func() { timeouts.add(1) },
		Handled:      m.histogram(serviceHandler, name).time,
		HandlerLimit: func() { limits.add(1) },
	}
}

func closeSource(s wire.CloseSource) string {
	switch s {
	case wire.SourceClient:
		return "client"
	case wire.SourceServer:
		return "server"
	default:
		return "handoff"
	}
}
