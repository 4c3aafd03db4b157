package router

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Router holds what was bound to it and serves sockets with that. It is a Handler,
// OpenHandler and CloseHandler itself, and so can be mounted in another router. All
// methods may be called at any time from any goroutine; a socket sees what is bound
// while it lives from its next message on.
type Router struct {
	mu     sync.Mutex // orders changes
	config atomic.Pointer[Config]
	chain  atomic.Pointer[[]*node]
	opens  atomic.Pointer[[]*node]
	closes atomic.Pointer[[]*node]
	routes atomic.Pointer[routes]
}

// NewRouter returns an empty router with the default [Config].
func NewRouter() *Router {
	r, _ := New(Config{})
	return r
}

// New returns an empty router. The error names every field of config that is wrong.
func New(config Config) (*Router, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("router config: %w", err)
	}
	r := &Router{}
	config.setDefaults()
	r.config.Store(&config)
	r.chain.Store(&[]*node{})
	r.opens.Store(&[]*node{})
	r.closes.Store(&[]*node{})
	r.routes.Store(&routes{})
	return r, nil
}

// SetOrigins sets Config.Origins.
func (r *Router) SetOrigins(origins []string) {
	r.configure(func(c *Config) { c.Origins = slices.Clone(origins) })
}

// SetMaxReadMessageSize sets Config.MaxMessageBytes.
func (r *Router) SetMaxReadMessageSize(n int64) {
	r.configure(func(c *Config) { c.MaxMessageBytes = n })
}

// SetPingInterval sets Config.PingInterval; 0 disables pings.
func (r *Router) SetPingInterval(d time.Duration) {
	r.configure(func(c *Config) {
		if c.PingInterval = d; d == 0 {
			c.PingInterval = -1
		}
	})
}

// SetPingTimeout sets Config.PingTimeout; 0 means the ping interval.
func (r *Router) SetPingTimeout(d time.Duration) {
	r.configure(func(c *Config) {
		if c.PingTimeout = d; d <= 0 {
			c.PingTimeout = max(c.PingInterval, time.Second)
		}
	})
}

func (r *Router) configure(change func(*Config)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *r.config.Load()
	change(&c)
	r.config.Store(&c)
}

// Use adds handlers for all messages, or for those below a mount path if the first
// argument is a string: Use("/api", h) and Use("/api/**", h) are the same. Handlers
// run in the order in which they were added, and each decides by calling Next
// whether those after it run. The paths that a mounted router binds are taken below
// the mount path.
//
// Use panics if a handler has the wrong type or the path is not a pattern.
func (r *Router) Use(handlers ...any) {
	path := "/**"
	if len(handlers) > 0 {
		if mount, ok := handlers[0].(string); ok {
			handlers = handlers[1:]
			path = mount
			if !strings.HasSuffix(mount, "/**") {
				path = strings.TrimSuffix(mount, "/") + "/**"
			}
		}
	}
	r.bind(useNode, path, handlers)
}

// Bind adds handlers for the messages whose path fits the pattern. The route is
// private: it exists for clients that connect to the router directly, not for those
// that come through a gateway. Bind panics like Use.
func (r *Router) Bind(path string, handlers ...any) { r.bind(privateNode, path, handlers) }

// PublicBind is Bind for a route that gateways announce. It panics like Use, and
// also if a handler is a router: mount that with Use, and it announces its own.
func (r *Router) PublicBind(path string, handlers ...any) { r.bind(publicNode, path, handlers) }

// UseOpen adds handlers that run once per socket before its first message. They run
// one after the other until one sets Error or closes the socket; Next is called for
// them. Messages wait until they have returned.
func (r *Router) UseOpen(handlers ...any) { r.add(&r.opens, newNode(openNode, nil, handlers)) }

// UseClose adds handlers that run exactly once per socket when it has ended and its
// other handlers have returned. All of them run, whatever they do.
func (r *Router) UseClose(handlers ...any) { r.add(&r.closes, newNode(closeNode, nil, handlers)) }

// add appends to a chain that others may be walking along.
func (r *Router) add(chain *atomic.Pointer[[]*node], n *node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	longer := append(slices.Clip(*chain.Load()), n)
	chain.Store(&longer)
}

func (r *Router) bind(kind nodeKind, path string, values []any) {
	announcement := &RouteDescriptor{}
	values = slices.DeleteFunc(slices.Clone(values), func(v any) bool {
		switch o := v.(type) {
		case MetadataOption:
			announcement.Metadata = o.value
		case LimitOption:
			o.set(&announcement.Limits)
		}
		_, ok := v.(RouteOption)
		return ok
	})
	pattern, err := NewPattern(path)
	if err != nil {
		panic("router: " + err.Error())
	}
	n := newNode(kind, pattern, values)
	var announced []*RouteDescriptor
	if kind == publicNode {
		announcement.Pattern = pattern
		announced = append(announced, announcement)
	}
	for _, v := range values {
		if sub, ok := v.(RouterHandler); ok {
			if kind == publicNode {
				panic("router: a router cannot be given to PublicBind: mount it with Use, and it announces its own public routes")
			}
			announced = append(announced, below(path, sub)...)
		}
	}
	r.announce(announced)
	for _, v := range values {
		if _, ok := v.(OpenHandler); ok {
			r.UseOpen(v)
		}
		if _, ok := v.(CloseHandler); ok {
			r.UseClose(v)
		}
	}
	r.add(&r.chain, n)
}

// below describes the public routes of a router mounted at path.
func below(path string, sub RouterHandler) []*RouteDescriptor {
	var list []*RouteDescriptor
	for _, d := range sub.RouteDescriptors() {
		p, err := NewPattern(strings.TrimSuffix(path, "/**") + d.Pattern.String())
		if err != nil {
			panic("router: mounted at " + path + ": " + err.Error())
		}
		list = append(list, &RouteDescriptor{Pattern: p, Metadata: d.Metadata, Limits: d.Limits})
	}
	return list
}

// RouteDescriptors lists the public routes, those of mounted routers included, in
// the order in which they were bound.
func (r *Router) RouteDescriptors() []*RouteDescriptor { return r.routes.Load().list }

// Lookup finds the pattern that a handler was bound to, in this router or one that
// is mounted in it; then it is the pattern that the mounted router knows.
func (r *Router) Lookup(handler any) (*Pattern, bool) {
	for _, n := range *r.chain.Load() {
		for i := range n.handlers {
			h := n.handlers[i].value
			if same(h, handler) {
				return n.pattern, true
			}
			if sub, ok := h.(RouterHandler); ok {
				if p, ok := sub.Lookup(handler); ok {
					return p, true
				}
			}
		}
	}
	return nil, false
}

// Handle routes a message of the router above.
func (r *Router) Handle(ctx *Context) { ctx.route(*r.chain.Load()) }

// HandleOpen runs the UseOpen handlers for the router above.
func (r *Router) HandleOpen(ctx *Context) { ctx.route(*r.opens.Load()) }

// HandleClose runs the UseClose handlers for the router above.
func (r *Router) HandleClose(ctx *Context) { ctx.route(*r.closes.Load()) }

var (
	_ RouterHandler = (*Router)(nil)
	_ OpenHandler   = (*Router)(nil)
	_ CloseHandler  = (*Router)(nil)
)
