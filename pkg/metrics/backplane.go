package metrics

import (
	"maps"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/redisbus"
	"github.com/boreas-ws/boreas/pkg/registry"
)

// Backplane returns what fills the instruments of links, bus and registry; it goes
// into backplane.Config.Hooks. Several backplanes in one process add up.
func (m *Metrics) Backplane() backplane.Hooks {
	if m == nil {
		return backplane.Hooks{}
	}
	var own *backplane.Backplane
	return backplane.Hooks{
		Dropped: func(d backplane.Drop) { m.counter(backplaneDropped, string(d)).add(1) },
		Opened: func(b *backplane.Backplane) {
			m.mu.Lock()
			defer m.mu.Unlock()
			own = b
			m.planes = append(m.planes, b)
		},
		Closed: func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.planes = slices.DeleteFunc(m.planes, func(b *backplane.Backplane) bool { return b == own })
		},
		Bus:      m.bus(),
		Link:     m.link(),
		Registry: m.registry(),
	}
}

func (m *Metrics) bus() redisbus.Hooks {
	took, canary := m.histogram(busPublish), m.histogram(busCanary)
	datagrams, bytes := m.counter(busDatagrams), m.counter(busBytes)
	failed, subscribed := m.counter(busFailed), m.counter(busSubscribed)
	return redisbus.Hooks{
		Published: func(n, size int, d time.Duration) {
			datagrams.add(n)
			bytes.add(size)
			took.time(d)
		},
		PublishFailed:    func(n int) { failed.add(n) },
		Subscribed:       func() { subscribed.add(1) },
		SubscriptionLost: func(l redisbus.Loss) { m.counter(busLost, string(l)).add(1) },
		Canary:           canary.time,
	}
}

func (m *Metrics) link() link.Hooks {
	sent, sentBytes := m.counter(linkFramesSent), m.counter(linkBytesSent)
	received, receivedBytes := m.counter(linkFramesReceived), m.counter(linkBytesReceived)
	batch, batchBytes := m.histogram(linkBatch), m.histogram(linkBatchBytes)
	retransmits, duplicates := m.counter(linkRetransmits), m.counter(linkDuplicates)
	gaps, probes := m.counter(linkGaps), m.counter(linkProbes)
	rtt, full := m.histogram(linkRTT), m.histogram(linkWindowFull)
	return link.Hooks{
		Sent: func(frames, bytes int) {
			sent.add(frames)
			sentBytes.add(bytes)
			batch.size(frames)
			batchBytes.size(bytes)
		},
		Received:      func(frames, bytes int) { received.add(frames); receivedBytes.add(bytes) },
		Retransmitted: func(int, int) { retransmits.add(1) },
		Duplicate:     func(frames int) { duplicates.add(frames) },
		Gap:           func(frames int) { gaps.add(frames) },
		Probed:        func() { probes.add(1) },
		Rejected:      func(r link.Rejection) { m.counter(linkRejected, string(r)).add(1) },
		WindowFull:    full.time,
		RTT:           rtt.time,
		Reset:         func(c link.Cause) { m.counter(linkResets, c.String()).add(1) },
	}
}

func (m *Metrics) registry() registry.Hooks {
	reaped, rewritten := m.counter(registryReaped), m.counter(registryRewritten)
	return registry.Hooks{
		Call: func(script string, _ int, took time.Duration, err error) {
			m.histogram(registryScript, script).time(took)
			if err != nil {
				m.counter(registryErrors, script).add(1)
			}
		},
		Joined: func(_ string, kind registry.MemberKind, cause registry.Cause, _ int) {
			m.counter(registryJoins, string(kind), string(cause)).add(1)
		},
		Reaped: func(_ string, kind registry.MemberKind, pins int) {
			m.counter(registryReaps, string(kind)).add(1)
			reaped.add(pins)
		},
		Rewritten: rewritten.add,
	}
}

// sample sets the gauges of what no hook tells. gathering is held.
func (m *Metrics) sample() {
	m.gauge(processGoroutines).store(float64(runtime.NumGoroutine()))
	m.mu.Lock()
	planes := slices.Clone(m.planes)
	m.mu.Unlock()
	if len(planes) == 0 {
		return
	}
	var peers, frames, bytes, waiting int
	var age time.Duration
	margin, leased := time.Duration(math.MaxInt64), false
	for _, b := range planes {
		for _, l := range b.Mesh().Links() {
			s := l.Stats()
			peers++
			frames += s.UnackedFrames
			bytes += s.UnackedBytes
			waiting += s.Waiting
		}
		age = max(age, b.CanaryAge())
		if left, ok := b.Registry().LeaseMargin(); ok {
			margin, leased = min(margin, left), true
		}
	}
	m.gauge(linkPeers).store(float64(peers))
	m.gauge(linkInFlight).store(float64(frames))
	m.gauge(linkInFlightBytes).store(float64(bytes))
	m.gauge(linkWaiting).store(float64(waiting))
	m.gauge(busCanaryAge).store(age.Seconds())
	if leased {
		m.gauge(registryMargin).store(margin.Seconds())
	}
	m.sampleView(planes[0].Registry().View())
}

// sampleView tells how the sockets are spread over the instances.
func (m *Metrics) sampleView(v *registry.View) {
	m.gauges[registryInstances].forget()
	m.gauges[registryPins].forget()
	m.gauges[registrySpread].forget()
	for name, s := range v.Services {
		var pins, least, most int64
		least = math.MaxInt64
		for i := range maps.Values(s.Instances) {
			m.gauge(registryInstances, name, string(i.State)).add(1)
			pins += i.Pins
			if i.State == registry.StateServing {
				least, most = min(least, i.Pins), max(most, i.Pins)
			}
		}
		m.gauge(registryPins, name).store(float64(pins))
		m.gauge(registrySpread, name).store(float64(max(most-least, 0)))
	}
}
