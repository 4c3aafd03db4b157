package metrics

import (
	"slices"
	"strconv"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// ofGateway is what the hooks of a gateway need for each service.
type ofGateway struct {
	received, receivedBytes *counter
	pinFailed               *counter
	pins                    *gauge
	pin, wait, answer       *histogram
}

// unexpected are the causes that neither client, service nor operator wanted.
var unexpected = []string{"client_gone", "peer_timeout", "message_timeout", "slow_consumer", "instance_lost", "overrun", "internal"}

// Gateway returns what fills the instruments of gateways with a name; it goes into
// gateway.Config.Hooks.
func (m *Metrics) Gateway(name string) gateway.Hooks {
	if m == nil {
		return gateway.Hooks{}
	}
	sockets := m.gauge(gatewaySockets, name)
	opened := m.counter(gatewayOpened, name)
	duration := m.histogram(gatewaySocketDuration, name)
	sent, sentBytes := m.counter(gatewaySent, name), m.counter(gatewaySentBytes, name)
	dropped := m.counter(gatewayDropped, name)
	queue := m.histogram(gatewayQueue, name)
	reported := m.histogram(gatewayReported, name)
	left := m.gauge(gatewayDrainLeft, name)
	for _, reason := range unexpected {
		m.counter(gatewayUnexpected, name, reason) // so that 0 shows
	}
	services := newVec(1, func(l labels) *ofGateway {
		return &ofGateway{
			received: m.counter(gatewayReceived, name, l[0]), receivedBytes: m.counter(gatewayReceivedBytes, name, l[0]),
			pinFailed: m.counter(gatewayPinFailed, name, l[0]), pins: m.gauge(gatewayPins, name, l[0]),
			pin: m.histogram(gatewayPin, name, l[0]), wait: m.histogram(gatewayCreditWait, name, l[0]),
			answer: m.histogram(gatewayAnswer, name, l[0]),
		}
	})
	return gateway.Hooks{
		SocketOpened: func() { sockets.add(1); opened.add(1) },
		SocketClosed: func(status wire.CloseCode, reason string, open time.Duration) {
			sockets.add(-1)
			m.counter(gatewayClosed, name, closeCode(status), reason).add(1)
			if slices.Contains(unexpected, reason) {
				m.counter(gatewayUnexpected, name, reason).add(1)
			}
			duration.time(open)
		},
		Refused: func(r gateway.Refusal) { m.counter(gatewayRefused, name, string(r)).add(1) },
		MessagesIn: func(service string, messages, bytes int) {
			s := services.with(service)
			s.received.add(messages)
			s.receivedBytes.add(bytes)
		},
		MessagesOut: func(messages, bytes int) { sent.add(messages); sentBytes.add(bytes) },
		Requests: func(service, pattern string) gateway.Observer {
			total, answer := m.histogram(gatewayRequest, name, service, pattern), services.with(service).answer
			return func(answered, written time.Duration) {
				answer.time(answered)
				total.time(written)
				queue.time(written - answered)
			}
		},
		Limited: func(s gateway.Scope, l gateway.Limit) { m.counter(gatewayLimited, name, string(s), string(l)).add(1) },
		Authenticated: func(method string, took time.Duration) {
			m.histogram(gatewayAuth, name, method).time(took)
		},
		Renewed: func(method string, ok bool) {
			result := "ok"
			if !ok {
				result = "refused"
			}
			m.counter(gatewayRenewals, name, method, result).add(1)
		},
		Reported: reported.time,
		Rejected: func(code wire.ErrorCode) { m.counter(gatewayRejected, name, string(code)).add(1) },
		Pinned: func(service string, took time.Duration, err error) {
			s := services.with(service)
			if err != nil {
				s.pinFailed.add(1)
				return
			}
			s.pins.add(1)
			s.pin.time(took)
		},
		Unpinned: func(service, reason string) {
			services.with(service).pins.add(-1)
			m.counter(gatewayUnpinned, name, service, reason).add(1)
		},
		Throttled: func(service string, d time.Duration) { services.with(service).wait.time(d) },
		Dropped:   func(messages int) { dropped.add(messages) },
		Draining:  func(sockets int) { left.store(float64(sockets)) },
	}
}

// closeCodes are the label values of the registered close codes.
var closeCodes = func() (all [16]string) {
	for i := range all {
		all[i] = strconv.Itoa(1000 + i)
	}
	return all
}()

// closeCode is a close code as a label: clients and services choose from thousands.
func closeCode(status wire.CloseCode) string {
	switch {
	case status == 0:
		return closeCodes[0]
	case status >= 1000 && int(status) < 1000+len(closeCodes):
		return closeCodes[status-1000]
	case status >= 3000 && status < 4000:
		return "3xxx"
	case status >= 4000 && status < 5000:
		return "4xxx"
	default:
		return "other"
	}
}
