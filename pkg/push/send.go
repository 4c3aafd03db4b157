package push

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Message is what is pushed, and to whom.
type Message = router.Push

// Result says what became of a push.
type Result = router.PushResult

const (
	// DefaultTimeout is the default of Message.Timeout.
	DefaultTimeout = 5 * time.Second
	// resultGrace is how much longer than a push's timeout its result is waited for.
	resultGrace = 500 * time.Millisecond
	// maxFlight is how many bytes of pushes without a result a sender has on their way
	// to one gateway: less than a link's window, which others share.
	maxFlight = 512 << 10
	// flightOverhead is what a push counts beside its length.
	flightOverhead = 256
)

// Pending is a push on its way.
type Pending struct {
	hub      *Hub
	number   wire.StreamID
	target   wire.TargetKind
	waits    bool // for clients that do not keep up
	cost     int
	start    time.Time
	deadline time.Time // of the result

	gateways map[wire.Incarnation]*flow // guarded by hub.mu: without a result; nil before it is on its way
	result   Result                     // guarded by hub.mu until done is closed
	done     chan struct{}
}

// Push sends a message and returns its result, as [Hub.Send] and [Pending.Wait].
func (h *Hub) Push(ctx context.Context, m Message) (Result, error) {
	p, err := h.Send(ctx, m)
	if err != nil {
		return Result{}, err
	}
	return p.Wait(ctx)
}

// Send sends a message to the gateways that have sockets of its target, and returns
// when it is on its way to all of them. Messages that are sent one after the other
// reach each socket in that order. It blocks while too many pushes to one of the
// gateways are without a result, up to the message's timeout: after that, the gateway
// counts as unanswered. An error says that nothing was sent.
func (h *Hub) Send(ctx context.Context, m Message) (*Pending, error) {
	body, err := encode(&m)
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	p := &Pending{
		hub: h, target: m.To.Kind, waits: m.Policy == wire.PolicyWait, cost: len(body) + flightOverhead, start: time.Now(), done: make(chan struct{}),
		number: wire.StreamID(h.numbers.Add(1)), gateways: map[wire.Incarnation]*flow{},
	}
	limit := p.start.Add(m.Timeout)
	p.deadline = limit.Add(resultGrace)
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	hosts, err := h.resolve(ctx, m.To)
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	p.result.Gateways = len(hosts)
	h.mu.Lock()
	for _, g := range hosts {
		p.gateways[g] = nil
	}
	if len(hosts) == 0 {
		close(p.done)
	} else {
		h.waiting[p.number] = p
	}
	h.mu.Unlock()
	var late []wire.Incarnation
	for _, g := range hosts { // first those that take it at once
		if !h.send(expired, p, g, body) {
			late = append(late, g)
		}
	}
	for _, g := range late {
		if !h.send(ctx, p, g, body) {
			h.settle(p, g, nil)
		}
	}
	return p, nil
}

// expired is a context for what must not wait.
var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// send sends a push to one gateway. It reports false if that was not possible before
// ctx ended.
func (h *Hub) send(ctx context.Context, p *Pending, g wire.Incarnation, body []byte) bool {
	f := h.flowTo(flowKey{g, p.waits})
	if !f.begin(ctx) { // so that a push that waits for room is not overtaken
		return false
	}
	defer f.end()
	room, stalled := f.take(ctx, p.cost)
	if !room {
		return false
	}
	h.mu.Lock()
	_, open := p.gateways[g]
	if open {
		p.gateways[g] = f
	}
	h.mu.Unlock()
	if !open { // reset meanwhile
		f.give(p.cost)
		return true
	}
	if h.bp.SendFrame(ctx, g, wire.KindPush, p.number, body) != nil {
		h.mu.Lock()
		if p.gateways[g] != nil { // no reset meanwhile
			p.gateways[g] = nil
		}
		h.mu.Unlock()
		f.give(p.cost)
		return false
	}
	if stalled {
		h.settle(p, g, nil)
	}
	return true
}

// Wait returns the result when it is complete, or at the end of the push's timeout
// with what is known. If ctx ends before, it returns what is known and ctx's error.
func (p *Pending) Wait(ctx context.Context) (Result, error) {
	timer := time.NewTimer(time.Until(p.deadline))
	defer timer.Stop()
	var err error
	select {
	case <-p.done:
	case <-timer.C:
	case <-p.hub.bp.Done():
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.hub.giveUp(p)
	return p.result, err
}

// Done is closed when the result is complete. The end of the timeout is noticed by
// Wait only.
func (p *Pending) Done() <-chan struct{} { return p.done }

// giveUp counts the gateways that have not answered as such.
func (h *Hub) giveUp(p *Pending) {
	h.mu.Lock()
	missing := slices.Collect(maps.Keys(p.gateways))
	h.mu.Unlock()
	late := !time.Now().Before(p.deadline)
	for _, g := range missing {
		if late {
			h.setStalled(g, true)
		}
		h.settle(p, g, nil)
	}
}

// answered takes the result of a push.
func (h *Hub) answered(from wire.Incarnation, number wire.StreamID, body []byte) {
	r, err := wire.ParsePushResult(body)
	if err != nil {
		return
	}
	h.setStalled(from, false)
	h.mu.Lock()
	p := h.waiting[number]
	h.mu.Unlock()
	if p != nil {
		h.settle(p, from, &r)
	}
}

// settle notes a gateway's result; nil: there is none.
func (h *Hub) settle(p *Pending, g wire.Incarnation, r *wire.PushResult) {
	h.mu.Lock()
	f, ok := p.gateways[g]
	if !ok {
		h.mu.Unlock()
		return
	}
	delete(p.gateways, g)
	p.add(g, r)
	complete := len(p.gateways) == 0
	if complete {
		delete(h.waiting, p.number)
		close(p.done)
	}
	h.mu.Unlock()
	if f != nil {
		f.give(p.cost)
	}
	if complete {
		h.hooks.Load().Sent(p.target, p.result, time.Since(p.start))
	}
}

// add adds a gateway's result. hub.mu is held.
func (p *Pending) add(g wire.Incarnation, r *wire.PushResult) {
	if r == nil {
		p.result.Unanswered = append(p.result.Unanswered, string(g.Node))
		return
	}
	p.result.Targeted += int(r.Targeted)
	p.result.Delivered += int(r.Delivered)
	p.result.Local += p.hub.local(g, int(r.Delivered))
	p.result.Queued += int(r.Queued)
	for _, d := range r.Dropped {
		if p.result.Dropped == nil {
			p.result.Dropped = map[wire.DropReason]int{}
		}
		p.result.Dropped[d.Reason] += int(d.Count)
	}
}

// resolve returns the gateways' nodes that a target is on.
func (h *Hub) resolve(ctx context.Context, t wire.Target) ([]wire.Incarnation, error) {
	switch t.Kind {
	case wire.TargetUser:
		return h.routes.hosts(ctx, registry.UserAudience(t.Name))
	case wire.TargetGroup:
		return h.routes.hosts(ctx, registry.GroupAudience(t.Name))
	}
	living := h.registry.View().Gateways
	var list []wire.Incarnation
	if t.Kind == wire.TargetSocket {
		node, ok := nodeOf(wire.SocketID(t.Name))
		for g := range living {
			if ok && g.Node == node && (len(list) == 0 || list[0].Epoch < g.Epoch) {
				list = []wire.Incarnation{g}
			}
		}
		return list, nil
	}
	for g, names := range living {
		if t.Kind == wire.TargetAll || slices.Contains(names, t.Name) {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, compareIncarnations)
	return list, nil
}

func compareIncarnations(a, b wire.Incarnation) int {
	return cmp.Or(strings.Compare(string(a.Node), string(b.Node)), cmp.Compare(a.Epoch, b.Epoch))
}

// encode checks a message, fills in defaults and returns the body of its frames.
func encode(m *Message) ([]byte, error) {
	if m.Timeout == 0 {
		m.Timeout = DefaultTimeout
	}
	if m.Key == "" {
		m.Key = m.Path
	}
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(m.To.Kind >= wire.TargetSocket && m.To.Kind <= wire.TargetGateway, "To is missing")
	check(m.To.Kind == wire.TargetAll || m.To.Name != "", "the target has no name")
	check(len(m.To.Name) <= wire.MaxTargetName, "the target's name has %d bytes; the limit is %d", len(m.To.Name), wire.MaxTargetName)
	check(len(m.Except)+len(m.ExceptUsers) <= wire.MaxExcept, "%d exceptions; the limit is %d", len(m.Except)+len(m.ExceptUsers), wire.MaxExcept)
	check(len(m.Path) <= envelope.MaxPathLen, "the path has %d bytes; the limit is %d", len(m.Path), envelope.MaxPathLen)
	check(len(m.Key) <= envelope.MaxPathLen, "the key has %d bytes; the limit is %d", len(m.Key), envelope.MaxPathLen)
	check(m.Policy <= wire.PolicyLatest, "there is no policy %d", m.Policy)
	check(m.Timeout > 0 && m.Timeout <= router.MaxPushTimeout, "the timeout is %v; allowed is up to %v", m.Timeout, router.MaxPushTimeout)
	data, err := encodeData(m.Data)
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	p := wire.Push{
		Target: m.To, ExceptUsers: m.ExceptUsers, Policy: m.Policy, Key: m.Key, Path: m.Path,
		TimeoutMS: uint32(m.Timeout.Milliseconds()), Data: data,
	}
	for _, id := range m.Except {
		p.Except = append(p.Except, wire.SocketID(id))
	}
	body := p.Append(nil)
	if len(body) > maxFlight {
		return nil, fmt.Errorf("%w: %d bytes; the limit is %d", ErrTooLarge, len(body), maxFlight)
	}
	return body, nil
}

// encodeData encodes what a message carries.
func encodeData(data any) ([]wire.PushData, error) {
	switch v := data.(type) {
	case nil:
		return nil, nil
	case router.Raw:
		return []wire.PushData{{Encoding: byte(envelope.JSON), Bytes: v}}, nil
	case router.Payloads:
		list := make([]wire.PushData, 0, len(v))
		for _, e := range slices.Sorted(maps.Keys(v)) {
			if !e.Valid() {
				return nil, fmt.Errorf("data in an unknown encoding: %d", e)
			}
			list = append(list, wire.PushData{Encoding: byte(e), Bytes: v[e]})
		}
		return list, nil
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return []wire.PushData{{Encoding: byte(envelope.JSON), Bytes: text}}, nil
}
