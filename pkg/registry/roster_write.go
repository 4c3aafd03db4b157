package registry

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// send brings a batch to Redis. What fails is tried again, and does not hold up the
// rest.
func (l *roster) send(ctx context.Context, batch []*hosted) error {
	wanted, number := l.wanted(batch), l.next()
	var add, drop []*hosted
	var calls []*call
	var about []*hosted
	var wishes []wish // of about
	again := map[*hosted]bool{}
	for n, e := range batch {
		value, show := wanted[n].want.entry(), wanted[n].round != e.shown
		switch {
		case l.shelves[e.id.shelf()].began == 0: // what is written now could be lost unseen
			again[e] = true
			continue
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
		also := ""
		if show {
			also = "show"
		}
		calls = append(calls, l.r.hostCall(e.id, l.generation, value, also, number))
		about, wishes = append(about, e), append(wishes, wanted[n])
	}
	fenced, err := l.index(ctx, "+", add)
	if err != nil || fenced {
		for _, e := range batch {
			again[e] = true
		}
	} else {
		err = l.r.exec(ctx, calls...)
		for n, c := range calls {
			if c.err == nil && text(at(c.reply, 0)) == "ok" {
				l.written(c, about[n], wishes[n])
			} else {
				again[about[n]] = true
			}
		}
		drop = slices.DeleteFunc(drop, func(e *hosted) bool { return again[e] })
		var undropped error
		if fenced, undropped = l.index(ctx, "-", drop); undropped != nil || fenced {
			for _, e := range drop {
				again[e] = true
			}
		}
		err = cmp.Or(err, undropped)
	}
	l.settle(batch, again)
	if err != nil || !fenced {
		return err
	}
	if !l.r.cfg.Alive() {
		return errDeaf
	}
	return l.beat(ctx, false) // finds out why
}

// settle notes which of a batch are done, and which must be tried again.
func (l *roster) settle(batch []*hosted, again map[*hosted]bool) {
	done := batch[:0]
	for _, e := range batch {
		switch {
		case again[e]:
			e.entry = "" // nobody knows
			if !e.retried {
				l.retry = append(l.retry, e)
			}
			e.retried = true
			continue
		case e.again:
			e.again = false
			l.shelves[e.id.shelf()].pending--
		}
		done = append(done, e)
	}
	l.forget(done)
}

// hostCall writes an entry; see host.lua.
func (r *Registry) hostCall(a Audience, m member, entry, also string, number uint64) *call {
	k := r.keys.audience(a)
	return &call{
		script: scriptHost, keys: []string{k.hosts, k.watchers, k.marks}, n: 1,
		args: []any{m.incarnation.String(), m.generation, entry, also, ms(r.watchLease()), ms(r.keepMarks()), number},
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

// written records an entry and tells who may not have seen it.
func (l *roster) written(c *call, e *hosted, w wish) {
	e.entry, e.remains = w.want.entry(), false
	if e.entry == "" || e.shown == w.round {
		return
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
