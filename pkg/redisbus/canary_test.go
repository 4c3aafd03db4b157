package redisbus

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/link"
)

// TestForgedCanaries gives a node what somebody sends who reads its canaries and may
// publish: none of it counts as a return.
func TestForgedCanaries(t *testing.T) {
	returns := 0
	cfg := Config{SilenceLimit: time.Second, CanaryEvery: time.Second, Hooks: Hooks{Canary: func(time.Duration) { returns++ }}}
	ready := func(link.Source) {}
	c, earlier := newCanary(cfg, "ch", ready), newCanary(cfg, "ch", ready)
	genuine, _ := c.Next(nil)
	other, _ := earlier.Next(nil)
	later := binary.BigEndian.AppendUint64(nil, uint64(time.Hour))
	for name, forged := range map[string][]byte{
		"nothing":            {},
		"a time":             later,
		"no tag":             genuine[:canaryTime],
		"a short tag":        genuine[:len(genuine)-1],
		"a later time":       append(bytes.Clone(later), genuine[canaryTime:]...),
		"of another process": other,
	} {
		if c.Datagram(forged); c.age() != never || returns != 0 {
			t.Fatalf("%s: it was taken for the canary", name)
		}
	}
	c.Datagram(genuine)
	if c.age() == never || returns != 1 {
		t.Error("the canary was not recognised")
	}
	if c.Datagram(genuine); returns != 1 {
		t.Error("the canary returned twice")
	}
}
