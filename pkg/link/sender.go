package link

import (
	"math/bits"
	"time"
)

// sender is the sending half of one generation of a link: it numbers frames,
// packs them into batches, keeps the batches until they are acknowledged, and
// decides what leaves next. It has no goroutine, clock or lock; the caller passes
// the time in.
//
// A batch that left is sent again only on evidence that it was lost: the peer
// reports it missing although it saw a later datagram, or the bus says that
// nobody is subscribed. Silence makes the sender ask, not repeat.
type sender struct {
	limits limits

	last   uint64 // number of the newest frame accepted
	sent   uint64 // number of the newest frame that left at least once
	acked  uint64 // all frames up to here have arrived
	frames int    // kept frames: last - acked
	bytes  int    // kept bytes, length prefixes included

	data    ring
	batches queue[batch]
	open    bool   // the newest batch has not left yet and takes more frames
	unsent  uint64 // index of the oldest batch that never left
	resend  uint64 // index at or before the oldest batch marked lost
	lost    int    // batches marked lost

	unsubscribed bool // the bus said so: only questions leave

	askAt    time.Time     // when silence turns into a question; zero: never
	rto      time.Duration // the wait that led to askAt
	stuckAt  time.Time     // when frames began to wait without progress; zero: none wait
	crowdNum uint64        // datagram in which the early acknowledgement was requested
}

// limits are the parts of the configuration that the pure halves use.
type limits struct {
	windowFrames, windowBytes, controlBytes, maxBody int
	minRTO, maxRTO, probeInterval                    time.Duration
}

// batch is a run of frames that leave in one datagram, always the same ones.
type batch struct {
	first uint64 // number of its first frame
	count int
	pos   uint64 // in sender.data
	size  int
	num   uint64 // datagram that it left in last; 0: it never left
	lost  bool
}

func (b *batch) end() uint64 { return b.first + uint64(b.count) - 1 }

// frameSize is what a frame of n bytes takes in a batch.
func frameSize(n int) int { return n + uvarintLen(uint64(n)) }

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// fits reports whether the window has room for a frame of n bytes.
func (s *sender) fits(n int) bool {
	return s.frames < s.limits.windowFrames && s.bytes+frameSize(n) <= s.limits.windowBytes
}

// overflows reports whether not even a control frame of n bytes may be added.
func (s *sender) overflows(n int) bool {
	return s.bytes+frameSize(n) > s.limits.windowBytes+s.limits.controlBytes
}

// push accepts head and payload as one frame.
func (s *sender) push(head, payload []byte) {
	n := len(head) + len(payload)
	size := frameSize(n)
	s.data.reserve(size)
	var b *batch
	if s.open {
		if b = s.batches.at(s.batches.head - 1); b.size+size > s.limits.maxBody {
			b = nil
		}
	}
	if b == nil {
		b = s.batches.push(batch{first: s.last + 1, pos: s.data.head})
		s.open = true
	}
	s.data.writeUvarint(uint64(n))
	s.data.write(head)
	s.data.write(payload)
	b.count++
	b.size += size
	s.last++
	s.frames++
	s.bytes += size
}

// ready reports whether next has a batch to send.
func (s *sender) ready() bool {
	return !s.unsubscribed && (s.lost > 0 || s.unsent != s.batches.head)
}

// next picks the batch that leaves in datagram num, nil for none: what was lost
// first, then what never left. again reports that it left before.
func (s *sender) next(num uint64, now time.Time) (b *batch, again bool) {
	switch {
	case s.unsubscribed:
		return nil, false
	case s.lost > 0:
		for b = s.batches.at(s.resend); !b.lost; b = s.batches.at(s.resend) {
			s.resend++
		}
		b.lost = false
		s.lost--
		again = true
	case s.unsent != s.batches.head:
		b = s.batches.at(s.unsent)
		s.unsent++
		s.open = s.open && s.unsent != s.batches.head
		s.sent = b.end()
	default:
		return nil, false
	}
	b.num = num
	if s.askAt.IsZero() {
		s.rto = s.limits.minRTO
		s.askAt = now.Add(s.rto)
	}
	return b, again
}

// crowded reports whether datagram num shall request an acknowledgement at once:
// half the window is in use, and the last such request was answered. seen is the
// newest datagram that the peer saw.
func (s *sender) crowded(num, seen uint64) bool {
	if 2*s.frames < s.limits.windowFrames && 2*s.bytes < s.limits.windowBytes || s.crowdNum > seen {
		return false
	}
	s.crowdNum = num
	return true
}

// ack takes the peer's cumulative acknowledgement. Only progress moves the time
// of the next question: a peer that talks without hearing must still be asked.
func (s *sender) ack(upTo uint64, now time.Time) {
	s.unsubscribed = false
	if upTo > s.acked {
		s.frames -= int(upTo - s.acked)
		s.acked = upTo
		for s.batches.tail != s.unsent {
			b := s.batches.at(s.batches.tail)
			if b.end() > upTo {
				break
			}
			if b.lost {
				s.lost--
			}
			s.bytes -= b.size
			s.data.discard(b.pos + uint64(b.size))
			s.batches.tail++
		}
		s.resend = max(s.resend, s.batches.tail)
		s.askAt, s.stuckAt = time.Time{}, time.Time{}
		if s.sent > s.acked {
			s.rto = s.limits.minRTO
			s.askAt = now.Add(s.rto)
		}
		if s.frames > 0 {
			s.stuckAt = now
		}
	}
}

// missing takes a run of frames that the peer has not got, after it saw datagram
// seen. It marks the batches that left in that datagram or before.
func (s *sender) missing(r span, seen uint64) {
	if mutantNack {
		return
	}
	lo, hi := s.batches.tail, s.unsent
	for lo < hi { // the first batch that ends in the run or after it
		if mid := lo + (hi-lo)/2; s.batches.at(mid).end() < r.first {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for i := lo; i != s.unsent; i++ {
		b := s.batches.at(i)
		if b.first > r.last {
			return
		}
		if b.num <= seen {
			s.markLost(i)
		}
	}
}

// nobody takes the bus's word that datagram num found no subscriber.
func (s *sender) nobody(num uint64) {
	if s.sent == s.acked {
		return // it was an acknowledgement, and the next frame finds out anew
	}
	s.unsubscribed = true
	for i := s.batches.tail; i != s.unsent; i++ {
		if s.batches.at(i).num == num {
			s.markLost(i)
			return
		}
	}
}

func (s *sender) markLost(i uint64) {
	b := s.batches.at(i)
	if b.lost {
		return
	}
	b.lost = true
	if s.lost == 0 || i < s.resend {
		s.resend = i
	}
	s.lost++
}

// tick reports whether it is time to ask the peer what it has got.
func (s *sender) tick(now time.Time) (ask bool) {
	if s.frames > 0 && s.stuckAt.IsZero() {
		s.stuckAt = now
	}
	if s.askAt.IsZero() || now.Before(s.askAt) {
		return false
	}
	if s.unsubscribed {
		s.rto = s.limits.probeInterval
	} else {
		s.rto = min(2*s.rto, s.limits.maxRTO)
	}
	s.askAt = now.Add(s.rto)
	return true
}
