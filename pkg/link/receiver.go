package link

import (
	"slices"
	"sort"
)

// receiver is the receiving half of one generation of a link: it puts batches in
// order, drops what came before, and knows what is missing. It has no goroutine,
// clock or lock.
type receiver struct {
	heldLimit int // most bytes held out of order

	cum   uint64    // all frames up to here were made ready
	last  uint64    // number of the newest frame that the peer is known to have sent
	held  []segment // out of order, sorted by first
	bytes int       // held bytes, with an allowance for each segment

	ready []segment // in order, for the caller to deliver and clear
}

// segment is the frames of one received batch.
type segment struct {
	first uint64
	count int
	body  []byte
}

func (g segment) end() uint64 { return g.first + uint64(g.count) - 1 }

// span is a run of frame numbers, both ends included.
type span struct{ first, last uint64 }

// segmentOverhead is what a held segment costs of the limit beside its bytes.
const segmentOverhead = 128

// outcome is what became of a batch.
type outcome struct {
	fresh   int  // frames made ready or held
	dup     int  // frames that had arrived before
	dropped bool // no room to hold it: the sender sends it again
}

// accept takes a batch. Frames that are next in order, also held ones that follow
// them, are appended to ready.
func (r *receiver) accept(g segment) outcome {
	if g.end() <= r.cum {
		if mutantDedupe {
			r.ready = append(r.ready, g)
		}
		return outcome{dup: g.count}
	}
	if g.first > r.cum+1 {
		return r.hold(g)
	}
	dup := r.release(g)
	n := 0
	for n < len(r.held) && r.held[n].first <= r.cum+1 {
		h := r.held[n]
		r.bytes -= len(h.body) + segmentOverhead
		if h.end() > r.cum {
			r.release(h)
		}
		n++
	}
	if n == len(r.held) {
		r.held = nil
	} else if n > 0 {
		r.held = slices.Delete(r.held, 0, n)
	}
	return outcome{fresh: g.count - dup, dup: dup}
}

// release makes the frames of g beyond cum ready, and returns how many were not.
func (r *receiver) release(g segment) (skipped int) {
	for g.first <= r.cum {
		_, g.body = cutFrame(g.body)
		g.first++
		g.count--
		skipped++
	}
	r.ready = append(r.ready, g)
	r.cum = g.end()
	r.last = max(r.last, r.cum)
	return skipped
}

func (r *receiver) hold(g segment) outcome {
	i := sort.Search(len(r.held), func(i int) bool { return r.held[i].first >= g.first })
	if i < len(r.held) && r.held[i].first == g.first && r.held[i].count >= g.count {
		return outcome{dup: g.count}
	}
	size := len(g.body) + segmentOverhead
	if r.bytes+size > r.heldLimit {
		return outcome{dropped: true}
	}
	r.bytes += size
	r.held = slices.Insert(r.held, i, g)
	r.last = max(r.last, g.end())
	return outcome{fresh: g.count}
}

// announce takes the number of the newest frame that the peer sent, after the
// datagram's batch was accepted. It returns how many frames that nobody knew of
// before are missing; got is the batch's run, empty (last < first) if it had none.
func (r *receiver) announce(last, known uint64, got span) (gap int) {
	r.last = max(r.last, last)
	if last <= known {
		return 0
	}
	gap = int(last - known)
	if lo, hi := max(got.first, known+1), min(got.last, last); lo <= hi {
		gap -= int(hi - lo + 1)
	}
	return gap
}

// missing appends the first runs of missing frames to dst, at most limit.
func (r *receiver) missing(dst []span, limit int) []span {
	next := r.cum + 1
	for _, g := range r.held {
		if len(dst) == limit {
			return dst
		}
		if g.first > next {
			dst = append(dst, span{next, g.first - 1})
		}
		next = max(next, g.end()+1)
	}
	if next <= r.last && len(dst) < limit {
		dst = append(dst, span{next, r.last})
	}
	return dst
}
