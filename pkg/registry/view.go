package registry

import (
	"github.com/boreas-ws/boreas/pkg/wire"
)

// View is what this node knows of the cluster: an immutable snapshot.
type View struct {
	// Version grows with each change of routes or members, not with pin counts.
	Version uint64
	// Services holds every known service by name.
	Services map[string]*ServiceView
}

// ServiceView is one service in a View. It must not be changed.
type ServiceView struct {
	Service

	// Instances are the living instances, by node.
	Instances map[wire.NodeID]Instance
	// Gateways are the living gateways that have joined the service in order to
	// pin sockets to it.
	Gateways map[wire.Incarnation]struct{}
	// Dead are the incarnations that lost a role in this service within the last
	// minute and have none in it now.
	Dead map[wire.Incarnation]struct{}
}

// Instance is one instance of a service.
type Instance struct {
	Incarnation wire.Incarnation
	State       State
	Pins        int64 // when the view was last refreshed: one poll old at most
	Version     string
}

// State says whether an instance takes new pins.
type State string

// The states of an instance.
const (
	StateServing  State = "serving"  // takes new pins
	StateDraining State = "draining" // keeps its pins and takes no new ones
)
