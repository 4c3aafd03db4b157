package wire

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIncarnationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Incarnation{
			Node:  NodeID(rapid.StringMatching(`[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?`).Draw(t, "node")),
			Epoch: Epoch(rapid.Uint64().Draw(t, "epoch")),
		}
		got, err := ParseIncarnation(want.String())
		if err != nil || got != want {
			t.Fatalf("%q was read as %+v, %v", want.String(), got, err)
		}
	})
}

func TestIncarnationText(t *testing.T) {
	i := Incarnation{Node: "gw-1.eu", Epoch: 36*36 + 35}
	if got := i.String(); got != "gw-1.eu#10z" {
		t.Errorf("String is %q", got)
	}
	if i.IsZero() || !(Incarnation{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	for _, bad := range []string{"", "gw", "#1", "gw#", "gw#1#2", "Gw#1", "gw#-1", "gw#zzzzzzzzzzzzzz"} {
		if got, err := ParseIncarnation(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func TestSlugs(t *testing.T) {
	for _, good := range []string{"a", "0", "a-b", "a.b", "node-1.eu-west.x", strings.Repeat("a", MaxSlug)} {
		if err := ValidateSlug(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"":                             "is empty",
		strings.Repeat("a", MaxSlug+1): "the limit is 64",
		"A":                            "'A' at byte 0",
		"-a":                           "'-' at byte 0",
		"a-":                           "'-' at byte 1",
		".":                            "'.' at byte 0",
		"a_b":                          "'_' at byte 1",
		"a b":                          "' ' at byte 1",
		"a#b":                          "'#' at byte 1",
		"a{b":                          "'{' at byte 1",
		"a:b":                          "':' at byte 1",
		"caf\xc3\xa9":                  "at byte 3",
		"a\x00":                        "at byte 1",
	} {
		if err := ValidateSlug(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q in it", bad, err, want)
		}
	}
}

// TestEpochsGrow: a later start has a larger epoch, and starts within a
// millisecond differ.
func TestEpochsGrow(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	seen := map[Epoch]bool{}
	for range 1 << epochCounterBits {
		seen[NewEpoch(start)] = true
	}
	if len(seen) != 1<<epochCounterBits {
		t.Errorf("%d epochs were made, %d of them differ", 1<<epochCounterBits, len(seen))
	}
	later := NewEpoch(start.Add(time.Millisecond))
	for e := range seen {
		if later <= e {
			t.Fatalf("epoch %d of a later start is not above %d", later, e)
		}
	}
}
