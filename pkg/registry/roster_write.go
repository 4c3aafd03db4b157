package registry

import (
	"context"
	"time"
)

// send brings a batch to Redis.
func (l *roster) send(ctx context.Context, batch []*hosted) error {
	wanted := l.wanted(batch)
	var add, drop []*hosted
	var calls []*call
	var about []*hosted
	var wishes []wish // of about
	generation := l.member[len(gatewayPrefix):]
	for n, e := range batch {
		value, show := wanted[n].want.entry(), wanted[n].round != e.shown
		switch {
		case value == "" && !e.indexed && !e.remains:
			continue
		case value == "" && e.indexed:
			drop = append(drop, e)
		case value == "":
			// Only what a generation before has left is removed.
		case !e.indexed:
			add = append(add, e)
		case value == e.entry && !show:
			continue
		}
		c := l.r.hostCall(e.id, generation, value, "")
		if show {
			c.args[2] = "show"
		}
		calls = append(calls, c)
		about, wishes = append(about, e), append(wishes, wanted[n])
	}
	fenced, err := l.index(ctx, "+", add)
	if err == nil && !fenced && len(calls) > 0 {
		if err = l.r.exec(ctx, calls...); err == nil {
			l.written(calls, about, wishes)
			fenced, err = l.index(ctx, "-", drop)
		}
	}
	if err != nil || fenced {
		l.retry = append(l.retry, batch...)
		for _, e := range batch {
			e.entry = "" // nobody knows
		}
		if err != nil {
			return err
		}
		if !l.r.cfg.Alive() {
			return errDeaf
		}
		return l.beat(ctx, false) // finds out why
	}
	for _, e := range batch {
		if e.again {
			e.again = false
			l.shelves[e.id.shelf()].pending--
		}
	}
	l.forget(batch)
	return nil
}

// hostCall writes an entry; see host.lua.
func (r *Registry) hostCall(a Audience, generation, entry, and string) *call {
	k := r.keys.audience(a)
	return &call{
		script: scriptHost, keys: []string{k.hosts, k.watchers, k.marks},
		args: []any{generation, entry, and, ms(r.watchLease()), ms(r.keepMarks())}, n: 1,
	}
}

// wanted returns what is wanted of each entry now.
func (l *roster) wanted(batch []*hosted) []wish {
	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := make([]wish, len(batch))
	for n, e := range batch {
		wanted[n] = e.wish
	}
	return wanted
}

// index adds audiences to the index, or takes them out.
func (l *roster) index(ctx context.Context, op string, about []*hosted) (fenced bool, err error) {
	if len(about) == 0 {
		return false, nil
	}
	args := make([]any, 0, 1+2*len(about))
	args = append(args, l.member)
	for _, e := range about {
		args = append(args, op, string(e.id))
	}
	c := &call{
		script: scriptIndex, keys: []string{l.keys.leases, l.keys.pinsOf(l.member), l.keys.checksums},
		args: args, n: len(about),
	}
	if err := l.r.exec(ctx, c); err != nil {
		return false, err
	}
	if text(at(c.reply, 0)) != "ok" {
		return true, nil
	}
	for _, e := range about {
		l.note(e, op == "+")
	}
	return false, nil
}

// note records whether Redis has e in the index.
func (l *roster) note(e *hosted, indexed bool) {
	switch {
	case indexed && !e.indexed:
		l.count++
		l.sum += audienceSum(e.id)
	case !indexed && e.indexed:
		l.count--
		l.sum -= audienceSum(e.id)
		e.shown = 0
	}
	e.indexed = indexed
}

// written records entries and tells who may not have seen them.
func (l *roster) written(calls []*call, about []*hosted, wishes []wish) {
	for n, c := range calls {
		e, w := about[n], wishes[n]
		e.entry, e.remains = text(c.args[1]), false
		if e.entry == "" || e.shown == w.round {
			continue
		}
		e.shown = w.round
		var watchers []Watcher
		reply := texts(c.reply)
		if left := number(text(at(c.reply, 1))); left > 0 {
			watchers = append(watchers, Watcher{Left: time.Duration(left) * time.Millisecond})
		}
		for i := 2; i+1 < len(reply); i += 2 {
			if who := incarnation(reply[i]); !who.IsZero() {
				watchers = append(watchers, Watcher{who, time.Duration(number(reply[i+1])) * time.Millisecond})
			}
		}
		w.seen(watchers, nil)
	}
}

// forget drops what is neither wanted nor in Redis.
func (l *roster) forget(batch []*hosted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range batch {
		if e.want.Members <= 0 && !e.indexed && l.entries[e.id] == e {
			delete(l.entries, e.id)
		}
	}
}
