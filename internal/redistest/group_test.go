package redistest_test

import (
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
)

func TestSentinelFailsOver(t *testing.T) {
	s := redistest.StartSentinel(t, redistest.Config{Password: "s3cret"})
	before, err := s.Master(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before != s.Servers[0] {
		t.Error("the first server is not the master")
	}
	if err := before.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Promoted(t.Context(), before); err != nil {
		t.Fatal(err)
	}
}

func TestClusterMovesSlots(t *testing.T) {
	c := redistest.StartCluster(t, redistest.Config{Password: "s3cret"})
	const key = "{a}"
	owner, err := c.Owner(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Client().Set(t.Context(), key, "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Migrate(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	next, err := c.Owner(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if next == owner || next.Client().Get(t.Context(), key).Val() != "v" {
		t.Error("the key did not move")
	}
	if err := c.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
}
