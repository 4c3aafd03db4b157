package gateway

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRecent compares with the list of all keys in the order of their last use.
func TestRecent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 12).Draw(t, "limit")
		r := recent[int]{limit: limit}
		values := map[string]int{}
		var order []string // the last put is last, also if it was removed since
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			key := fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "key"))
			switch rapid.SampledFrom([]string{"put", "put", "put", "remove"}).Draw(t, "op") {
			case "put":
				v := rapid.IntRange(0, 2).Draw(t, "value")
				r.put([]byte(key), v)
				order = slices.DeleteFunc(order, func(k string) bool { return k == key })
				order, values[key] = append(order, key), v
			case "remove":
				r.remove([]byte(key))
				delete(values, key)
			}
			if n := len(r.young) + len(r.old); n > limit {
				t.Fatalf("%d keys are held; the limit is %d", n, limit)
			}
			for key := range values {
				v, ok := r.get([]byte(key))
				if ok && v != values[key] {
					t.Fatalf("%s has the value %d; want %d", key, v, values[key])
				}
				if slices.Index(order, key) >= len(order)-limit/2 && !ok {
					t.Fatalf("%s is forgotten, but it is among the last %d of %v", key, limit/2, order)
				}
			}
		}
		seen := map[string]bool{}
		r.takeAll(func(key string) {
			if seen[key] {
				t.Fatalf("%s was taken twice", key)
			}
			seen[key] = true
			if _, ok := values[key]; !ok {
				t.Fatalf("%s was taken but had been removed", key)
			}
		})
		if len(r.young)+len(r.old) != 0 {
			t.Fatal("something is left after takeAll")
		}
	})
}
