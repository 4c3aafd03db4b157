package push

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// RequestHandler answers a question of another node. It must not keep body.
type RequestHandler func(ctx context.Context, from wire.Incarnation, body []byte) ([]byte, error)

// question is a request on its way.
type question struct {
	number wire.StreamID
	peer   wire.Incarnation
	done   chan wire.Response // capacity 1
}

// ErrUnanswered says that a node did not answer in time, or is gone.
var ErrUnanswered = errors.New("the node did not answer")

// HandleRequests has handle answer the requests with an op, each in a goroutine of
// its own.
func (h *Hub) HandleRequests(op string, handle RequestHandler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[op] = handle
}

// Request asks another node, or this one, something and returns the answer. Requests
// to one node arrive in order. The error wraps [ErrUnanswered], or is what the
// handler returned.
func (h *Hub) Request(ctx context.Context, node wire.Incarnation, op string, body []byte) ([]byte, error) {
	q := &question{number: wire.StreamID(h.numbers.Add(1)), peer: node, done: make(chan wire.Response, 1)}
	h.mu.Lock()
	h.asked[q.number] = q
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.asked, q.number)
		h.mu.Unlock()
	}()
	if err := h.bp.SendFrame(ctx, node, wire.KindRequest, q.number, wire.Request{Op: op, Body: body}.Append(nil)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnanswered, node, err)
	}
	select {
	case r := <-q.done:
		if r.Error != "" {
			return nil, errors.New(r.Error)
		}
		return r.Body, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %s: %w", ErrUnanswered, node, context.Cause(ctx))
	case <-h.bp.Done():
		return nil, fmt.Errorf("%w: the backplane is closed", ErrUnanswered)
	}
}

// request takes a question of another node.
func (h *Hub) request(from wire.Incarnation, number wire.StreamID, body []byte) {
	r, err := wire.ParseRequest(body)
	if err != nil {
		return
	}
	if r.Op == opShow { // here, so that pushes that come next see it
		h.routes.invalidate(registry.Audience(r.Body))
		h.respond(from, number, nil, nil)
		return
	}
	h.mu.Lock()
	handle := h.handlers[r.Op]
	h.mu.Unlock()
	if handle == nil {
		h.respond(from, number, nil, fmt.Errorf("this node does not answer %q", r.Op))
		return
	}
	go func() {
		ctx, cancel := h.ended(context.Background(), requestTimeout)
		defer cancel()
		answer, err := handle(ctx, from, r.Body)
		h.respond(from, number, answer, err)
	}()
}

// requestTimeout bounds the handling of a request.
const requestTimeout = 30 * time.Second

func (h *Hub) respond(to wire.Incarnation, number wire.StreamID, body []byte, err error) {
	r := wire.Response{Body: body}
	if err != nil {
		r.Error = err.Error()
	}
	_ = h.bp.SendAnswer(to, wire.KindResponse, number, r.Append(nil)) // on an error the asker's link was reset as well
}

// response takes an answer.
func (h *Hub) response(_ wire.Incarnation, number wire.StreamID, body []byte) {
	r, err := wire.ParseResponse(body)
	if err != nil {
		r = wire.Response{Error: err.Error()}
	}
	h.mu.Lock()
	q := h.asked[number]
	h.mu.Unlock()
	if q != nil {
		h.answer(q, r)
	}
}

func (h *Hub) answer(q *question, r wire.Response) {
	select {
	case q.done <- r:
	default: // it has one
	}
}

// opShow tells a watcher that an audience has a further gateway.
const opShow = "show"

// shower returns what the registry calls when Redis has this node's entry of an
// audience: it sees to it that those who looked before look again.
func (h *Hub) shower(a registry.Audience, s *shown) func([]registry.Watcher, error) {
	return func(watchers []registry.Watcher, err error) {
		if err != nil {
			s.end(err)
			return
		}
		h.routes.invalidate(a)
		others := watchers[:0]
		var unknown time.Duration
		for _, w := range watchers {
			switch {
			case w.Node.IsZero() && !s.over():
				unknown = w.Left
			case w.Node.IsZero():
			case w.Node != h.self:
				others = append(others, w)
			}
		}
		switch {
		case len(others) > 0:
			go h.show(a, s, others, unknown)
		case unknown > 0:
			h.hooks.Load().Shown(0, unknown)
			h.holds.add(unknown, s)
		default:
			h.hooks.Load().Shown(0, 0)
			s.end(nil)
		}
	}
}

// show tells watchers and waits until each has answered or its time is over, and that
// of those who are not known any more.
func (h *Hub) show(a registry.Audience, s *shown, watchers []registry.Watcher, unknown time.Duration) {
	start := time.Now()
	told := make(chan struct{}, len(watchers))
	for _, w := range watchers {
		go func() {
			defer func() { told <- struct{}{} }()
			until := start.Add(w.Left)
			ctx, cancel := context.WithDeadline(context.Background(), until)
			defer cancel()
			if _, err := h.Request(ctx, w.Node, opShow, []byte(a)); err == nil {
				return
			}
			select {
			case <-ctx.Done():
			case <-h.bp.Done():
			}
		}()
	}
	for range watchers {
		<-told
	}
	took := max(time.Since(start), unknown)
	h.hooks.Load().Shown(len(watchers), took)
	h.holds.add(took-time.Since(start), s)
}
