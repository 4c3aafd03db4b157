package metrics

import (
	"time"

	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Push returns what fills the instruments of pushes; it goes into [push.Hub.Observe].
func (m *Metrics) Push() push.Hooks {
	if m == nil {
		return push.Hooks{}
	}
	lookup, failed, shown := m.histogram(pushLookup), m.counter(pushLookups), m.histogram(pushShown)
	unsure, forgot := m.counter(pushUnsure), m.counter(pushForgot)
	joined, left := m.counter(pushJoins), m.counter(pushLeaves)
	type ofTarget struct {
		duration                        *histogram
		unanswered, targeted, delivered *counter
	}
	targets := newVec(1, func(l labels) *ofTarget {
		return &ofTarget{
			duration: m.histogram(pushDuration, l[0]), unanswered: m.counter(pushUnanswered, l[0]),
			targeted: m.counter(pushTargeted, l[0]), delivered: m.counter(pushDelivered, l[0]),
		}
	})
	return push.Hooks{
		Sent: func(target wire.TargetKind, r push.Result, took time.Duration) {
			t := targets.with(target.String())
			t.duration.time(took)
			t.unanswered.add(len(r.Unanswered))
		},
		Fanned: func(target wire.TargetKind, targeted, delivered, _ int, _ time.Duration) {
			t := targets.with(target.String())
			t.targeted.add(targeted)
			t.delivered.add(delivered)
		},
		Dropped: func(reason wire.DropReason, sockets int) { m.counter(pushDropped, string(reason)).add(sockets) },
		Looked: func(n int, took time.Duration, err error) {
			lookup.time(took)
			unsure.add(n)
			if err != nil {
				failed.add(1)
			}
		},
		Forgot: forgot.add,
		Shown:  func(_ int, took time.Duration) { shown.time(took) },
		Present: func(in, out int) {
			joined.add(in)
			left.add(out)
		},
	}
}

// API returns what fills the instrument of the push API; it goes into
// pushapi.Config.Called.
func (m *Metrics) API() func(method, caller, code string, took time.Duration) {
	if m == nil {
		return nil
	}
	return func(method, caller, code string, took time.Duration) {
		if code == "unauthenticated" {
			method = "" // anybody's word
		}
		m.histogram(apiRequest, method, caller, code).time(took)
	}
}

// Quota returns what fills the instruments of limits over all gateways; it goes into
// quota.Config.Hooks.
func (m *Metrics) Quota() quota.Hooks {
	if m == nil {
		return quota.Hooks{}
	}
	call, failed, untracked := m.histogram(quotaCall), m.counter(quotaFailed), m.counter(quotaUntracked)
	return quota.Hooks{
		Call: func(_ int, took time.Duration, err error) {
			call.time(took)
			if err != nil {
				failed.add(1)
			}
		},
		Untracked: func() { untracked.add(1) },
	}
}
