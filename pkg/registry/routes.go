package registry

import (
	"fmt"
)

// Route is one public path pattern of a service.
type Route struct {
	// Pattern is the route as its author wrote it.
	Pattern string `json:"pattern"`
	// Canonical is Pattern with the names of its parameters erased: two patterns
	// with one canonical form match the same paths.
	Canonical string `json:"canonical"`
}

// Service is what an instance announces about its service.
type Service struct {
	// Name is a slug.
	Name string `json:"name"`
	// Routes are the public routes. A service without any is never pinned by
	// routing, but is announced all the same.
	Routes []Route `json:"routes,omitempty"`
	// Gateways names the gateways that offer the routes; empty means all.
	Gateways []string `json:"gateways,omitempty"`
	// OnInstanceLoss says what becomes of the sockets of an instance that died.
	OnInstanceLoss Policy `json:"onInstanceLoss"`
	// Version is free text about the program, shown to operators; at most 128 bytes.
	Version string `json:"version,omitempty"`
}

// Policy says what becomes of a socket whose instance died.
type Policy string

// The policies. The empty Policy means PolicyClose.
const (
	PolicyClose Policy = "close" // the client's connection is closed with 1012
	PolicyRepin Policy = "repin" // the next message pins the socket again
)

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
