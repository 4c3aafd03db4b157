package wire

import (
	"encoding/binary"
	"fmt"
)

// Watch asks a gateway's node to tell the sender who is in a group from now on, or
// not to any more. The answer is Presence frames: one or more that tell all members,
// and one for each change after that.
type Watch struct {
	Group string
	On    bool
}

// Append writes the body.
func (w Watch) Append(b []byte) []byte {
	on := byte(0)
	if w.On {
		on = 1
	}
	return appendString(append(b, on), w.Group)
}

// ParseWatch reads the body of a Watch frame.
func ParseWatch(body []byte) (Watch, error) {
	f := fields{rest: body}
	on := f.byte()
	w := Watch{On: on == 1, Group: f.string()}
	if err := f.end(); err != nil {
		return Watch{}, err
	}
	if on > 1 {
		return Watch{}, fmt.Errorf("%w: watch %d", ErrFrame, on)
	}
	return w, nil
}

// Presence tells a node that watches a group about the members on the sender.
type Presence struct {
	Group string
	// First and Last mark the frames that tell all members: who is in none of them is
	// no member. Frames about changes have neither.
	First, Last bool
	Joined      []Present  // who is in the group
	Left        []SocketID // who is not any more
}

// Present is a member of a group.
type Present struct {
	Socket  SocketID
	User    string
	SinceMS uint64 // when it joined, by the clock of its gateway; ms since 1970
}

// The bits of a Presence frame's second field.
const (
	presenceFirst = 1
	presenceLast  = 2
)

// Append writes the body.
func (p Presence) Append(b []byte) []byte {
	b = appendString(b, p.Group)
	bits := byte(0)
	if p.First {
		bits |= presenceFirst
	}
	if p.Last {
		bits |= presenceLast
	}
	b = binary.AppendUvarint(append(b, bits), uint64(len(p.Joined)))
	for _, m := range p.Joined {
		b = appendString(appendString(b, string(m.Socket)), m.User)
		b = binary.AppendUvarint(b, m.SinceMS)
	}
	b = binary.AppendUvarint(b, uint64(len(p.Left)))
	for _, id := range p.Left {
		b = appendString(b, string(id))
	}
	return b
}

// ParsePresence reads the body of a Presence frame.
func ParsePresence(body []byte) (Presence, error) {
	f := fields{rest: body}
	p := Presence{Group: f.string()}
	bits := f.byte()
	p.First, p.Last = bits&presenceFirst != 0, bits&presenceLast != 0
	for range f.count() {
		p.Joined = append(p.Joined, Present{Socket: SocketID(f.string()), User: f.string(), SinceMS: f.uvarint()})
	}
	for range f.count() {
		p.Left = append(p.Left, SocketID(f.string()))
	}
	if err := f.end(); err != nil {
		return Presence{}, err
	}
	if bits&^(presenceFirst|presenceLast) != 0 {
		return Presence{}, fmt.Errorf("%w: presence %d", ErrFrame, bits)
	}
	return p, nil
}
