package service

import (
	"context"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/registry"
)

const (
	// restartReason is what clients and UseClose handlers are told by a stop.
	restartReason = "service restart"

	// callTimeout bounds each exchange over Redis during a stop, so that a stop
	// goes on without it.
	callTimeout = time.Second

	// settleTime is how long a stopping instance accepts streams at least: the time
	// that a pin made just before needs to become an Open.
	settleTime = 100 * time.Millisecond

	// paceStep is the time between two groups of sockets that are told to leave,
	// and paceGroup the least size of a group. Many sockets are spread over half
	// of the drain timeout, since their clients or their pins move elsewhere.
	paceStep  = 10 * time.Millisecond
	paceGroup = 32

	// progressEvery is how often a stop that takes long says how far it is.
	progressEvery = time.Second
)

// Stop ends what Start began. The instance gets no more sockets; those that it has
// are handed back or closed (Config.OnInstanceLoss) when their handlers have
// finished with what is queued, and their UseClose handlers run. What is not through
// after Config.DrainTimeout, or when ctx ends, is cancelled: Stop with a context
// that is done already stops at once. It returns an error that wraps
// [ErrUnfinished] in that case. A further call of Stop waits for the first one, and
// hurries it when its own context ends. Before Start has returned, Stop does nothing.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	switch s.state {
	case created, starting:
		s.mu.Unlock()
		return nil
	case serving:
		s.state = stopping
		patience, giveUp := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
		s.giveUp = giveUp
		s.mu.Unlock()
		defer giveUp()
		defer context.AfterFunc(ctx, giveUp)()
		s.stopErr = s.stop(patience)
		close(s.stopped)
	case stopping:
		giveUp := s.giveUp
		s.mu.Unlock()
		defer context.AfterFunc(ctx, giveUp)()
		<-s.stopped
	}
	return s.stopErr
}

// stop does it; patience ends the orderly part.
func (s *Service) stop(patience context.Context) error {
	began := time.Now()
	s.setDraining(patience)
	sockets := s.beginDrain()
	total := len(sockets)
	s.progress(total, total)

	settled := time.NewTimer(s.settle)
	defer settled.Stop()
	s.departAll(patience, sockets)
	s.awaitEmpty(patience, total)
	select {
	case <-settled.C:
	case <-patience.Done():
	}
	s.unserve()
	s.awaitEmpty(patience, total) // of streams that came meanwhile

	unfinished := s.cutAll()
	left := s.SocketCount()
	s.progress(left, total)
	s.withdraw(patience)
	s.log.Info("service stopped", "sockets", total, "cancelled", unfinished, "left_behind", left, "took", time.Since(began))
	if unfinished > 0 {
		return fmt.Errorf("service %q: %w: %d sockets were cancelled, %d of them still have handlers at work", s.name, ErrUnfinished, unfinished, left)
	}
	return nil
}

// setDraining tells the registry that this instance takes no more pins.
func (s *Service) setDraining(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.bp.Registry().SetState(ctx, s.name, registry.StateDraining); err != nil {
		s.log.Warn("gateways were not told that this instance stops; they notice when its streams end", "error", err)
	}
}

// withdraw takes this instance out of the registry, after the gateways have what
// was sent: they forget a node that withdrew, with what is still on its way.
func (s *Service) withdraw(ctx context.Context) {
	select {
	case <-s.bp.Done():
		return // there is no way to
	default:
	}
	ctx = context.WithoutCancel(ctx)
	flush, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.bp.Mesh().Flush(flush); err != nil {
		s.log.Warn("a gateway may not have the last messages", "error", err)
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.bp.Registry().Withdraw(call, s.name); err != nil {
		s.log.Warn("not withdrawn from the registry; the lease runs out instead", "error", err)
	}
}

// beginDrain makes new sockets leave at once and returns those that there are.
func (s *Service) beginDrain() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	return s.all()
}

// all lists the sockets. mu is held.
func (s *Service) all() []*socket {
	sockets := make([]*socket, 0, len(s.sockets))
	for k := range s.sockets {
		sockets = append(sockets, k)
	}
	return sockets
}

// departAll tells the gateways to end the streams, a group at a time.
func (s *Service) departAll(patience context.Context, sockets []*socket) {
	steps := max(int(s.cfg.DrainTimeout/2/paceStep), 1)
	group := max(paceGroup, (len(sockets)+steps-1)/steps)
	tick := time.NewTicker(paceStep)
	defer tick.Stop()
	for i, k := range sockets {
		if i > 0 && i%group == 0 {
			select {
			case <-tick.C:
			case <-patience.Done(): // the rest at once
			}
		}
		k.depart()
	}
}

// awaitEmpty waits until no socket is left or patience ends.
func (s *Service) awaitEmpty(patience context.Context, total int) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for s.SocketCount() > 0 {
		select {
		case <-s.departed:
		case <-tick.C:
			s.progress(s.SocketCount(), total)
		case <-patience.Done():
			return
		}
	}
}

// cutAll cancels the handlers of the sockets that are left, and gives them a grace
// to return. It returns how many sockets there were.
func (s *Service) cutAll() int {
	s.mu.Lock()
	sockets := s.all()
	s.mu.Unlock()
	for _, k := range sockets {
		k.cut(restartReason)
	}
	grace, cancel := context.WithTimeout(context.Background(), s.cfg.CloseGrace)
	defer cancel()
	s.awaitEmpty(grace, len(sockets))
	return len(sockets)
}

func (s *Service) progress(left, total int) {
	if hook := s.cfg.Hooks.Drained; hook != nil {
		hook(left, total)
	}
}
