package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// State says whether an instance takes new pins.
type State string

// The states of an instance.
const (
	StateServing  State = "serving"  // takes new pins
	StateDraining State = "draining" // keeps its pins and takes no new ones
)

// instance is a service that this node serves.
type instance struct {
	service      Service
	state        State
	announcement []byte // service as JSON
	refused      string // why it could not be announced again, as logged last
}

// entry is the instance's value in Redis.
func (i *instance) entry() string { return string(i.state) + " " + i.service.Version }

// Announce makes this node a serving instance of s.Name, or changes what it
// announced. It fails with *[ErrRouteConflict] if another living service has an
// equal pattern for one of the same gateways, and then changes nothing.
// [ErrSuperseded] says that a later start of this node serves already.
func (r *Registry) Announce(ctx context.Context, s Service) error {
	if s.OnInstanceLoss == "" {
		s.OnInstanceLoss = PolicyClose
	}
	if err := s.validate(); err != nil {
		return fmt.Errorf("announce service %q: %w", s.Name, err)
	}
	announcement, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("announce service %q: %w", s.Name, err)
	}
	if err := r.lock(ctx); err != nil {
		return fmt.Errorf("announce service %q: %w", s.Name, err)
	}
	defer r.unlock()

	i := &instance{service: s, state: StateServing, announcement: announcement}
	err = r.persist(ctx, func(ctx context.Context) error {
		if err := r.announceRoutes(ctx, s.Name, i.announcement); err != nil {
			return err
		}
		return r.announceInstance(ctx, i)
	})
	if err == nil {
		r.instances[s.Name] = i
		r.cfg.Hooks.Joined(s.Name, KindInstance, CauseJoin, 0)
		return nil
	}
	if old := r.instances[s.Name]; old == nil && !errors.As(err, new(*ErrRouteConflict)) {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.CallTimeout)
		defer cancel()
		_ = r.withdraw(undo, s.Name) // else the lease, which nobody renews, ends it
	}
	return fmt.Errorf("announce service %q: %w", s.Name, err)
}

// announceInstance writes this node's entry in the service.
func (r *Registry) announceInstance(ctx context.Context, i *instance) error {
	name := i.service.Name
	k := r.keys.service(name)
	c := &call{
		script: scriptAnnounce,
		keys:   []string{k.instances, k.counts, k.leases, k.clock, k.version, k.dead},
		args:   []any{r.self(), i.entry(), ms(r.cfg.LeaseTTL), r.keys.events(), name}, n: 1,
	}
	if err := r.exec(ctx, c); err != nil {
		return err
	}
	reply := texts(c.reply)
	if len(reply) > 1 && reply[0] == "superseded" {
		return fmt.Errorf("%w (%s)", ErrSuperseded, reply[1])
	}
	for _, earlier := range reply[1:] {
		r.reaper.add(name, earlier, false)
	}
	r.watch.touch(name)
	return nil
}

// SetState changes the state of this node's instance of service. It fails with
// [ErrNotJoined] if the service was not announced.
func (r *Registry) SetState(ctx context.Context, service string, s State) error {
	if s != StateServing && s != StateDraining {
		return fmt.Errorf("set state of service %q: %q is none; allowed are %q and %q", service, s, StateServing, StateDraining)
	}
	if err := r.lock(ctx); err != nil {
		return fmt.Errorf("set state of service %q: %w", service, err)
	}
	defer r.unlock()
	i := r.instances[service]
	if i == nil {
		return fmt.Errorf("set state of service %q: %w: Announce comes first", service, ErrNotJoined)
	}
	i.state = s // also if Redis does not answer now: the renewals compare
	if err := r.persist(ctx, func(ctx context.Context) error { return r.announceInstance(ctx, i) }); err != nil {
		return fmt.Errorf("set state of service %q: %w", service, err)
	}
	return nil
}

// Withdraw ends this node's membership as an instance of service at once. If Redis
// does not answer, the membership ends with its lease.
func (r *Registry) Withdraw(ctx context.Context, service string) error {
	if err := r.lock(ctx); err != nil {
		return fmt.Errorf("withdraw from service %q: %w", service, err)
	}
	defer r.unlock()
	if r.instances[service] == nil {
		return nil
	}
	delete(r.instances, service)
	if err := r.persist(ctx, func(ctx context.Context) error { return r.withdraw(ctx, service) }); err != nil {
		return fmt.Errorf("withdraw from service %q: %w", service, err)
	}
	r.watch.touch(service)
	return nil
}

func (r *Registry) withdraw(ctx context.Context, service string) error {
	if err := r.reap(ctx, service, instanceMember(r.cfg.Self).String(), true); err != nil {
		return err
	}
	return r.withdrawRoutes(ctx, service)
}

// JoinGateway makes this node a gateway of that name, so that it may pin. Several
// gateways, also of one name, may share a node.
func (r *Registry) JoinGateway(ctx context.Context, name string) error {
	if err := wire.ValidateSlug(name); err != nil {
		return fmt.Errorf("join as gateway: the name %w", err)
	}
	if err := r.lock(ctx); err != nil {
		return fmt.Errorf("join as gateway %q: %w", name, err)
	}
	defer r.unlock()
	r.names[name]++
	if err := r.persist(ctx, r.announceGateway); err != nil {
		r.dropName(name)
		return fmt.Errorf("join as gateway %q: %w", name, err)
	}
	r.setPinning(true)
	r.startRoster()
	return nil
}

// announceGateway writes the names of this node's gateways.
func (r *Registry) announceGateway(ctx context.Context) error {
	announcement, err := json.Marshal(gatewayEntry{Names: slices.Sorted(maps.Keys(r.names))})
	if err != nil {
		return err
	}
	return r.announceRoutes(ctx, gatewaysEntry, announcement)
}

// gatewayEntry is what a gateway's node announces.
type gatewayEntry struct {
	Names []string `json:"names"`
}

// LeaveGateway undoes one JoinGateway of that name. With the last one, all pins of
// this node go at once. If Redis does not answer, they go with their lease.
func (r *Registry) LeaveGateway(ctx context.Context, name string) error {
	if err := r.lock(ctx); err != nil {
		return fmt.Errorf("leave as gateway %q: %w", name, err)
	}
	defer r.unlock()
	if r.names[name] == 0 {
		return fmt.Errorf("leave as gateway %q: %w", name, ErrNotJoined)
	}
	r.dropName(name)
	leave := r.announceGateway
	if len(r.names) > 0 {
		r.startRoster()
	} else {
		leave = func(ctx context.Context) error { return r.withdrawRoutes(ctx, gatewaysEntry) }
		if err := r.leaveLanes(ctx); err != nil {
			return fmt.Errorf("leave as gateway %q: %w", name, err)
		}
		if err := r.endRoster(ctx); err != nil {
			return fmt.Errorf("leave as gateway %q: %w", name, err)
		}
	}
	if err := r.persist(ctx, leave); err != nil {
		return fmt.Errorf("leave as gateway %q: %w", name, err)
	}
	return nil
}

func (r *Registry) dropName(name string) {
	if r.names[name]--; r.names[name] == 0 {
		delete(r.names, name)
	}
}

func (r *Registry) setPinning(on bool) {
	r.mu.Lock()
	r.pinning = on
	r.mu.Unlock()
}

// leaveLanes ends all lanes and removes their pins.
func (r *Registry) leaveLanes(ctx context.Context) error {
	r.mu.Lock()
	r.pinning = false
	lanes := r.lanes
	r.lanes = map[string]*lane{}
	running := r.spawn != nil
	for _, l := range lanes {
		l.close()
	}
	r.mu.Unlock()
	if !running {
		return nil
	}
	var errs []error
	for name, l := range lanes {
		<-l.ended
		for _, member := range []string{l.member, l.next} {
			if member == "" {
				continue
			}
			err := r.persist(ctx, func(ctx context.Context) error { return r.reap(ctx, name, member, true) })
			errs = append(errs, err)
		}
		r.watch.touch(name)
	}
	return errors.Join(errs...)
}

// keep renews this node's memberships, except those of lanes, which do it
// themselves.
func (r *Registry) keep(ctx context.Context) {
	tick := time.NewTicker(r.cfg.Tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r.cfg.Alive() && r.lock(ctx) == nil {
			r.renew(ctx)
			r.unlock()
		}
	}
}

// renew renews all memberships in one exchange and writes again those that Redis
// does not have. What fails is tried again with the next tick.
func (r *Registry) renew(ctx context.Context) {
	services := slices.Sorted(maps.Keys(r.instances))
	announced := services
	if len(r.names) > 0 {
		announced = append(slices.Clone(services), gatewaysEntry)
	}
	if len(announced) == 0 {
		return
	}
	routes := r.routeBeat(announced)
	calls := []*call{routes}
	self := instanceMember(r.cfg.Self).String()
	for _, s := range services {
		calls = append(calls, r.beatCall(r.keys.service(s), self, r.instances[s].entry(), ""))
	}
	_ = r.exec(ctx, calls...) // each call is looked at
	if routes.err == nil {
		for _, m := range texts(routes.reply) {
			r.announceAgain(ctx, m)
		}
	}
	for n, s := range services {
		c := calls[n+1]
		if status := text(at(c.reply, 0)); c.err == nil && status != "ok" {
			r.rejoin(ctx, r.instances[s], Cause(status))
		}
	}
}

// announceAgain writes a lost entry of the route table again.
func (r *Registry) announceAgain(ctx context.Context, routeMember string) {
	if routeMember == r.routeMember(gatewaysEntry) {
		_ = r.announceGateway(ctx)
		return
	}
	for _, i := range r.instances {
		if routeMember != r.routeMember(i.service.Name) {
			continue
		}
		i.report(r, r.announceRoutes(ctx, i.service.Name, i.announcement))
	}
}

// rejoin writes a lost entry of an instance again.
func (r *Registry) rejoin(ctx context.Context, i *instance, cause Cause) {
	err := r.announceInstance(ctx, i)
	i.report(r, err)
	if err == nil {
		r.log.Warn("announced this instance again", "service", i.service.Name, "cause", cause)
		r.cfg.Hooks.Joined(i.service.Name, KindInstance, cause, 0)
	}
}

// report logs why an announcement is refused, once.
func (i *instance) report(r *Registry, err error) {
	if err == nil {
		i.refused = ""
		return
	}
	if errors.Is(err, ErrUnavailable) || err.Error() == i.refused {
		return
	}
	i.refused = err.Error()
	r.log.Error("this instance is refused; it tries again with every tick", "service", i.service.Name, "error", err)
}
