package push

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// PresenceMember is a socket in a group.
type PresenceMember struct {
	Socket string    `json:"socket"`
	User   string    `json:"user,omitempty"`
	Since  time.Time `json:"since"` // when it joined, by the clock of its gateway; to the millisecond
}

// PresenceEvent tells who watches a group who is in it. As JSON it is what clients get.
type PresenceEvent struct {
	Group string `json:"group"`
	// Event is EventState for the first event, and for one that makes up for events
	// that were dropped: Members are those who are there. It is EventChange for others.
	Event   string           `json:"event"`
	Members []PresenceMember `json:"members,omitzero"`
	// More says that there are members beyond those listed, of which a state lists
	// MaxListed; [Hub.Presence] lists all, page by page.
	More   bool             `json:"more,omitempty"`
	Joined []PresenceMember `json:"joined,omitempty"`
	Left   []PresenceMember `json:"left,omitempty"`
	// Count is how many members the group has after the event.
	Count int `json:"count"`
}

// What a [PresenceEvent] is.
const (
	EventState  = "state"
	EventChange = "change"
)

const (
	// MaxListed is how many members one event lists. A change of more is split.
	MaxListed = 1000
	// PresencePath is the path of presence events unless another was asked for.
	PresencePath = "/presence"

	// presenceDelay is how long changes are gathered for one event.
	presenceDelay = 50 * time.Millisecond
	// presencePerMember is how much longer they are in a large group, for each member,
	// so that who comes and goes costs no more the more there are to be told. At most
	// presenceMaxDelay.
	presencePerMember = time.Millisecond
	presenceMaxDelay  = 5 * time.Second
	// presenceLoad is how long the first state waits for gateways that do not answer.
	presenceLoad = 2 * time.Second
	// presenceAgain is how long a client that does not keep up has, before it is told
	// the state.
	presenceAgain = time.Second
)

// watcher is somebody who watches a group. owed is guarded by the group's mu.
type watcher struct {
	notify   func(PresenceEvent) // or nil
	receiver Receiver            // with path
	path     string
	owed     time.Time // when it gets the state, in place of changes until then; zero: it knows it
}

// WatchGroup has f called with who is in a group now, and then with those who join and
// leave, until stop is called: see [PresenceEvent]. Each member that is in the state or
// has joined leaves exactly once, also when its gateway crashes. A member that joins
// and leaves at once may be left out altogether. f is called by one goroutine at a
// time, while others who watch the group wait: it must be quick, and must call neither
// stop nor the Hub. Every node can watch, a gateway or not.
func (h *Hub) WatchGroup(group string, f func(PresenceEvent)) (stop func(), err error) {
	if err := checkName(group); err != nil {
		return nil, err
	}
	w := &watcher{notify: f}
	h.watches.add(group, w)
	return func() { h.watches.remove(group, w) }, nil
}

// Watch has the socket told who is in a group, who joins and who leaves, by pushes with
// a path; "": [PresencePath]. It need not be in the group. What the pushes carry is a
// [PresenceEvent]. The result is done when the gateways have told who is there.
func (m *Member) Watch(group, path string) (Shown, error) {
	if err := checkName(group); err != nil {
		return nil, err
	}
	if path == "" {
		path = PresencePath
	}
	if len(path) > envelope.MaxPathLen {
		return nil, fmt.Errorf("a path of %d bytes; the limit is %d", len(path), envelope.MaxPathLen)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return nil, errEnded
	}
	before := m.watches[group]
	if before == nil && len(m.watches) >= MaxGroups {
		return nil, errWatches
	}
	w := &watcher{receiver: m.receiver, path: path}
	if m.watches == nil {
		m.watches = map[string]*watcher{}
	}
	m.watches[group] = w
	shown := m.hub.watches.add(group, w)
	if before != nil { // now, so that what is known of the group is kept
		m.hub.watches.remove(group, before)
	}
	return shown, nil
}

// Unwatch ends Watch.
func (m *Member) Unwatch(group string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.watches[group]; w != nil {
		delete(m.watches, group)
		m.hub.watches.remove(group, w)
	}
}

var errWatches = fmt.Errorf("the socket watches %d groups; that is the limit", MaxGroups)

// tell hands an event to watchers, encoded once for each path and encoding. Those whose
// client does not keep up get the state later.
func (h *Hub) tell(watchers []*watcher, e PresenceEvent) {
	var text []byte
	deliveries := map[string]*Delivery{}
	for _, w := range watchers {
		if w.notify != nil {
			w.notify(e)
			continue
		}
		d := deliveries[w.path]
		if d == nil {
			if text == nil {
				var err error
				if text, err = json.Marshal(e); err != nil {
					panic(err) // strings, numbers and times only
				}
			}
			d = h.localDelivery(w.path, text)
			deliveries[w.path] = d
		}
		if d.to(w.receiver) == Slow {
			w.owed = time.Now().Add(presenceAgain)
		}
	}
}

// localDelivery is a push that this node makes for its own connections.
func (h *Hub) localDelivery(path string, text []byte) *Delivery {
	return &Delivery{
		Policy: wire.PolicyDrop, Key: path, hub: h, waiting: 1, answer: func(wire.PushResult) {},
		push: wire.Push{Path: path, Data: []wire.PushData{{Encoding: byte(envelope.JSON), Bytes: text}}},
	}
}

func byID(a, b PresenceMember) int { return strings.Compare(a.Socket, b.Socket) }

// changes splits a change into events of MaxListed members.
func changes(group string, joined, left []PresenceMember, count int) []PresenceEvent {
	slices.SortFunc(joined, byID)
	slices.SortFunc(left, byID)
	var list []PresenceEvent
	for len(joined)+len(left) > 0 {
		e := PresenceEvent{Group: group, Event: EventChange, Count: count}
		n := min(len(left), MaxListed)
		e.Left, left = left[:n], left[n:]
		n = min(len(joined), MaxListed-n)
		e.Joined, joined = joined[:n], joined[n:]
		list = append(list, e)
	}
	return list
}

// state is the event that tells who is there.
func state(group string, members map[wire.SocketID]PresenceMember) PresenceEvent {
	list := slices.SortedFunc(maps.Values(members), byID)
	e := PresenceEvent{Group: group, Event: EventState, Members: list, Count: len(list)}
	if e.Members == nil {
		e.Members = []PresenceMember{}
	}
	if len(list) > MaxListed {
		e.Members, e.More = list[:MaxListed], true
	}
	return e
}
