package wire

import (
	"encoding/binary"
	"fmt"
)

// TargetKind says what a push is addressed to.
type TargetKind byte

// The kinds of targets.
const (
	TargetSocket  TargetKind = 1 // one socket, by its id
	TargetUser    TargetKind = 2 // all sockets of a user
	TargetGroup   TargetKind = 3 // all sockets that joined a group
	TargetAll     TargetKind = 4 // every socket
	TargetGateway TargetKind = 5 // every socket on the gateways of a name
)

// String is the word for the kind, as in metrics.
func (k TargetKind) String() string {
	switch k {
	case TargetSocket:
		return "socket"
	case TargetUser:
		return "user"
	case TargetGroup:
		return "group"
	case TargetAll:
		return "all"
	case TargetGateway:
		return "gateway"
	default:
		return "unknown"
	}
}

// Target is whom a push is for.
type Target struct {
	Kind TargetKind
	Name string // the socket, user, group or gateway name; "" for TargetAll
}

// Policy says what becomes of a push whose client does not keep up.
type Policy byte

// The policies.
const (
	PolicyWait   Policy = 0 // it waits for the client, and the sender for it
	PolicyDrop   Policy = 1 // it is dropped
	PolicyLatest Policy = 2 // it stays in line until one with the same key replaces it
)

// Limits of a push. Its size as a whole is limited by the links.
const (
	MaxTargetName = 256 // bytes of a user, group or key
	MaxExcept     = 256 // sockets and users that a push leaves out
)

// Push is a message that one node asks a gateway's node to deliver to whom it
// holds of the target. The header's stream id numbers it among all that its
// sender's incarnation sent.
type Push struct {
	Target      Target
	Except      []SocketID // sockets that do not get it
	ExceptUsers []string   // users whose sockets do not get it
	Policy      Policy
	Key         string // with PolicyLatest: what a later push replaces
	Path        string // of the envelope; may be empty
	TimeoutMS   uint32 // how long PolicyWait waits for a client
	// Data is the payload in one or more encodings. None: a push without data.
	// The bytes alias the parsed frame.
	Data []PushData
}

// PushData is a payload in one envelope encoding (package envelope).
type PushData struct {
	Encoding byte
	Bytes    []byte
}

// Append writes the body.
func (p Push) Append(b []byte) []byte {
	b = append(b, byte(p.Target.Kind))
	b = appendString(b, p.Target.Name)
	b = binary.AppendUvarint(b, uint64(len(p.Except)))
	for _, id := range p.Except {
		b = appendString(b, string(id))
	}
	b = binary.AppendUvarint(b, uint64(len(p.ExceptUsers)))
	for _, u := range p.ExceptUsers {
		b = appendString(b, u)
	}
	b = append(b, byte(p.Policy))
	b = appendString(b, p.Key)
	b = appendString(b, p.Path)
	b = binary.AppendUvarint(b, uint64(p.TimeoutMS))
	b = binary.AppendUvarint(b, uint64(len(p.Data)))
	for _, d := range p.Data {
		b = append(b, d.Encoding)
		b = binary.AppendUvarint(b, uint64(len(d.Bytes)))
		b = append(b, d.Bytes...)
	}
	return b
}

// ParsePush reads the body of a Push frame.
func ParsePush(body []byte) (Push, error) {
	f := fields{rest: body}
	p := Push{Target: Target{Kind: TargetKind(f.byte()), Name: f.string()}}
	for range f.count() {
		p.Except = append(p.Except, SocketID(f.string()))
	}
	for range f.count() {
		p.ExceptUsers = append(p.ExceptUsers, f.string())
	}
	p.Policy, p.Key, p.Path, p.TimeoutMS = Policy(f.byte()), f.string(), f.string(), f.uint32()
	for range f.count() {
		p.Data = append(p.Data, PushData{Encoding: f.byte(), Bytes: f.bytes()})
	}
	if err := f.end(); err != nil {
		return Push{}, err
	}
	if p.Target.Kind < TargetSocket || p.Target.Kind > TargetGateway || p.Policy > PolicyLatest {
		return Push{}, fmt.Errorf("%w: push target %d, policy %d", ErrFrame, p.Target.Kind, p.Policy)
	}
	return p, nil
}

// count reads the length of a list, whose elements take a byte each at least.
func (f *fields) count() uint64 {
	n := f.uvarint()
	if n > uint64(len(f.rest)) {
		f.fail("list past the end")
		return 0
	}
	return n
}

// PushResult answers a Push: what a gateway's node did with it.
type PushResult struct {
	Targeted  uint32 // sockets here that the push was for
	Delivered uint32 // of those: handed to the client's connection
	Queued    uint32 // of those: in line on a slow connection, where a later one may replace it
	Dropped   []PushDrop
}

// PushDrop counts what was not delivered, by reason.
type PushDrop struct {
	Reason DropReason
	Count  uint32
}

// DropReason says why a push did not reach a connection. It is a metric label.
type DropReason string

// The reasons.
const (
	DropSlow      DropReason = "slow"      // PolicyDrop: the client does not keep up
	DropTimeout   DropReason = "timeout"   // PolicyWait: the client did not take it in time
	DropClosed    DropReason = "closed"    // the connection ended
	DropEncoding  DropReason = "encoding"  // the data cannot be put in the connection's encoding
	DropConflated DropReason = "conflated" // PolicyLatest: a later one took its place; only in metrics
	DropOverload  DropReason = "overload"  // the gateway had too many pushes in line; counted as one socket

	// DropUnreadable: the sender runs a version whose pushes the gateway cannot read;
	// counted as one socket.
	DropUnreadable DropReason = "unreadable"
)

// Append writes the body.
func (r PushResult) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(r.Targeted))
	b = binary.AppendUvarint(b, uint64(r.Delivered))
	b = binary.AppendUvarint(b, uint64(r.Queued))
	b = binary.AppendUvarint(b, uint64(len(r.Dropped)))
	for _, d := range r.Dropped {
		b = appendString(b, string(d.Reason))
		b = binary.AppendUvarint(b, uint64(d.Count))
	}
	return b
}

// ParsePushResult reads the body of a PushResult frame.
func ParsePushResult(body []byte) (PushResult, error) {
	f := fields{rest: body}
	r := PushResult{Targeted: f.uint32(), Delivered: f.uint32(), Queued: f.uint32()}
	for range f.count() {
		r.Dropped = append(r.Dropped, PushDrop{Reason: DropReason(f.string()), Count: f.uint32()})
	}
	if err := f.end(); err != nil {
		return PushResult{}, err
	}
	return r, nil
}
