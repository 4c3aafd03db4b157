package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Fanout is what pushes to a group cost, against a server that writes to its sockets
// itself.
type Fanout struct {
	Target   string             `json:"target"`
	Sockets  int                `json:"sockets"`
	Pace     int                `json:"messages_per_second"` // that were asked for
	Rate     float64            `json:"deliveries_per_second"`
	CPU      map[string]float64 `json:"cpu_us_per_delivery"`
	CPUTotal float64            `json:"cpu_us_per_delivery_total"`
}

// fanoutShape is how many sockets get how many messages a second.
type fanoutShape struct{ sockets, rate int }

// pushed is what is sent: as long as a message of the other measurements. The number
// has seven digits.
const (
	pushedHead = `{"path":"/n","data":`
	pushedData = `{"n":%d,"text":"the quick brown fox jumps over the lazy dog","ok":true,"tags":["a","b","c","d"]}`
	firstPush  = 1_000_000
)

// receiver is a socket that checks what is pushed to it: each message once, in order.
type receiver struct {
	*client
	got atomic.Int64
}

var pushedKey = []byte(`"n":`)

// listen reads until the connection ends.
func (r *receiver) listen() error {
	buf := make([]byte, 0, 64<<10)
	buf = append(buf, r.in...)
	for {
		n, err := r.conn.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return err
		}
		buf = buf[:len(buf)+n]
		rest, messages := buf, int64(0)
		for {
			op, payload, n, err := parseFrame(rest)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			rest = rest[n:]
			if op != opText {
				continue
			}
			at := bytes.Index(payload, pushedKey)
			if at < 0 {
				continue // the answer to the join
			}
			at += len(pushedKey)
			number, err := strconv.ParseInt(string(payload[at:at+7]), 10, 64)
			if want := firstPush + r.got.Load() + messages; err != nil || number != want {
				return fmt.Errorf("push %d came in place of %d", number, want)
			}
			messages++
		}
		r.got.Add(messages)
		buf = buf[:copy(buf, rest)]
	}
}

// measureFanout has a target send to sockets, and returns what each delivery cost. The
// publisher is told by HTTP how much to send.
func measureFanout(ctx context.Context, targets []*target, publisher string, s fanoutShape, warmup, duration time.Duration) (_ sample, err error) {
	var receivers []*receiver
	var reading sync.WaitGroup
	failed := make(chan error, s.sockets)
	defer func() {
		for _, r := range receivers {
			r.close()
		}
		reading.Wait()
	}()
	for i := range s.sockets {
		t := targets[i%len(targets)]
		c, err := dial(ctx, t)
		if err != nil {
			return sample{}, err
		}
		r := &receiver{client: c}
		receivers = append(receivers, r)
		if t.name == nameBoreas {
			if err := r.joins(); err != nil {
				return sample{}, err
			}
		}
		reading.Go(func() {
			if err := r.listen(); err != nil {
				failed <- err
			}
		})
	}
	procs := map[string]process{}
	for _, t := range targets {
		for _, p := range t.procs {
			procs[p.name] = p
		}
	}
	sent := 0
	send := func(d time.Duration) error {
		n := max(1, int(d.Seconds()*float64(s.rate)))
		if err := order(ctx, publisher, s, firstPush+sent, n); err != nil {
			return err
		}
		sent += n
		for _, r := range receivers {
			for r.got.Load() < int64(sent) {
				select {
				case err := <-failed:
					return err
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Millisecond):
				}
			}
		}
		return nil
	}
	if err := send(warmup); err != nil {
		return sample{}, err
	}
	before, start, already := map[string]time.Duration{}, time.Now(), sent
	for name, p := range procs {
		if before[name], err = cpuTime(p.pid); err != nil {
			return sample{}, err
		}
	}
	if err := send(duration); err != nil {
		return sample{}, err
	}
	deliveries := (sent - already) * s.sockets
	m := sample{rate: float64(deliveries) / time.Since(start).Seconds(), cpu: map[string]time.Duration{}}
	for name, p := range procs {
		after, err := cpuTime(p.pid)
		if err != nil {
			return sample{}, err
		}
		m.cpu[name] = (after - before[name]) / time.Duration(deliveries)
	}
	return m, nil
}

// joins puts the socket into the group that is pushed to.
func (r *receiver) joins() error {
	payload := `{"path":"/fanout/join","id":"1"}`
	frame := append([]byte{0x80 | opText, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	if _, err := r.conn.Write(frame); err != nil {
		return err
	}
	for {
		_, payload, n, err := parseFrame(r.in)
		if err != nil {
			return err
		}
		if n > 0 {
			r.in = r.in[n:]
			if !bytes.Contains(payload, []byte("joined")) {
				return fmt.Errorf("join: %s", payload)
			}
			return nil
		}
		if err := r.conn.SetReadDeadline(time.Now().Add(ioTimeout)); err != nil {
			return err
		}
		b := make([]byte, 4096)
		if n, err = r.conn.Read(b); err != nil {
			return err
		}
		r.in = append(r.in, b[:n]...)
		if err := r.conn.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
	}
}

// order tells a publisher to send n messages, numbered from first, and returns when it has.
func order(ctx context.Context, publisher string, s fanoutShape, first, n int) error {
	url := fmt.Sprintf("http://%s/publish?rate=%d&n=%d&sockets=%d&first=%d", publisher, s.rate, n, s.sockets, first)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return errors.New(string(body))
	}
	return nil
}

// fanouts measures both in turn, and Boreas alone at ten times the pace.
func fanouts(ctx context.Context, s *stack, o options) ([]Fanout, error) {
	bare, bareAt, err := s.bareFanout(ctx)
	if err != nil {
		return nil, err
	}
	gateways, at, err := s.boreasFanout(ctx)
	if err != nil {
		return nil, err
	}
	fast := fanoutShape{o.fanout.sockets, 10 * o.fanout.rate}
	cases := []struct {
		targets   []*target
		publisher string
		fanoutShape
		samples []sample
	}{
		{targets: []*target{bare}, publisher: bareAt, fanoutShape: o.fanout},
		{targets: gateways, publisher: at, fanoutShape: o.fanout},
		{targets: gateways, publisher: at, fanoutShape: fast},
	}
	for round := range o.rounds {
		progressf("pushes to %d sockets, round %d of %d", o.fanout.sockets, round+1, o.rounds)
		for i := range cases {
			c := &cases[i]
			m, err := measureFanout(ctx, c.targets, c.publisher, c.fanoutShape, o.warmup, o.duration)
			if err != nil {
				return nil, fmt.Errorf("pushes, %s, %d a second: %w", c.targets[0].name, c.rate, err)
			}
			c.samples = append(c.samples, m)
		}
	}
	var all []Fanout
	for _, c := range cases {
		l := newLoad(shape{}, c.targets[0].name, median(c.samples))
		all = append(all, Fanout{Target: l.Target, Sockets: c.sockets, Pace: c.rate, Rate: l.Rate, CPU: l.CPU, CPUTotal: l.CPUTotal})
	}
	return all, nil
}
