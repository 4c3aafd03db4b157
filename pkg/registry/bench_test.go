package registry

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// BenchmarkPin pins and unpins through one registry, with so many callers at a time
// as its name says; what gathers while an exchange is under way shares the next one.
// It reports what Redis spent, in CPU time of all its threads and inside scripts.
func BenchmarkPin(b *testing.B) {
	for _, callers := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			client := realServer(b)
			c := newCluster(b, client)
			for n := range 3 {
				c.instance(fmt.Sprint("i", n), chat, benchmarked)
			}
			g := c.gateway("g", benchmarked)
			g.pin(b, 0, 1)
			before := spent(b, client)
			b.ResetTimer()
			b.ReportAllocs()
			each(b.N, callers, func(i int) {
				if _, err := g.Pin(context.Background(), chat.Name, benchSocket(i)); err != nil {
					b.Error(err)
				}
			})
			b.StopTimer()
			after := spent(b, client)
			n := float64(b.N)
			b.ReportMetric(n/b.Elapsed().Seconds(), "pins/s")
			b.ReportMetric((after.cpu-before.cpu)*1e6/n, "redis-us/pin")
			b.ReportMetric(float64(after.scripts-before.scripts)/n, "script-us/pin")
			b.ReportMetric(n/float64(after.calls-before.calls), "pins/call")
		})
	}
}

// BenchmarkPinMemory reports what one pin takes in Redis.
func BenchmarkPinMemory(b *testing.B) {
	client := realServer(b)
	c := newCluster(b, client)
	for n := range 3 {
		c.instance(fmt.Sprint("chat-5d9c7b6f4-x2k9", n), chat, benchmarked)
	}
	g := c.gateway("gateway-7c8d9f6b5-q4w8z", benchmarked)
	const pins = 100_000
	for b.Loop() {
		g.pin(b, 0, 1)
		before := spent(b, client)
		each(pins, 256, func(i int) {
			if _, err := g.Pin(context.Background(), chat.Name, benchSocket(i)); err != nil {
				b.Error(err)
			}
		})
		b.ReportMetric(float64(spent(b, client).memory-before.memory)/pins, "bytes/pin")
		for i := range pins {
			g.Unpin(chat.Name, benchSocket(i))
		}
		eventually(b, soon, func() string {
			if n := g.Pins(chat.Name); n > 1 {
				return fmt.Sprint(n, " pins are left")
			}
			return ""
		})
	}
}

// BenchmarkPinSet is the part of Pin that does not talk to Redis.
func BenchmarkPinSet(b *testing.B) {
	set := newPinSet()
	w := newWaiter()
	var batch []operation
	at := inc("a", 1)
	b.ReportAllocs()
	for i := range b.N {
		socket := benchSocket(i & 1023)
		set.pin(socket, w, 1)
		batch = set.take(1, batch[:0])
		if len(batch) > 0 {
			batch[0].at = at
			set.settle(batch)
		}
		<-w.done
	}
}

func benchmarked(cfg *Config) { cfg.LeaseTTL, cfg.Tick, cfg.Poll = 0, 0, 0 }

// benchSocket looks like a real socket id: 22 characters.
func benchSocket(i int) wire.SocketID {
	return wire.SocketID("Zm9vYmFyYmF6cXV4" + strconv.Itoa(100_000+i))
}

// each runs f for 0 to n-1 from so many goroutines.
func each(n, callers int, f func(i int)) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range callers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	group.Wait()
}

// resources are what a Redis used since it started.
type resources struct {
	cpu     float64 // seconds, of all threads
	scripts int64   // us inside EVALSHA
	calls   int64   // of EVALSHA
	memory  int64   // bytes, at present
}

func spent(b *testing.B, client *redis.Client) resources {
	b.Helper()
	info, err := client.Info(context.Background(), "cpu", "commandstats", "memory").Result()
	if err != nil {
		b.Fatal(err)
	}
	var r resources
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_cpu_sys", "used_cpu_user":
			seconds, _ := strconv.ParseFloat(value, 64)
			r.cpu += seconds
		case "used_memory":
			r.memory, _ = strconv.ParseInt(value, 10, 64)
		case "cmdstat_evalsha":
			if _, err := fmt.Sscanf(value, "calls=%d,usec=%d,", &r.calls, &r.scripts); err != nil {
				b.Fatal(err)
			}
		}
	}
	return r
}

// BenchmarkGenerations loses the pins of a large gateway, which writes them again,
// and then reaps it. It reports the rate of both and the longest exchange, which is
// how long Redis served nobody else.
func BenchmarkGenerations(b *testing.B) {
	const pins = 100_000
	client := realServer(b)
	c := newCluster(b, client)
	c.instance("i", chat, benchmarked)
	ctx := context.Background()
	longest := map[string]time.Duration{}
	r, err := New(Config{Client: client, Namespace: c.namespace, Self: inc("g", 100), LeaseTTL: modelTTL, Hooks: Hooks{
		Call: func(script string, _ int, took time.Duration, _ error) { longest[script] = max(longest[script], took) },
	}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l := newLane(r, chat.Name)
		for i := range pins {
			l.set.set(benchSocket(i), inc("i", 1))
		}
		start := time.Now()
		if err := l.work(ctx, nil); err != nil {
			b.Fatal(err)
		}
		restored := time.Since(start)
		start = time.Now()
		if err := r.reap(ctx, chat.Name, l.member, true); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(pins/restored.Seconds(), "restored/s")
		b.ReportMetric(pins/time.Since(start).Seconds(), "reaped/s")
	}
	b.ReportMetric(float64(longest["restore"].Microseconds()), "restore-max-us")
	b.ReportMetric(float64(longest["reap"].Microseconds()), "reap-max-us")
}
