package redisbus

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// watch is the side of a session that does not read: it asks for channels, pings,
// and ends the session when Redis stays silent.
type watch struct {
	s          *subscriber
	ps         *redis.PubSub
	started    time.Time
	asked      map[string]*subscription // what was asked for on this connection
	subscribed bool                     // something was confirmed
	readEnded  bool
}

// ask subscribes to new channels and unsubscribes from those that were closed.
func (w *watch) ask(ctx context.Context) error {
	var add, drop []string
	w.s.mu.RLock()
	for ch := range w.asked {
		if w.s.channels[ch] == nil {
			drop = append(drop, ch)
			delete(w.asked, ch)
		}
	}
	for ch, sub := range w.s.channels {
		if w.asked[ch] != sub { // new, or closed and subscribed again: ask for another confirmation
			add = append(add, ch)
			w.asked[ch] = sub
		}
	}
	w.s.mu.RUnlock()
	if len(drop) > 0 {
		unsubscribe := w.ps.Unsubscribe
		if w.s.to.sharded {
			unsubscribe = w.ps.SUnsubscribe
		}
		if err := unsubscribe(ctx, drop...); err != nil {
			return err
		}
	}
	switch {
	case len(add) == 0:
		return nil
	case w.s.to.sharded:
		return w.ps.SSubscribe(ctx, add...)
	default:
		return w.ps.Subscribe(ctx, add...)
	}
}

// run returns why the session has to end.
func (w *watch) run(ctx context.Context, confirmed <-chan struct{}, ended <-chan error, subscribed func()) error {
	tick := time.NewTicker(w.s.ping / 4)
	defer tick.Stop()
	heard := w.s.heard.Load()
	heardAt, pingedAt, tickedAt := w.started, w.started, w.started
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			w.readEnded = true
			return err
		case <-w.s.changed:
			if err := w.ask(ctx); err != nil {
				return err
			}
		case <-confirmed:
			if !w.subscribed {
				w.subscribed = true
				subscribed()
			}
		case <-tick.C:
			now := time.Now()
			// When this process itself stood still, the silence proves nothing.
			if n := w.s.heard.Load(); n != heard || now.Sub(tickedAt) > w.s.ping {
				heard, heardAt = n, now
			}
			tickedAt = now
			switch {
			case now.Sub(heardAt) > w.s.limit:
				return errSilent
			case now.Sub(heardAt) < 2*w.s.ping && w.s.stale(w.started):
				w.s.redial()
				return errCanary
			case now.Sub(pingedAt) >= w.s.ping:
				pingedAt = now
				if err := w.ps.Ping(ctx); err != nil {
					return err
				}
			}
		}
	}
}
