package chaos

import (
	"runtime"
	"testing"
)

// TestMemory: the peak of a process that is dead counts, until reset; and that of one
// that lives, only since then.
func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("no /proc: nothing is measured")
		return
	}
	redis, err := startStandalone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	s := &system{backend: redis}
	const filling = 64 << 20
	fill := func() {
		t.Helper()
		// SETRANGE allocates and clears all of it.
		if err := redis.Client().SetRange(t.Context(), "k", filling, "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
	empty := func() {
		t.Helper()
		if err := redis.Client().Do(t.Context(), "FLUSHALL", "SYNC").Err(); err != nil {
			t.Fatal(err)
		}
		_ = redis.Client().Do(t.Context(), "MEMORY", "PURGE").Err() // not every allocator can
	}
	var m memory
	m.reset(s.serverPIDs())
	m.sample(s.serverPIDs())
	if peak := m.most(); peak == 0 || peak > filling {
		t.Fatalf("an empty server takes %d bytes", peak)
	}
	fill()
	empty()
	m.sample(s.serverPIDs())
	if peak := m.most(); peak < filling && !m.current {
		t.Errorf("a server that held %d bytes took %d", filling, peak)
	}
	m.reset(s.serverPIDs())
	m.sample(s.serverPIDs())
	if peak := m.most(); peak > filling {
		t.Errorf("a server that is empty again takes %d bytes since then", peak)
	}
	fill()
	m.sample(s.serverPIDs())
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	m.sample(s.serverPIDs())
	if peak := m.most(); peak < filling {
		t.Errorf("a server that was killed took %d bytes, though it held %d", peak, filling)
	}
	m.reset(s.serverPIDs())
	m.sample(s.serverPIDs())
	if peak := m.most(); peak == 0 || peak > filling {
		t.Errorf("a new server takes %d bytes", peak)
	}
}
