package metrics

import (
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
)

// stripes is how many cells a counter has, so that cores do not wait for each other
// at a cache line: a power of two.
var stripes = func() int {
	n := 1
	for n < runtime.GOMAXPROCS(0)/2 && n < 16 {
		n *= 2
	}
	return n
}()

// cell is padded to a cache line of its own.
type cell struct {
	n atomic.Uint64
	_ [56]byte
}

// counter only grows. The zero value is not usable.
type counter struct{ cells []cell }

func newCounter() *counter { return &counter{make([]cell, stripes)} }

func (c *counter) add(n int) {
	i := 0
	if len(c.cells) > 1 {
		i = int(rand.Uint32()) & (len(c.cells) - 1)
	}
	c.cells[i].n.Add(uint64(n))
}

func (c *counter) value() uint64 {
	var sum uint64
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}

// gauge is a value that is set, or changed by whole numbers.
type gauge struct {
	set   atomic.Uint64 // bits of a float64
	delta atomic.Int64
}

func (g *gauge) add(n int)       { g.delta.Add(int64(n)) }
func (g *gauge) store(v float64) { g.set.Store(math.Float64bits(v)) }
func (g *gauge) value() float64  { return math.Float64frombits(g.set.Load()) + float64(g.delta.Load()) }

const (
	// maxSeries is the most series of an instrument. Further combinations of label
	// values share one series, whose values are all "other".
	maxSeries = 2000
	maxLabels = 3
)

// labels are the values of an instrument's labels, in its order.
type labels [maxLabels]string

// vec is something for each combination of label values, such as the series of an
// instrument. What exists is found without a lock.
type vec[T any] struct {
	n      int // labels
	create func(labels) *T

	known atomic.Pointer[map[labels]*T] // immutable maps
	mu    sync.Mutex                    // held while a map is replaced
}

func newVec[T any](n int, create func(labels) *T) *vec[T] {
	v := &vec[T]{n: n, create: create}
	v.known.Store(&map[labels]*T{})
	return v
}

// with returns what has these label values, and makes it if need be.
func (v *vec[T]) with(values ...string) *T {
	var key labels
	copy(key[:], values)
	if s := (*v.known.Load())[key]; s != nil {
		return s
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	old := *v.known.Load()
	if s := old[key]; s != nil {
		return s
	}
	if len(old) >= maxSeries {
		key = labels{}
		for i := range v.n {
			key[i] = "other"
		}
		if s := old[key]; s != nil {
			return s
		}
	}
	grown := make(map[labels]*T, len(old)+1)
	maps.Copy(grown, old)
	s := v.create(key)
	grown[key] = s
	v.known.Store(&grown)
	return s
}

// forget removes everything.
func (v *vec[T]) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known.Store(&map[labels]*T{})
}
