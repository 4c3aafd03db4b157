package push

import (
	"maps"
	"slices"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// schedule sees to the next event, if there is one. mu is held.
func (g *watched) schedule() {
	select {
	case <-g.loaded.done:
	default:
		return // there is no state yet
	}
	due := g.nextDue()
	if due.IsZero() || g.timer != nil && !due.Before(g.due) {
		return
	}
	if g.timer != nil {
		g.timer.Stop()
	}
	g.due = due
	g.timer = time.AfterFunc(time.Until(due), g.announce)
}

// nextDue is when there is something to tell; zero: there is nothing. mu is held.
func (g *watched) nextDue() (due time.Time) {
	if len(g.before) > 0 {
		due = time.Now().Add(presenceDelay)
		if later := g.changeDue(); later.After(due) {
			due = later
		}
	}
	for w := range g.watchers {
		if !w.owed.IsZero() && (due.IsZero() || w.owed.Before(due)) {
			due = w.owed
		}
	}
	return due
}

// changeDue is when the next change may be told. mu is held.
func (g *watched) changeDue() time.Time {
	return g.told.Add(min(time.Duration(g.count())*presencePerMember, presenceMaxDelay))
}

// count is how many members there are. mu is held.
func (g *watched) count() int {
	n := 0
	for _, h := range g.hosts {
		n += len(h.members)
	}
	return n
}

// announce tells the watchers what has changed, and new ones the state.
func (g *watched) announce() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil { // the last watcher left meanwhile
		return
	}
	g.timer.Stop()
	g.timer = nil
	now := time.Now()
	if len(g.before) > 0 && !now.Before(g.changeDue()) {
		g.tellChange(now)
	}
	var owed []*watcher
	for w := range g.watchers {
		if !w.owed.IsZero() && !now.Before(w.owed) {
			w.owed = time.Time{}
			owed = append(owed, w)
		}
	}
	if len(owed) > 0 {
		g.hub.tell(owed, state(g.group, g.toldState()))
	}
	g.schedule()
}

// tellChange tells those who know the state before what is different. mu is held.
func (g *watched) tellChange(at time.Time) {
	if len(g.current()) == 0 { // all are owed the state
		clear(g.before)
		return
	}
	var joined, left []PresenceMember
	for id, was := range g.before {
		is := g.member(id)
		if is == was {
			continue
		}
		if was.Socket != "" {
			left = append(left, was)
		}
		if is.Socket != "" {
			joined = append(joined, is)
		}
	}
	clear(g.before)
	g.told = at
	g.hub.hooks.Load().Present(len(joined), len(left))
	for _, e := range changes(g.group, joined, left, g.count()) {
		g.hub.tell(g.current(), e)
	}
}

// current lists the watchers who know the state. mu is held.
func (g *watched) current() []*watcher {
	var list []*watcher
	for w := range g.watchers {
		if w.owed.IsZero() {
			list = append(list, w)
		}
	}
	return list
}

// member is who a socket in the group is, or the zero value. mu is held.
func (g *watched) member(id wire.SocketID) PresenceMember {
	for _, h := range g.hosts {
		if m, ok := h.members[id]; ok {
			return m
		}
	}
	return PresenceMember{}
}

// members are all members. mu is held.
func (g *watched) members() map[wire.SocketID]PresenceMember {
	all := make(map[wire.SocketID]PresenceMember, g.count())
	for _, h := range g.hosts {
		maps.Copy(all, h.members)
	}
	return all
}

// toldState is who was there when the last change was told. mu is held.
func (g *watched) toldState() map[wire.SocketID]PresenceMember {
	all := g.members()
	for id, was := range g.before {
		if was.Socket == "" {
			delete(all, id)
		} else {
			all[id] = was
		}
	}
	return all
}

// snapshot splits who is in a group here into frames.
func snapshot(group string, all []wire.Present) []wire.Presence {
	frames := []wire.Presence{}
	for part := range slices.Chunk(all, MaxListed) {
		frames = append(frames, wire.Presence{Group: group, Joined: part})
	}
	if len(frames) == 0 {
		frames = append(frames, wire.Presence{Group: group})
	}
	frames[0].First, frames[len(frames)-1].Last = true, true
	return frames
}
