package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// unused makes a client that talks to nobody.
func unused(t *testing.T) *redis.Client {
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { client.Close() })
	return client
}

func TestConfig(t *testing.T) {
	_, err := New(Config{
		Namespace: "No Slug", LeaseTTL: time.Second, Tick: 300 * time.Millisecond, Poll: time.Second,
		CallTimeout: -1, PinTimeout: -1, Batch: 513, MaxWaiting: -1,
	})
	if err == nil {
		t.Fatal("a config full of mistakes was accepted")
	}
	for _, want := range []string{"Client", "Namespace", "Self", "Tick is", "Poll is", "CallTimeout", "PinTimeout", "Batch", "MaxWaiting"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %q: %v", want, err)
		}
	}
	r, err := New(Config{Client: unused(t), Self: inc("a", 1), LeaseTTL: time.Second})
	if err != nil {
		t.Fatalf("a short LeaseTTL with default times: %v", err)
	}
	if r.cfg.Tick != 200*time.Millisecond || r.cfg.Poll != 200*time.Millisecond || r.cfg.Namespace != "boreas" {
		t.Errorf("defaults: %+v", r.cfg)
	}
}

func TestServiceIsValidated(t *testing.T) {
	err := Service{
		Name: "Chat", Gateways: []string{"a b"}, OnInstanceLoss: "panic", Version: strings.Repeat("v", 129),
		Routes: []Route{{Pattern: "x", Canonical: "/x"}, {Pattern: "/a/:b", Canonical: "/a/:"}, {Pattern: "/a/:c", Canonical: "/a/:"}, {Pattern: "/" + strings.Repeat("l", 1024), Canonical: "/l"}},
	}.validate()
	if err == nil {
		t.Fatal("a service full of mistakes was accepted")
	}
	for _, want := range []string{`"Chat"`, "gateway name", `"panic"`, "version", `"x"`, `"/a/:b" and "/a/:c"`, "longer than 1024"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s: %v", want, err)
		}
	}
	if err := chat.validate(); err == nil {
		t.Error("a service without a policy was accepted: Announce fills it in before")
	}
}

// TestKeys checks that each script's keys share a slot, which Redis computes from
// what stands in braces.
func TestKeys(t *testing.T) {
	k := newKeyspace("prod")
	s := k.service("chat")
	m := gatewayMember(inc("g1", 35), 2).String()
	if got, want := s.pinsOf(m), "bo:prod:{chat.0}:p:g1#z.2"; got != want {
		t.Errorf("the pins of %s are in %q; want %q", m, got, want)
	}
	for _, key := range []string{s.instances, s.counts, s.leases, s.checksums, s.clock, s.version, s.dead, s.pinsOf(m)} {
		if !strings.HasPrefix(key, "bo:prod:{chat.0}:") {
			t.Errorf("key %q is in another slot", key)
		}
	}
	for _, key := range k.routes().all() {
		if !strings.HasPrefix(key, "bo:prod:{routes}:") {
			t.Errorf("key %q is in another slot", key)
		}
	}
}

func FuzzParseMember(f *testing.F) {
	f.Add("i:node-1#lq3k4j5h6")
	f.Add("g:node.1#lq3k4j5h6.12")
	f.Add("g:a#1.2.3")
	f.Add("i:#")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseMember(s)
		if err != nil {
			return
		}
		again, err := parseMember(m.String())
		if err != nil || again != m {
			t.Errorf("%q parsed to %+v, whose form %q parsed to %+v, %v", s, m, m, again, err)
		}
	})
}

// TestPinSum checks that Go and Lua compute the same checksum; the histories rely
// on it.
func TestPinSum(t *testing.T) {
	for _, test := range []struct {
		socket   wire.SocketID
		instance wire.Incarnation
	}{{"s", inc("a", 1)}, {"", wire.Incarnation{}}, {"Zm9vYmFyYmF6cXV4", inc("chat-5d9c7b6f4-x2k9", 1<<60)}} {
		sum := pinSum(test.socket, test.instance)
		if sum < 0 || sum >= 1<<40 {
			t.Errorf("%v: %d has more than 40 bits", test, sum)
		}
		if sum == pinSum(test.socket+"x", test.instance) {
			t.Errorf("%v: another socket has the same checksum", test)
		}
	}
}
