package quota

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is how often something may happen: PerSecond in the long run, and up to
// Burst at once. The zero value is no limit.
type Rate struct { //nolint:recvcheck // UnmarshalText must have a pointer, values need none
	PerSecond float64
	// Burst is how much may come at once after a pause. Default: what PerSecond
	// allows in two seconds, at least 1.
	Burst int
}

// Limited reports whether r is a limit at all.
func (r Rate) Limited() bool { return r.PerSecond > 0 }

// Size is the burst that is in effect.
func (r Rate) Size() float64 {
	if r.Burst > 0 {
		return float64(r.Burst)
	}
	return max(math.Ceil(2*r.PerSecond), 1)
}

// earns is how long it takes to earn n; less than nothing if n is.
func (r Rate) earns(n float64) time.Duration {
	return time.Duration(max(min(n/r.PerSecond*float64(time.Second), maxWait), -maxWait))
}

// maxWait is longer than anybody waits, and small enough to count with.
const maxWait = 10 * 365 * 24 * float64(time.Hour)

// maxRate keeps what is computed from a rate exact, also in Redis.
const maxRate = 1 << 40

// Validate reports what is wrong with r.
func (r Rate) Validate() error {
	if r.PerSecond >= 0 && r.PerSecond <= maxRate && r.Burst >= 0 && r.Burst <= maxRate && (r.Burst == 0 || r.Limited()) {
		return nil
	}
	return fmt.Errorf("%v per second with a burst of %d is not a rate", r.PerSecond, r.Burst)
}

// String writes r as UnmarshalText reads it.
func (r Rate) String() string {
	s := strconv.FormatFloat(r.PerSecond, 'f', -1, 64)
	if r.Burst > 0 {
		s += ":" + strconv.Itoa(r.Burst)
	}
	return s
}

// UnmarshalText reads "RATE" or "RATE:BURST", such as "20" or "0.5:30". RATE is
// per second; 0 is no limit.
func (r *Rate) UnmarshalText(text []byte) error {
	rate, burst, both := strings.Cut(string(text), ":")
	var in Rate
	var err error
	if in.PerSecond, err = strconv.ParseFloat(rate, 64); err == nil && both {
		in.Burst, err = strconv.Atoi(burst)
	}
	if err != nil {
		return fmt.Errorf("%q is not of the form RATE or RATE:BURST, such as 20 or 0.5:30", text)
	}
	if err := in.Validate(); err != nil {
		return err
	}
	*r = in
	return nil
}

// Bucket says whether a rate is kept. The zero value is ready. It is for one
// goroutine, reads no clock and allocates nothing.
type Bucket struct {
	spent float64 // of the burst, at the time
	at    time.Duration
}

// Take takes n, and returns 0, or the time after which there will be enough; then
// nothing is taken. What is over the whole burst is never there. now is any clock
// that does not go back.
func (b *Bucket) Take(r Rate, n float64, now time.Duration) (wait time.Duration) {
	b.settle(r, now)
	if excess := b.spent + n - r.Size(); excess > rounding {
		return max(r.earns(excess), 1)
	}
	b.spent += n
	return 0
}

// rounding is what sums of fractions may be off by.
const rounding = 1e-6

// Give returns n that were taken and not used.
func (b *Bucket) Give(n float64) { b.spent = max(b.spent-n, 0) }

// Idle reports whether b is as good as a new one.
func (b *Bucket) Idle(r Rate, now time.Duration) bool {
	b.settle(r, now)
	return b.spent == 0
}

// settle forgets what has been earned again since.
func (b *Bucket) settle(r Rate, now time.Duration) {
	b.spent = max(b.spent-(now-b.at).Seconds()*r.PerSecond, 0)
	b.at = now
}
