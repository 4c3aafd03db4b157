package registry

import (
	"maps"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// View is what this node knows of the cluster: an immutable snapshot.
type View struct {
	// Version grows with each change of routes or members, not with pin counts.
	Version uint64
	// Services holds every announced service by name.
	Services map[string]*ServiceView
	// Gateways are the nodes that are gateways, with the names of those, sorted.
	Gateways map[wire.Incarnation][]string
}

// ServiceView is one service in a View. It must not be changed.
type ServiceView struct {
	Service

	// Instances are the living instances, by node.
	Instances map[wire.NodeID]Instance
	// Gateways are the living gateways that pin sockets to the service. A gateway
	// joins with its first pin.
	Gateways map[wire.Incarnation]struct{}
	// Dead are the incarnations that died or left within the last minute and have no
	// role in this service now.
	Dead map[wire.Incarnation]struct{}
}

// Instance is one instance of a service.
type Instance struct {
	Incarnation wire.Incarnation
	State       State
	Pins        int64 // when the view was last refreshed: about one Poll old at most
	Version     string
}

// Has reports whether i is a living instance of any service or a gateway.
func (v *View) Has(i wire.Incarnation) bool {
	if _, ok := v.Gateways[i]; ok {
		return true
	}
	for _, s := range v.Services {
		if s.has(i) {
			return true
		}
	}
	return false
}

func (s *ServiceView) has(i wire.Incarnation) bool {
	if _, ok := s.Gateways[i]; ok {
		return true
	}
	return s.Instances[i.Node].Incarnation == i
}

// serves reports whether a service has a serving instance.
func (v *View) serves(service string) bool {
	s := v.Services[service]
	if s == nil {
		return false
	}
	for _, i := range s.Instances {
		if i.State == StateServing {
			return true
		}
	}
	return false
}

// Lost lists the incarnations without any role in v that had one in old, or died
// since old was made. Their links can be forgotten.
func (v *View) Lost(old *View) []wire.Incarnation {
	gone := map[wire.Incarnation]struct{}{}
	check := func(i wire.Incarnation) {
		if !v.Has(i) {
			gone[i] = struct{}{}
		}
	}
	for _, s := range old.Services {
		for _, i := range s.Instances {
			check(i.Incarnation)
		}
		for g := range s.Gateways {
			check(g)
		}
	}
	for g := range old.Gateways {
		check(g)
	}
	for name, s := range v.Services {
		for i := range s.Dead {
			before := old.Services[name]
			if before != nil {
				if _, known := before.Dead[i]; known {
					continue
				}
			}
			check(i)
		}
	}
	list := make([]wire.Incarnation, 0, len(gone))
	for i := range gone {
		list = append(list, i)
	}
	return list
}

// members is what the script view.lua says of a service.
type members struct {
	instances map[wire.Incarnation]Instance
	gateways  map[wire.Incarnation]struct{}
	dead      map[member]struct{}
}

// parseMembers reads a full answer of view.lua.
func parseMembers(reply []any) members {
	m := members{
		instances: map[wire.Incarnation]Instance{},
		gateways:  map[wire.Incarnation]struct{}{},
		dead:      map[member]struct{}{},
	}
	entries := texts(at(reply, 3))
	for n := 0; n+1 < len(entries); n += 2 {
		i, err := wire.ParseIncarnation(entries[n])
		if err != nil {
			continue
		}
		state, version, _ := strings.Cut(entries[n+1], " ")
		m.instances[i] = Instance{Incarnation: i, State: State(state), Version: version}
	}
	leases := texts(at(reply, 4))
	for n := 0; n+1 < len(leases); n += 2 {
		holder, err := parseMember(leases[n])
		if deadline := number(leases[n+1]); err == nil && holder.kind == KindGateway && deadline > 0 {
			m.gateways[holder.incarnation] = struct{}{}
		}
	}
	for _, s := range texts(at(reply, 5)) {
		if holder, err := parseMember(s); err == nil {
			holder.generation = 0
			m.dead[holder] = struct{}{}
		}
	}
	return m
}

// parseCounts reads how many pins name each instance.
func parseCounts(flat []string) map[wire.Incarnation]int64 {
	counts := make(map[wire.Incarnation]int64, len(flat)/2)
	for n := 0; n+1 < len(flat); n += 2 {
		if i, err := wire.ParseIncarnation(flat[n]); err == nil {
			counts[i] = number(flat[n+1])
		}
	}
	return counts
}

// number reads a score.
func number(s string) int64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return int64(f)
}

// build makes the view of a service from what Redis says now and the view before.
// A member that Redis does not list any more is gone if Redis remembers its death,
// or if it has been missing for the whole of ttl; until then it stays, because
// Redis may just have lost data that the member will write again. missing holds
// since when, and is updated.
func build(s Service, m members, counts map[wire.Incarnation]int64, prev *ServiceView, missing map[member]time.Time, now time.Time, ttl time.Duration) *ServiceView {
	v := &ServiceView{
		Service:   s,
		Instances: make(map[wire.NodeID]Instance, len(m.instances)),
		Gateways:  maps.Clone(m.gateways),
		Dead:      map[wire.Incarnation]struct{}{},
	}
	for i, instance := range m.instances {
		delete(missing, instanceMember(i))
		if have, ok := v.Instances[i.Node]; !ok || have.Incarnation.Epoch < i.Epoch {
			v.Instances[i.Node] = instance
		}
	}
	for g := range m.gateways {
		delete(missing, gatewayMember(g, 0))
	}
	holds := func(who member) bool {
		if _, died := m.dead[who]; died {
			delete(missing, who)
			return false
		}
		since, known := missing[who]
		if !known {
			since = now
			missing[who] = now
		}
		if now.Sub(since) >= ttl {
			delete(missing, who)
			return false
		}
		return true
	}
	if prev != nil {
		for node, instance := range prev.Instances {
			if _, ok := m.instances[instance.Incarnation]; ok {
				continue
			}
			if _, later := v.Instances[node]; !later && holds(instanceMember(instance.Incarnation)) {
				v.Instances[node] = instance
			}
		}
		for g := range prev.Gateways {
			if _, ok := m.gateways[g]; !ok && holds(gatewayMember(g, 0)) {
				v.Gateways[g] = struct{}{}
			}
		}
	}
	for node, instance := range v.Instances {
		instance.Pins = counts[instance.Incarnation]
		v.Instances[node] = instance
	}
	for who := range m.dead {
		if !v.has(who.incarnation) {
			v.Dead[who.incarnation] = struct{}{}
		}
	}
	return v
}

// sameMembers reports whether two views of a service differ in pin counts only.
func sameMembers(a, b *ServiceView) bool {
	if a == nil || b == nil {
		return a == b
	}
	if len(a.Instances) != len(b.Instances) || !maps.Equal(a.Gateways, b.Gateways) || !maps.Equal(a.Dead, b.Dead) {
		return false
	}
	for node, i := range a.Instances {
		other := b.Instances[node]
		if other.Pins = i.Pins; other != i {
			return false
		}
	}
	return reflect.DeepEqual(a.Service, b.Service)
}
