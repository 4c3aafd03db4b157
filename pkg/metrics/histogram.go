package metrics

import (
	"math"
	"sync/atomic"
	"time"
)

// A histogram has eight buckets for each doubling: bucket k holds what is above
// 2^((k-1)/8) and at most 2^(k/8). These are the native buckets of Prometheus with
// schema 3. A quantile read from them is at most 4.5 % off.
const (
	perDoubling = 8
	schema      = 3
)

// span is the range of buckets of a unit. What is at or below the lowest bound is
// in the zero bucket, what is above the highest in the last one.
type span struct{ low, high int } // exponents of two

var (
	timeSpan = span{-20, 8} // 1 µs to 256 s
	sizeSpan = span{-1, 24} // 0.5 to 16 Mi
)

// fractions are the bounds within a doubling, as math.Frexp gives them.
var fractions = func() (f [perDoubling]float64) {
	for i := range f {
		f[i] = math.Exp2(float64(i)/perDoubling) / 2
	}
	return f
}()

// bucketOf returns the bucket of v, which is positive.
func bucketOf(v float64) int {
	fraction, exponent := math.Frexp(v)
	low, high := 0, perDoubling
	for low < high {
		if mid := (low + high) / 2; fractions[mid] < fraction {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low + (exponent-1)*perDoubling
}

// upper returns the upper bound of a bucket.
func upper(bucket int) float64 { return math.Exp2(float64(bucket) / perDoubling) }

// histogram counts values in buckets. One atomic addition counts, another sums up.
type histogram struct {
	span  span
	scale float64 // of sum
	sum   atomic.Uint64
	zero  atomic.Uint64
	n     []atomic.Uint64 // n[0] is the bucket above span.low
}

func newHistogram(i *Instrument) *histogram {
	h := &histogram{span: sizeSpan, scale: 1}
	if i.Unit == Seconds {
		h.span, h.scale = timeSpan, 1/float64(time.Second)
	}
	h.n = make([]atomic.Uint64, (h.span.high-h.span.low)*perDoubling)
	return h
}

// time counts a duration.
func (h *histogram) time(d time.Duration) {
	h.count(uint64(max(d, 0)), float64(d)/float64(time.Second))
}

// size counts a number of things.
func (h *histogram) size(n int) { h.count(uint64(max(n, 0)), float64(n)) }

func (h *histogram) count(raw uint64, v float64) {
	h.sum.Add(raw)
	if v <= 0 {
		h.zero.Add(1)
		return
	}
	switch i := bucketOf(v) - h.span.low*perDoubling - 1; {
	case i < 0:
		h.zero.Add(1)
	default:
		h.n[min(i, len(h.n)-1)].Add(1)
	}
}

// Distribution is what a histogram has counted.
type Distribution struct {
	Count   uint64
	Sum     float64
	Zero    uint64  // values at or below Floor
	Floor   float64 // the lower bound of the lowest bucket
	Buckets []Bucket
}

// Bucket is a bucket that is not empty.
type Bucket struct {
	Index int // the upper bound is 2^(Index/8)
	Count uint64
}

// Upper is the largest value that belongs in the bucket; the one before ends where
// it begins.
func (b Bucket) Upper() float64 { return upper(b.Index) }

// Middle is the value that is in the middle of the bucket, on a logarithmic scale:
// at most 4.5 % from any other in it.
func (b Bucket) Middle() float64 { return math.Exp2((float64(b.Index) - 0.5) / perDoubling) }

func (h *histogram) value() *Distribution {
	d := &Distribution{Zero: h.zero.Load(), Floor: math.Exp2(float64(h.span.low))}
	d.Count = d.Zero
	for i := range h.n {
		if n := h.n[i].Load(); n > 0 {
			d.Buckets = append(d.Buckets, Bucket{Index: h.span.low*perDoubling + 1 + i, Count: n})
			d.Count += n
		}
	}
	d.Sum = float64(h.sum.Load()) * h.scale
	return d
}

// AtMost returns how many values are at most bound, which is a power of two.
func (d *Distribution) AtMost(bound float64) uint64 {
	if bound < d.Floor {
		return 0
	}
	n := d.Zero
	last := bucketOf(bound)
	for _, b := range d.Buckets {
		if b.Index > last {
			break
		}
		n += b.Count
	}
	return n
}

// Since returns what came after before, an earlier value of the same histogram; nil
// is its beginning.
func (d *Distribution) Since(before *Distribution) *Distribution {
	if before == nil {
		return d
	}
	diff := &Distribution{Count: d.Count - before.Count, Sum: d.Sum - before.Sum, Zero: d.Zero - before.Zero, Floor: d.Floor}
	old := before.Buckets
	for _, b := range d.Buckets {
		if len(old) > 0 && old[0].Index == b.Index {
			b.Count -= old[0].Count
			old = old[1:]
		}
		if b.Count > 0 {
			diff.Buckets = append(diff.Buckets, b)
		}
	}
	return diff
}

// Quantile returns the middle of the bucket that holds the q-th part of all values.
func (d *Distribution) Quantile(q float64) float64 {
	rank := uint64(math.Ceil(q * float64(d.Count)))
	seen := d.Zero
	if rank <= seen {
		return d.Floor
	}
	for _, b := range d.Buckets {
		if seen += b.Count; seen >= rank {
			return b.Middle()
		}
	}
	return 0
}
