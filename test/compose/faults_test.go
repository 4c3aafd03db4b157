package compose

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// people is how many clients a crowd has.
const people = 12

// drained is how a gateway that stops closes its clients.
const drained = "1012 drain"

// restarted restarts one gateway after the other, as an update does.
func restarted(s *stack) {
	start, err := s.counts()
	if err != nil {
		s.t.Fatal(err)
	}
	c := startCrowd(s.ctx, s.host(), people)
	defer c.stop()
	s.goesOn(c)
	gateways := s.containers("gateway")
	for _, gateway := range gateways {
		s.docker("restart", gateway)
		s.awaitHealthy(gateway)
		s.goesOn(c)
	}
	got, err := c.end()
	s.t.Logf("%d gateways restarted: %v", len(gateways), got)
	if err != nil {
		s.blame(err)
	}
	// Each gateway had clients, and told all of them.
	if got.closes[drained] < len(gateways) || len(got.closes) != 1 {
		s.blame(fmt.Errorf("closes: %v; want %q only, %d or more", got.closes, drained, len(gateways)))
	}
	s.lostNothing(start, got)
}

// broken stops a gateway, cuts one off Redis, and restarts Redis.
func broken(s *stack) {
	c := startCrowd(s.ctx, s.host(), people)
	defer c.stop()
	s.goesOn(c)
	gateways := s.containers("gateway")

	s.docker("stop", gateways[0])
	before := s.goesOn(c) // on the others
	s.docker("start", gateways[0])
	s.awaitHealthy(gateways[0])
	if before.closes[drained] == 0 {
		s.t.Error("the gateway that was stopped had no clients")
	}

	s.docker("network", "disconnect", project+"_backend", gateways[1])
	s.stalls(c)
	s.docker("network", "connect", project+"_backend", gateways[1])
	s.goesOn(c)

	// This Redis keeps nothing: what it held is written again from memory.
	s.docker("restart", s.containers("redis")[0])
	s.goesOn(c)
	s.eventually(func() error { return s.counted(people) })

	got, err := c.end()
	s.t.Log(got)
	if err != nil {
		s.blame(err)
	}
	if !maps.Equal(got.closes, before.closes) {
		s.blame(fmt.Errorf("closes: %v; want %v as before the gateway was cut off", got.closes, before.closes))
	}
}

// stalls waits until some clients of the crowd wait for an answer while others were
// answered many times.
func (s *stack) stalls(c *crowd) {
	s.t.Helper()
	before, err := c.seen()
	if err != nil {
		s.blame(err)
	}
	s.eventually(func() error {
		now, err := c.seen()
		if err != nil {
			s.blame(err)
		}
		quiet, talking := 0, 0
		for i := range now.answered {
			switch n := now.answered[i] - before.answered[i]; {
			case n < 2*window+50:
				quiet++
			case n > 500:
				talking++
			}
		}
		if quiet == 0 || talking == 0 {
			return fmt.Errorf("%d clients wait, %d go on; want some of each", quiet, talking)
		}
		return nil
	})
}

// counted compares the pins that Redis counts with the sockets that there are.
func (s *stack) counted(sockets int) error {
	text := s.docker("exec", s.containers("redis")[0], "redis-cli", "zrange", "bo:boreas:{chat.0}:c", "0", "-1", "withscores")
	pins := 0
	for i, field := range strings.Fields(text) {
		if i%2 == 1 {
			n, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			pins += n
		}
	}
	if pins != sockets {
		return fmt.Errorf("Redis counts %d pins; there are %d sockets", pins, sockets)
	}
	return nil
}

// awaitHealthy waits until the engine finds a container healthy.
func (s *stack) awaitHealthy(container string) {
	s.t.Helper()
	s.eventually(func() error {
		if status := s.docker("inspect", "--format", "{{.State.Health.Status}}", container); status != "healthy" {
			return fmt.Errorf("container %s is %s", container, status)
		}
		return nil
	})
}
