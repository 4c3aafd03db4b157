package router

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
)

// Next runs the handlers after the current one, as far as they fit the message and
// each calls Next in turn, and returns when they have returned. It does nothing if
// Error is set, the socket is closed, or it was called before by this handler.
func (c *Context) Next() {
	h := c.advance()
	if h == nil {
		return
	}
	c.exec(h)
	c.mu.Lock()
	f := c.f
	if f == nil {
		c.mu.Unlock()
		return
	}
	kind := f.kind
	if kind == publicNode {
		f.called = true
	}
	c.mu.Unlock()
	if kind != publicNode {
		c.Next() // UseOpen and UseClose handlers need not call it
		c.with(func(f *frame) { f.called = true })
	}
}

// advance moves to the next handler and returns it; nil if there is none to run.
func (c *Context) advance() *handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.f
	if f == nil || f.called {
		return nil
	}
	s := f.run.socket
	switch f.kind {
	case closeNode:
	case openNode:
		if c.Error != nil || s.closedByHandler() {
			return nil
		}
	default:
		if c.Error != nil || s.stopping.Load() || !f.admitted() {
			return nil
		}
	}
	if f.message.hasSetPath {
		f.message.hasSetPath = false
		if f.matched && !f.match(f.chain[f.at]) {
			f.skip()
		}
	}
	for f.at < len(f.chain) {
		n := f.chain[f.at]
		if !f.matched && !f.match(n) {
			f.skip()
			continue
		}
		f.matched = true
		if f.next == len(n.handlers) {
			f.skip()
			continue
		}
		h := &n.handlers[f.next]
		if !n.visible(h, s.info.Public) {
			f.next++
			continue
		}
		if f.handOver(n) {
			return nil
		}
		f.next++
		if n.kind == privateNode || n.kind == publicNode {
			f.run.bound = f.run.bound || !h.routes
		}
		return h
	}
	f.ended = true
	return nil
}

func (f *frame) skip() {
	f.at++
	f.next, f.matched = 0, false
}

// match reports whether the message fits a node, and keeps the parameters if so. In
// a mounted router the pattern is taken below the mount path; one that repeats the
// mount path is understood as well.
func (f *frame) match(n *node) bool {
	if n.pattern == nil {
		return true
	}
	path := f.message.Path
	base := min(f.base, len(path))
	var room [4]string
	values, rest, ok := n.pattern.match(path[base:], room[:0])
	if !ok && base > 0 {
		base = 0
		values, rest, ok = n.pattern.match(path, room[:0])
	}
	if !ok {
		return false
	}
	f.pattern, f.values = n.pattern, append(f.room[:0], values...)
	f.rest = len(path)
	if n.pattern.mounts() {
		f.rest = base + rest
	}
	return true
}

// mounts reports whether the pattern ends with /**.
func (p *Pattern) mounts() bool {
	if len(p.segments) == 0 {
		return false
	}
	last := &p.segments[len(p.segments)-1]
	return p.whole == nil && last.kind == anything && last.repeat == anyTimes && last.name == ""
}

// admitted reports whether the message may go on: messages that came through a
// gateway need a path that is a public route. Before middleware has decoded the
// path, nothing can be said.
func (f *frame) admitted() bool {
	r := f.run
	if f.checked || f.message.Path == "" || !r.socket.info.Public || r.answerTo != nil {
		return !r.refused
	}
	f.checked = true
	if f.above == nil && !r.socket.router.routes.Load().has(f.message.Path) {
		r.refused = true
	}
	return !r.refused
}

// exec runs a handler and turns a panic into an error.
func (c *Context) exec(h *handler) {
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
		}
	}()
	h.call(c)
}

func (c *Context) panicked(v any) {
	err, ok := v.(error)
	if !ok {
		err = fmt.Errorf("%v", v)
	}
	c.Error, c.ErrorStack = err, stack()
	c.with(func(f *frame) {
		f.run.mu.Lock()
		f.run.sendsBefore = f.run.sends
		f.run.mu.Unlock()
		s := f.run.socket
		call(s.config.Hooks.Panicked)
		s.config.logger().Error("a handler panicked", slog.String("socket", s.info.ID),
			slog.String("path", f.message.Path), slog.Any("error", err), slog.String("stack", c.ErrorStack))
	})
}

// stack returns where the panic being recovered happened, without the frames of
// the recovery.
func stack() string {
	s := string(debug.Stack())
	if _, after, ok := strings.Cut(s, "\npanic("); ok {
		if _, after, ok = strings.Cut(after, "\n"); ok { // the arguments
			if _, after, ok = strings.Cut(after, "\n"); ok { // the source line
				return after
			}
		}
	}
	return s
}
