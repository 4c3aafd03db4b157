package router

import (
	"fmt"
	"reflect"
)

// Handler handles messages.
type Handler interface {
	Handle(ctx *Context)
}

// HandlerFunc is a function that handles messages. A plain func(*Context) serves
// as well wherever handlers are taken.
type HandlerFunc func(ctx *Context)

// OpenHandler is told when a socket opens. A Handler that is one too needs no
// UseOpen of its own.
type OpenHandler interface {
	HandleOpen(ctx *Context)
}

// CloseHandler is told when a socket closes. A Handler that is one too needs no
// UseClose of its own.
type CloseHandler interface {
	HandleClose(ctx *Context)
}

// RouterHandler is a Handler that routes further. Where it is mounted, its public
// routes become public routes of the router above, below the mount path.
type RouterHandler interface {
	Handler
	RouteDescriptors() []*RouteDescriptor
	Lookup(handler any) (*Pattern, bool)
}

// RouteOption is given to Bind or PublicBind among the handlers and says something
// about the route.
type RouteOption interface{ isRouteOption() }

// MetadataOption is made by [WithMetadata].
type MetadataOption struct{ value any }

func (MetadataOption) isRouteOption() {}

// WithMetadata attaches a value to the descriptor of a public route, for gateways.
func WithMetadata(value any) MetadataOption { return MetadataOption{value} }

type nodeKind uint8

const (
	useNode     nodeKind = iota // by Use: for every socket
	privateNode                 // by Bind: not for sockets that came through a gateway
	publicNode                  // by PublicBind
	openNode
	closeNode
)

// node is one call of Use, Bind, PublicBind, UseOpen or UseClose.
type node struct {
	kind     nodeKind
	pattern  *Pattern // nil in open and close nodes
	handlers []handler
}

type handler struct {
	call   func(*Context)
	value  any  // as it was given
	routes bool // a RouterHandler, which decides by itself what is public
}

// visible reports whether h exists for a socket.
func (n *node) visible(h *handler, public bool) bool {
	return !public || n.kind != privateNode || h.routes
}

func newNode(kind nodeKind, pattern *Pattern, values []any) *node {
	if len(values) == 0 {
		panic("router: no handler given")
	}
	n := &node{kind: kind, pattern: pattern}
	for _, v := range values {
		_, routes := v.(RouterHandler)
		n.handlers = append(n.handlers, handler{call: callable(kind, v), value: v, routes: routes})
	}
	return n
}

func callable(kind nodeKind, value any) func(*Context) {
	want := "Handler"
	switch kind {
	case openNode:
		if h, ok := value.(OpenHandler); ok {
			return h.HandleOpen
		}
		want = "OpenHandler"
	case closeNode:
		if h, ok := value.(CloseHandler); ok {
			return h.HandleClose
		}
		want = "CloseHandler"
	default:
		if h, ok := value.(Handler); ok {
			return h.Handle
		}
	}
	switch h := value.(type) {
	case HandlerFunc:
		return h
	case func(*Context):
		return h
	}
	panic(fmt.Sprintf("router: %T is not a handler: it must be a %s, a HandlerFunc or a func(*Context)", value, want))
}

// same reports whether two handlers are the same function or the same object.
func same(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if !x.IsValid() || !y.IsValid() || x.Kind() != y.Kind() {
		return false
	}
	switch x.Kind() {
	case reflect.Func, reflect.Pointer, reflect.Map, reflect.Chan, reflect.Slice, reflect.UnsafePointer:
		return x.Pointer() == y.Pointer()
	default:
		return x.Comparable() && y.Comparable() && a == b
	}
}
