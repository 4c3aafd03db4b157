package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// dialers is how many connections are being opened at a time.
const dialers = 32

// Footprint is what idle sockets cost in memory.
type Footprint struct {
	Name    string `json:"name"`
	Process string `json:"process"`
	Sockets int    `json:"sockets"`
	// Bytes that the process holds for each socket, beyond what it held without
	// any: as they are some seconds after the last socket came, and after a
	// garbage collection.
	Bytes   float64 `json:"bytes_per_socket"`
	AfterGC float64 `json:"bytes_per_socket_after_gc"`
}

// idle measures n sockets that do nothing: of the bare server, and of a gateway
// before and after each of them has had one message answered. Memory is read every
// interval until it has settled. scrape is how long GET /metrics took at the end.
func idle(ctx context.Context, s *stack, n int, interval time.Duration) (_ []Footprint, scrape time.Duration, err error) {
	var all []Footprint
	bare, err := s.bare(ctx)
	if err != nil {
		return nil, 0, err
	}
	h := newHold(bare, n, interval)
	defer h.close()
	if err := h.open(ctx); err != nil {
		return nil, 0, err
	}
	f, err := h.footprints(ctx, bare.name)
	if err != nil {
		return nil, 0, err
	}
	all = append(all, f...)
	h.close()
	s.stop()

	boreas, err := s.boreas(ctx, metered)
	if err != nil {
		return nil, 0, err
	}
	h = newHold(boreas, n, interval)
	defer h.close()
	if err := h.open(ctx); err != nil {
		return nil, 0, err
	}
	if f, err = h.footprints(ctx, "boreas, not pinned"); err != nil {
		return nil, 0, err
	}
	all = append(all, f[0]) // the service knows nothing of them
	if err := h.pin(ctx); err != nil {
		return nil, 0, err
	}
	if f, err = h.footprints(ctx, "boreas, pinned"); err != nil {
		return nil, 0, err
	}
	if scrape, err = boreas.scrape(ctx); err != nil {
		return nil, 0, err
	}
	s.stop()
	return append(all, f...), scrape, nil
}

// scrape returns the median time of reading the gateway's instruments.
func (t *target) scrape(ctx context.Context) (time.Duration, error) {
	var took [9]time.Duration
	for i := range took {
		start := time.Now()
		if err := t.procs[0].fetch(ctx, "/metrics", io.Discard); err != nil {
			return 0, err
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took[:])
	return took[len(took)/2], nil
}

// hold is a number of sockets that are held open.
type hold struct {
	t        *target
	interval time.Duration // between two readings of memory
	clients  []*client
	replies  chan struct{}
	before   map[int]int64 // resident set by process id, without sockets
}

func newHold(t *target, n int, interval time.Duration) *hold {
	return &hold{t: t, interval: interval, clients: make([]*client, n), replies: make(chan struct{}, n), before: make(map[int]int64)}
}

func (h *hold) open(ctx context.Context) error {
	for _, p := range h.t.procs {
		rss, err := residentSet(p.pid)
		if err != nil {
			return err
		}
		h.before[p.pid] = rss
	}
	return h.each(func(i int, _ *client) error {
		c, err := dial(ctx, h.t)
		if err != nil {
			return err
		}
		c.patience = 0
		c.sent = make([]time.Time, 1)
		h.clients[i] = c
		go h.read(c)
		return nil
	})
}

// read answers pings and counts replies until the socket is closed.
func (h *hold) read(c *client) {
	for {
		n, err := c.receive(false)
		if err != nil {
			return // a socket that is missing shows when it does not reply
		}
		for range n {
			h.replies <- struct{}{}
		}
	}
}

// pin has one message answered on each socket, for dialers of them at a time.
func (h *hold) pin(ctx context.Context) error {
	return h.each(func(_ int, c *client) error {
		if err := c.send(1); err != nil {
			return err
		}
		select {
		case <-h.replies: // of this socket, or of another that waits as well
			return nil
		case <-time.After(ioTimeout):
			return errors.New("a reply is missing")
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

func (h *hold) close() {
	for _, c := range h.clients {
		if c != nil {
			c.close()
		}
	}
	h.clients = nil
}

// each calls do for each socket, for dialers of them at a time.
func (h *hold) each(do func(i int, c *client) error) error {
	failed := make(chan error, dialers)
	for k := range dialers {
		go func() {
			for i := k; i < len(h.clients); i += dialers {
				if err := do(i, h.clients[i]); err != nil {
					failed <- fmt.Errorf("%s, socket %d: %w", h.t.name, i, err)
					return
				}
			}
			failed <- nil
		}()
	}
	var err error
	for range dialers {
		err = errors.Join(err, <-failed)
	}
	return err
}

// footprints weighs every process of the target but Redis.
func (h *hold) footprints(ctx context.Context, name string) ([]Footprint, error) {
	var all []Footprint
	for _, p := range h.t.procs {
		if p.debug == "" { // Redis
			continue
		}
		f := Footprint{Name: name, Process: p.name, Sockets: len(h.clients)}
		var err error
		if f.Bytes, err = h.settled(ctx, p.pid); err != nil {
			return nil, err
		}
		if err := p.collectGarbage(ctx); err != nil {
			return nil, err
		}
		if f.AfterGC, err = h.settled(ctx, p.pid); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// settled waits until a process's memory changes little any more and returns what
// it holds for each socket. The runtime of Go gives memory back in its own time.
func (h *hold) settled(ctx context.Context, pid int) (float64, error) {
	const (
		quiet    = 3  // readings in a row that differ by less than 0.5 %
		patience = 20 // readings at most
	)
	tick := time.NewTicker(h.interval)
	defer tick.Stop()
	var last int64
	for n, still := 0, 0; n < patience && still < quiet; n++ {
		rss, err := residentSet(pid)
		if err != nil {
			return 0, err
		}
		still++
		if diff := rss - last; max(diff, -diff) > rss/200 {
			still = 0
		}
		last = rss
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return float64(last-h.before[pid]) / float64(len(h.clients)), nil
}
