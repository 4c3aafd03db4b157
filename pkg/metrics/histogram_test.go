package metrics

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"pgregory.net/rapid"
)

// TestBucketsAreThoseOfPrometheus holds a histogram against one of client_golang
// with the same schema, bucket by bucket.
func TestBucketsAreThoseOfPrometheus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := &Instrument{Name: "h", Kind: Histogram, Unit: Seconds, Classic: powersOfTwo(-13, 5)}
		h := newHistogram(i)
		reference := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "h", Help: "h", Buckets: i.Classic,
			NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: math.Exp2(float64(timeSpan.low)),
		})
		values := rapid.SliceOf(rapid.OneOf(
			rapid.Int64Range(0, int64(200*time.Second)),
			rapid.Int64Range(0, int64(time.Millisecond)),
			rapid.Map(rapid.IntRange(-13, 5), func(e int) int64 { return int64(math.Exp2(float64(e)) * 1e9) }),
		)).Draw(t, "values")
		for _, v := range values {
			h.time(time.Duration(v))
			reference.Observe(time.Duration(v).Seconds())
		}
		var want dto.Metric
		if err := reference.Write(&want); err != nil {
			t.Fatal(err)
		}
		got, w := h.value().proto(i.Classic), want.GetHistogram()
		if got.GetSampleCount() != w.GetSampleCount() || math.Abs(got.GetSampleSum()-w.GetSampleSum()) > 1e-6 {
			t.Errorf("count %d, sum %v; want %d, %v", got.GetSampleCount(), got.GetSampleSum(), w.GetSampleCount(), w.GetSampleSum())
		}
		for n, b := range w.GetBucket() {
			if g := got.GetBucket()[n]; g.GetUpperBound() != b.GetUpperBound() || g.GetCumulativeCount() != b.GetCumulativeCount() {
				t.Errorf("classic %v: %d; want %d", g.GetUpperBound(), g.GetCumulativeCount(), b.GetCumulativeCount())
			}
		}
		if got.GetSchema() != w.GetSchema() || got.GetZeroCount() != w.GetZeroCount() || !slices.Equal(absolute(got), absolute(w)) {
			t.Errorf("native: schema %d, zero %d, %v\nwant %d, %d, %v", got.GetSchema(), got.GetZeroCount(), absolute(got),
				w.GetSchema(), w.GetZeroCount(), absolute(w))
		}
	})
}

// absolute lists the native buckets that are not empty.
func absolute(h *dto.Histogram) (list []Bucket) {
	index, count, n := 0, int64(0), 0
	for _, s := range h.GetPositiveSpan() {
		index += int(s.GetOffset())
		for range s.GetLength() {
			count += h.GetPositiveDelta()[n]
			if count > 0 {
				list = append(list, Bucket{index, uint64(count)})
			}
			index++
			n++
		}
	}
	return list
}

func TestQuantilesAreWithinTheBucket(t *testing.T) {
	h := newHistogram(&Instrument{Unit: Seconds})
	for i := range 1000 {
		h.time(time.Duration(i+1) * time.Millisecond)
	}
	first := h.value()
	for q, want := range map[float64]float64{0.5: 0.5, 0.9: 0.9, 0.99: 0.99} {
		if got := first.Quantile(q); math.Abs(got/want-1) > 0.046 {
			t.Errorf("the %v quantile is %v; want %v", q, got, want)
		}
	}
	h.time(2 * time.Hour) // beyond the last bucket
	if d := h.value().Since(first); d.Count != 1 || len(d.Buckets) != 1 || math.Abs(d.Sum-7200) > 1e-6 {
		t.Errorf("one more value: %+v", d)
	}
}

func BenchmarkTime(b *testing.B) {
	h := newHistogram(&Instrument{Unit: Seconds})
	for i := range b.N {
		h.time(time.Duration(i))
	}
}

func BenchmarkAdd(b *testing.B) {
	c := newCounter()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			c.add(1)
		}
	})
}
