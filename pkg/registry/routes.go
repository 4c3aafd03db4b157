package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Route is one public path pattern of a service.
type Route struct {
	// Pattern is the route as its author wrote it.
	Pattern string `json:"pattern"`
	// Canonical is Pattern with the names of its parameters erased: two patterns
	// with one canonical form match the same paths.
	Canonical string `json:"canonical"`
	// Limits are what gateways check of the route's messages.
	Limits RouteLimits `json:"limits,omitzero"`
}

// RouteLimits are what gateways check of the messages of a route before they send
// them on. The zero value is no limit.
type RouteLimits struct {
	// Rate is how many messages a second one socket may send, Burst how many at
	// once; a Burst of 0 is two seconds' worth.
	Rate  float64 `json:"rate,omitempty"`
	Burst int     `json:"burst,omitempty"`
	// MaxBytes bounds a message, the envelope included.
	MaxBytes int `json:"maxBytes,omitempty"`
	// Schema is the text of a JSON Schema that the data must fit.
	Schema string `json:"schema,omitempty"`
}

// Service is what an instance announces about its service. If instances announce
// different things (during a deployment), the latest started living one's hold.
type Service struct {
	// Name is a slug.
	Name string `json:"name"`
	// Routes are the public routes. A service without any is never reached by
	// routing, but is announced all the same.
	Routes []Route `json:"routes,omitempty"`
	// Gateways names the gateways that offer the routes; empty means all.
	Gateways []string `json:"gateways,omitempty"`
	// OnInstanceLoss says what becomes of the sockets of an instance that died.
	// Default PolicyClose.
	OnInstanceLoss Policy `json:"onInstanceLoss"`
	// Version is free text about the program, shown to operators; at most 128 bytes.
	Version string `json:"version,omitempty"`
}

// Policy says what becomes of a socket whose instance died.
type Policy string

// The policies.
const (
	PolicyClose Policy = "close" // the client's connection is closed with 1012
	PolicyRepin Policy = "repin" // the next message pins the socket again
)

const (
	maxRoutes  = 4096
	maxPattern = 1024      // bytes
	maxVersion = 128       // bytes
	maxSchemas = 256 << 10 // bytes of all schemas of a service: every gateway reads them
)

// validate reports everything that is wrong with s.
func (s Service) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := wire.ValidateSlug(s.Name); err != nil {
		bad("the name %w", err)
	}
	for _, g := range s.Gateways {
		if err := wire.ValidateSlug(g); err != nil {
			bad("gateway name %w", err)
		}
	}
	if len(s.Routes) > maxRoutes {
		bad("%d routes; the limit is %d", len(s.Routes), maxRoutes)
	}
	seen, schemas := map[string]string{}, 0
	for _, route := range s.Routes {
		switch other, taken := seen[route.Canonical]; {
		case !strings.HasPrefix(route.Pattern, "/") || !strings.HasPrefix(route.Canonical, "/"):
			bad("route %q (canonical %q) does not start with '/'", route.Pattern, route.Canonical)
		case len(route.Pattern) > maxPattern || len(route.Canonical) > maxPattern:
			bad("route %.40q... is longer than %d bytes", route.Pattern, maxPattern)
		case taken:
			bad("routes %q and %q match the same paths", other, route.Pattern)
		}
		seen[route.Canonical] = route.Pattern
		if l := route.Limits; !(l.Rate >= 0 && l.Rate < 1<<40) || l.Burst < 0 || l.MaxBytes < 0 || l.Burst > 0 && l.Rate == 0 {
			bad("route %q: a rate of %v with a burst of %d, and at most %d bytes, are no limits", route.Pattern, l.Rate, l.Burst, l.MaxBytes)
		}
		schemas += len(route.Limits.Schema)
	}
	if schemas > maxSchemas {
		bad("the schemas have %d bytes together; the limit is %d", schemas, maxSchemas)
	}
	if s.OnInstanceLoss != PolicyClose && s.OnInstanceLoss != PolicyRepin {
		bad("OnInstanceLoss is %q; allowed are %q and %q", s.OnInstanceLoss, PolicyClose, PolicyRepin)
	}
	if len(s.Version) > maxVersion {
		bad("the version has %d bytes; the limit is %d", len(s.Version), maxVersion)
	}
	return errors.Join(errs...)
}

// ErrRouteConflict says that a living service already announces an equal pattern
// to at least one of the same gateways.
type ErrRouteConflict struct {
	Pattern string // the pattern that was refused
	Owner   string // the service that has it
}

// Error names the pattern, its owner and the remedy.
func (e *ErrRouteConflict) Error() string {
	return fmt.Sprintf("route %q is announced by service %q already; change the pattern, or announce to other gateways", e.Pattern, e.Owner)
}

// routeMember names what this node announces about a service, or about itself as
// a gateway.
func (r *Registry) routeMember(service string) string { return service + "/" + r.self() }

func (k routeKeys) all() []string {
	return []string{k.announcements, k.routes, k.leases, k.clock, k.version}
}

// announceRoutes writes what this node announces about a service.
func (r *Registry) announceRoutes(ctx context.Context, service string, announcement []byte) error {
	c := &call{
		script: scriptRouteAnnounce, keys: r.keys.routes().all(),
		args: []any{r.routeMember(service), string(announcement), ms(r.cfg.LeaseTTL), r.keys.events()}, n: 1,
	}
	if err := r.exec(ctx, c); err != nil {
		return err
	}
	if text(at(c.reply, 0)) == "conflict" {
		return &ErrRouteConflict{Pattern: text(at(c.reply, 1)), Owner: text(at(c.reply, 2))}
	}
	return nil
}

// withdrawRoutes takes what this node announced back.
func (r *Registry) withdrawRoutes(ctx context.Context, service string) error {
	return r.exec(ctx, &call{
		script: scriptRouteWithdraw, keys: r.keys.routes().all(),
		args: []any{r.keys.events(), r.routeMember(service)}, n: 1,
	})
}

// routeBeat renews what this node announced about services; its answer lists
// those that Redis does not know any more.
func (r *Registry) routeBeat(services []string) *call {
	args := make([]any, 0, 2+len(services))
	args = append(args, ms(r.cfg.LeaseTTL), r.keys.events())
	for _, s := range services {
		args = append(args, r.routeMember(s))
	}
	return &call{script: scriptRouteBeat, keys: r.keys.routes().all(), args: args, n: len(services)}
}

// parseRoutes reads the route table.
func parseRoutes(flat []string) (map[string]Service, error) {
	routes := make(map[string]Service, len(flat)/2)
	var errs []error
	for n := 0; n+1 < len(flat); n += 2 {
		var s Service
		if err := json.Unmarshal([]byte(flat[n+1]), &s); err != nil {
			errs = append(errs, fmt.Errorf("service %q: %w", flat[n], err))
			continue
		}
		s.Name = flat[n]
		routes[s.Name] = s
	}
	return routes, errors.Join(errs...)
}
