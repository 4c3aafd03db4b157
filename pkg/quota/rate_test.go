package quota

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBucketKeepsItsRate: whatever comes whenever, no window has more than a burst
// and what the rate allows in it; and one that asks again when it was told to gets it.
func TestBucketKeepsItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{PerSecond: rapid.Float64Range(0.1, 1000).Draw(t, "rate"), Burst: rapid.IntRange(1, 1000).Draw(t, "burst")}
		var b Bucket
		now, start, taken := time.Duration(0), time.Duration(0), 0.0
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "pause"))
			if rapid.IntRange(0, 9).Draw(t, "reset") == 0 {
				start, taken = now, 0
			}
			n := float64(rapid.IntRange(1, r.Burst).Draw(t, "n"))
			if wait := b.Take(r, n, now); wait > 0 {
				now += wait + 1
				if b.Take(r, n, now) != 0 {
					t.Fatalf("told to wait %v, it was refused again", wait)
				}
			}
			if taken += n; taken > r.Size()+r.PerSecond*(now-start).Seconds()+1e-5 {
				t.Fatalf("%v in %v", taken, now-start)
			}
		}
	})
}

func TestRateText(t *testing.T) {
	for text, want := range map[string]Rate{
		"20": {PerSecond: 20}, "0": {}, "0.5:30": {PerSecond: 0.5, Burst: 30},
	} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want || r.String() != text {
			t.Errorf("%s: %+v (%s), %v", text, r, r, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1:", "1:-1", "0:5", "1e99", "NaN", "Inf", "1:1.5"} {
		r := Rate{PerSecond: 7}
		if err := r.UnmarshalText([]byte(text)); err == nil || r.PerSecond != 7 {
			t.Errorf("%q was read as %+v", text, r)
		}
	}
}

func TestFits(t *testing.T) {
	q := &Quota{cfg: Config{User: Limits{ByteRate: Rate{PerSecond: 10, Burst: 1000}}}}
	if !q.Fits(1000) || q.Fits(1001) {
		t.Errorf("with a burst of 1000: 1000 fits %v, 1001 fits %v", q.Fits(1000), q.Fits(1001))
	}
	if q = new(Quota); !q.Fits(1 << 30) {
		t.Error("without a limit, a message does not fit")
	}
}
