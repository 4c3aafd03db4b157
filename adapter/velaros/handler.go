package velarosadapter

import (
	"fmt"
	"sync/atomic"

	"github.com/RobertWHurst/velaros"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/service"
)

// The headers, set by the adapter and never taken from a client, that tell a
// Velaros handler what its own API has no place for.
const (
	HeaderSocketID = "Boreas-Socket-Id" // the socket's id, the same in all services
	HeaderGateway  = "Boreas-Gateway"   // the name of the gateway
	HeaderInstance = "Boreas-Instance"  // the node that runs the handlers
	HeaderUser     = "Boreas-User"      // the client's user, empty for an anonymous one
	HeaderClaims   = "Boreas-Claims"    // what its credential says beside that, a JSON object or empty
	HeaderQuery    = "Boreas-Query"     // the query of the handshake's URL
)

// Handler makes a Velaros router the handler of a service: service.New announces
// its PublicBind routes, and each socket drives it through HandleConnection. It
// panics, as binding does, when the service starts and Boreas cannot parse one of
// the router's patterns.
func Handler(r *velaros.Router) service.Handler { return &handler{router: r} }

type handler struct {
	router *velaros.Router
	public atomic.Pointer[[]*router.Pattern] // set by RouteDescriptors, before any socket is served
}

// RouteDescriptors implements service.Handler.
func (h *handler) RouteDescriptors() []*router.RouteDescriptor {
	var descriptors []*router.RouteDescriptor
	var public []*router.Pattern
	for _, d := range h.router.RouteDescriptors() {
		p, err := router.NewPattern(d.Pattern.String())
		if err != nil {
			panic(fmt.Sprintf("velarosadapter: pattern %q: %v", d.Pattern.String(), err))
		}
		public = append(public, p)
		descriptors = append(descriptors, &router.RouteDescriptor{Pattern: p})
	}
	h.public.Store(&public)
	return descriptors
}

// announced reports whether a path belongs to a public route.
func (h *handler) announced(path string) bool {
	public := h.public.Load()
	if public == nil {
		return false
	}
	for _, p := range *public {
		if _, ok := p.Match(path); ok {
			return true
		}
	}
	return false
}

// ServeSocket implements service.Handler.
func (h *handler) ServeSocket(info router.SocketInfo, conn router.Conn) router.SocketHandler {
	encoding, ok := envelope.FromSubprotocol(info.Subprotocol)
	if !ok {
		encoding = envelope.JSON
	}
	s := newSocket(h, conn, encoding)
	headers := info.Headers.Clone()
	if headers == nil {
		headers = map[string][]string{}
	}
	if info.Subprotocol != "" {
		headers.Set("Sec-WebSocket-Protocol", info.Subprotocol)
	}
	headers.Set(HeaderSocketID, info.ID)
	headers.Set(HeaderGateway, info.Gateway)
	headers.Set(HeaderInstance, info.Instance)
	headers.Set(HeaderUser, info.Identity.User)
	headers.Set(HeaderClaims, string(info.Identity.Claims))
	headers.Set(HeaderQuery, info.Query.Encode())
	go func() {
		defer close(s.done)
		h.router.HandleConnection(&velaros.ConnectionInfo{RemoteAddr: info.RemoteAddr, Headers: headers}, s)
	}()
	return s
}
