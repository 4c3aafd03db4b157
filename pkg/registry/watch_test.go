package registry

import (
	"testing"
	"time"
)

// TestRoutesOutlastAnOutage: Redis was away for longer than a lease and has lost its
// data; the routes stay until the services had the time to announce them again.
func TestRoutesOutlastAnOutage(t *testing.T) {
	const ttl = 5 * time.Second
	start := time.Now()
	known := Service{Name: "chat", Routes: []Route{{Pattern: "/a"}}}
	for _, test := range []struct {
		name  string
		after []time.Duration // when the table was read without the service
		kept  bool            // at the last of them
	}{
		{"at once", []time.Duration{time.Second}, true},
		{"after a long outage", []time.Duration{10 * ttl}, true},
		{"within a TTL", []time.Duration{10 * ttl, 11*ttl - 1}, true},
		{"for a TTL", []time.Duration{10 * ttl, 11 * ttl}, false},
	} {
		tr := &tracked{view: &ServiceView{Service: known}}
		var got Service
		for _, after := range test.after {
			got = tr.unannounced("chat", start.Add(after), ttl)
		}
		if kept := len(got.Routes) == 1; kept != test.kept {
			t.Errorf("%s: kept %v, want %v", test.name, kept, test.kept)
		}
	}
}

// TestExcuse: members that were missing before an outage have their whole TTL after it.
func TestExcuse(t *testing.T) {
	start := time.Now()
	who := instanceMember(inc("a", 1))
	tr := &tracked{missing: map[member]time.Time{who: start}, gone: start}
	w := &watcher{tracked: map[string]*tracked{"chat": tr}}
	w.excuse(time.Minute)
	if want := start.Add(time.Minute); !tr.missing[who].Equal(want) || !tr.gone.Equal(want) {
		t.Errorf("missing since %v, gone since %v; want %v", tr.missing[who], tr.gone, want)
	}
	tr.gone = time.Time{}
	w.excuse(time.Minute)
	if !tr.gone.IsZero() {
		t.Error("a service that is there counts as gone")
	}
}
