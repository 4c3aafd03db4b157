package link

import (
	"encoding/binary"
	"errors"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Layout of a datagram. Integers are varints unless a size is given.
//
//	version   1 byte   datagramVersion
//	flags     1 byte   flagSync
//	node      1 byte length, then the sender's node id
//	epoch     8 bytes  the sender's epoch, big endian
//	to        8 bytes  the epoch of the receiving node that is meant, big endian
//	gen       generation of the link
//	num       number of this datagram on the link, from 1, across generations
//	seen      largest num that the sender received
//	age       microseconds since it received that one
//	ack       all frames up to this number have arrived
//	known     the sender knows that the receiver got its frames up to this number
//	last      number of the newest frame that the sender ever sent
//	missing   how many runs of missing frames follow, at most maxSpans
//	  skip    frames between the end of the run before (or ack) and this run
//	  length  frames in the run
//	count     frames in the batch
//	first     number of the first one; absent if count is 0
//	body      the frames, see batch.go
//	tag       16 bytes, if Config.Key is set, see sign.go
//
// A datagram without frames is an acknowledgement, or with flagSync a question,
// which is answered at once.
const (
	datagramVersion = 1
	flagSync        = 1

	maxSpans  = 16
	maxHeader = 512 // more than the parts beside the body take
	maxNumber = 1 << 62
)

// header is everything in a datagram but the body.
type header struct {
	node  []byte
	epoch wire.Epoch
	to    wire.Epoch
	sync  bool

	gen   uint64
	num   uint64
	seen  uint64
	age   uint64
	ack   uint64
	known uint64
	last  uint64

	missing []span // ascending, after ack, none adjacent

	count int
	first uint64
}

// appendHeader writes h to b; the body follows. Together with open it is the one
// place that knows the layout.
func appendHeader(b []byte, node wire.NodeID, h *header) []byte {
	flags := byte(0)
	if h.sync {
		flags |= flagSync
	}
	b = append(b, datagramVersion, flags, byte(len(node)))
	b = append(b, node...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(h.to))
	for _, v := range [...]uint64{h.gen, h.num, h.seen, h.age, h.ack, h.known, h.last, uint64(len(h.missing))} {
		b = binary.AppendUvarint(b, v)
	}
	end := h.ack
	for _, r := range h.missing {
		b = binary.AppendUvarint(b, r.first-end-1)
		b = binary.AppendUvarint(b, r.last-r.first+1)
		end = r.last
	}
	b = binary.AppendUvarint(b, uint64(h.count))
	if h.count > 0 {
		b = binary.AppendUvarint(b, h.first)
	}
	return b
}

var errDatagram = errors.New("malformed datagram")

// open reads a datagram into h, whose missing slice it reuses, and returns the
// body. Everything in h is within bounds and consistent with the rest, and the
// body holds count frames, when there is no error. h.node and body alias b.
func open(b []byte, h *header) (body []byte, err error) {
	if len(b) < 3 || b[0] != datagramVersion || b[1]&^flagSync != 0 {
		return nil, errDatagram
	}
	h.sync = b[1]&flagSync != 0
	n := int(b[2])
	if b = b[3:]; n == 0 || n > wire.MaxSlug || len(b) < n+16 {
		return nil, errDatagram
	}
	h.node = b[:n]
	h.epoch = wire.Epoch(binary.BigEndian.Uint64(b[n:]))
	h.to = wire.Epoch(binary.BigEndian.Uint64(b[n+8:]))
	in := numbers{rest: b[n+16:]}
	h.gen, h.num, h.seen, h.age = in.next(), in.next(), in.next(), in.next()
	h.ack, h.known, h.last = in.next(), in.next(), in.next()
	h.missing = h.missing[:0]
	spans := in.next()
	if spans > maxSpans {
		return nil, errDatagram
	}
	end := h.ack
	for range spans {
		first := end + in.next() + 1
		length := in.next()
		end = first + length - 1
		if length == 0 || end >= maxNumber {
			return nil, errDatagram
		}
		h.missing = append(h.missing, span{first, end})
	}
	count := in.next()
	h.first, h.count = 0, 0
	if count > 0 {
		h.first = in.next()
		if count > uint64(len(in.rest)) || h.first == 0 || h.first+count-1 > h.last {
			return nil, errDatagram
		}
		h.count = int(count)
	}
	if in.bad || h.gen == 0 || h.num == 0 || h.known > h.last || !countFrames(in.rest, h.count) {
		return nil, errDatagram
	}
	return in.rest, nil
}

// numbers reads varints below maxNumber; after the first error all are zero.
type numbers struct {
	rest []byte
	bad  bool
}

func (n *numbers) next() uint64 {
	if len(n.rest) > 0 && n.rest[0] < 0x80 {
		v := n.rest[0]
		n.rest = n.rest[1:]
		return uint64(v)
	}
	v, size := binary.Uvarint(n.rest)
	if size <= 0 || v >= maxNumber {
		n.bad, n.rest = true, nil
		return 0
	}
	n.rest = n.rest[size:]
	return v
}
