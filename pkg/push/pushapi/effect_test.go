package pushapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/push/pushclient"
	"github.com/boreas-ws/boreas/pkg/router"
)

// dropped is for how many sockets a push was dropped for a reason.
func dropped(answer map[string]any, reason string) any {
	m, _ := answer["dropped"].(map[string]any)
	return m[reason]
}

// TestPolicies: what becomes of pushes for a client that reads nothing.
func TestPolicies(t *testing.T) {
	t.Parallel()
	namespace := fmt.Sprintf("api%d", namespaces.Add(1))
	patient := func(s *setup) { s.gateway.SlowConsumerTimeout = -1 }
	a := gatewayOf(t, namespace, "gw-a", patient)
	roomy := gatewayOf(t, namespace, "gw-b", patient, func(s *setup) { s.gateway.PushWindow = 64 << 20 })
	alice, bob := a.dial("alice"), roomy.dial("bob")

	id := a.socket("alice")
	n := a.stuff(id) // with the policy wait, until one was dropped when its time was over
	for policy, reason := range map[string]string{"POLICY_DROP": "slow", "POLICY_WAIT": "timeout", "POLICY_UNSPECIFIED": "timeout"} {
		got := a.ask("Push", `{"to":{"socket":"`+id+`"},"path":"/`+policy+`","policy":"`+policy+`","timeoutMs":1000}`)
		if dropped(got, reason) != 1.0 || got["targeted"] != 1.0 || got["delivered"] != nil {
			t.Errorf("%s: %v; want it dropped: %s", policy, got, reason)
		}
	}
	for range n {
		if got := a.read(alice); !strings.HasPrefix(got, `{"path":"/fill"`) {
			t.Fatalf("alice got %.100s", got)
		}
	}
	if got := a.ask("Push", `{"to":{"user":"alice"},"path":"/end","policy":"POLICY_WAIT"}`); got["delivered"] != 1.0 {
		t.Errorf("when she reads again: %v", got)
	}
	if got := a.read(alice); got != `{"path":"/end"}` {
		t.Errorf("alice got %s; want nothing that was dropped", got)
	}

	a.online("bob", 1)
	const filling = 60 // 24 MB: more than the buffers of the connection hold
	for range filling {
		if got := a.ask("Push", `{"to":{"user":"bob"},"path":"/fill","data":"`+strings.Repeat("x", 400<<10)+`"}`); got["delivered"] != 1.0 {
			t.Fatalf("filling: %v", got)
		}
	}
	keys := []string{`"key":"a","path":"/x"`, `"key":"b","path":"/x"`, `"path":"/x"`} // without a key: the path
	for i := range 5 {
		for _, key := range keys {
			got := a.ask("Push", fmt.Sprintf(`{"to":{"user":"bob"},%s,"data":[{%s},%d],"policy":"POLICY_LATEST"}`, key, key, i))
			if got["queued"] != 1.0 {
				t.Fatalf("%s %d: %v", key, i, got)
			}
		}
	}
	for range filling {
		if got := roomy.read(bob); !strings.HasPrefix(got, `{"path":"/fill"`) {
			t.Fatalf("bob got %.100s", got)
		}
	}
	for _, key := range keys {
		if got, want := roomy.read(bob), `{"path":"/x","data":[{`+key+`},4]}`; got != want {
			t.Errorf("bob got %s; want %s", got, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestDeadlines: a push that waits for a client ends with the deadline of its request.
// One that names no timeout ends early enough for an answer, and the client lets a push
// have its time.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	a, b := start(t, func(s *setup) { s.gateway.SlowConsumerTimeout = -1 })
	b.dial("alice")
	id := a.socket("alice")
	b.stuff(id)
	long := `{"to":{"socket":"` + id + `"},"timeoutMs":60000}`
	begin := time.Now()
	if got := a.refused("Push", long, within(key, time.Second)); got.code != "deadline_exceeded" || got.grpc != 4 {
		t.Errorf("a push of a minute in a request of a second: %+v", got)
	}
	if took := time.Since(begin); took < 2*time.Second { // one after the other
		t.Errorf("two requests of a second took %v", took)
	}
	for n := 0; ; n++ { // the machine may be too slow for the quarter of the time that is left
		r := a.request(http.MethodPost, "/boreas.push.v1.PushService/Push", "application/json", strings.Replace(long, "60000", "0", 1), within(key, 4*time.Second))
		status, text := a.do(r)
		if status == http.StatusOK && strings.Contains(text, `"dropped":{"timeout":1}`) {
			break
		}
		if status != http.StatusGatewayTimeout || n == 4 {
			t.Errorf("a push without a timeout: %d %s", status, text)
			break
		}
	}
	client, err := pushclient.New(a.api.URL, pushclient.Config{Key: key, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Push(t.Context(), router.Push{To: router.ToSocket(id), Timeout: 2 * time.Second}, "")
	if err != nil || r.GetDropped()["timeout"] != 1 {
		t.Errorf("a push of 2 s by a client that gives up after 1 s: %v, %v", r, err)
	}
	for _, timeout := range []time.Duration{-time.Second, time.Microsecond, time.Minute + 1, (1<<32 + 1000) * time.Millisecond} {
		if r, err := client.Push(t.Context(), router.Push{To: router.ToSocket(id), Timeout: timeout}, ""); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("a push of %v: %v, %v", timeout, r, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestExcept: who is excepted gets nothing, wherever he is.
func TestExcept(t *testing.T) {
	a, b := start(t)
	clients := map[string]*websocket.Conn{"alice": a.dial("alice"), "bob": a.dial("bob"), "carol": b.dial("carol"), "dave": b.dial("dave")}
	ids := map[string]string{}
	for name := range clients {
		ids[name] = a.socket(name)
		a.ask("Join", `{"user":"`+name+`","group":"room"}`)
	}
	for i, test := range []struct {
		except string
		want   []string
	}{
		{`"exceptSockets":[]`, []string{"alice", "bob", "carol", "dave"}},
		{`"exceptSockets":["` + ids["alice"] + `","` + ids["carol"] + `","nobody"]`, []string{"bob", "dave"}},
		{`"exceptUsers":["bob","carol"]`, []string{"alice", "dave"}},
		{`"exceptUsers":["bob"],"exceptSockets":["` + ids["dave"] + `"]`, []string{"alice", "carol"}},
		{`"exceptUsers":["alice","bob","carol","dave"]`, nil},
	} {
		for _, to := range []string{`"all":true`, `"group":"room"`, `"gateway":"public"`} {
			got := a.ask("Push", fmt.Sprintf(`{"to":{%s},"path":"/%d",%s}`, to, i, test.except))
			if n := float64(len(test.want)); (n > 0 || got["delivered"] != nil) && (got["delivered"] != n || got["targeted"] != n) {
				t.Errorf("to %s, %s: %v", to, test.except, got)
			}
			for _, name := range test.want {
				if got := a.read(clients[name]); got != fmt.Sprintf(`{"path":"/%d"}`, i) {
					t.Errorf("to %s, %s: %s got %s", to, test.except, name, got)
				}
			}
		}
	}
	a.ask("Push", `{"to":{"all":true},"path":"/end"}`)
	for name, ws := range clients {
		if got := a.read(ws); got != `{"path":"/end"}` {
			t.Errorf("%s got %s, which was not for her", name, got)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestKeysAreEachCallersOwn: two callers use the same idempotency key, and each pushes
// once.
func TestKeysAreEachCallersOwn(t *testing.T) {
	a, _ := start(t)
	ws := a.dial("alice")
	a.online("alice", 1)
	for _, repeated := range []bool{false, true} {
		for caller, key := range map[string]string{"orders": key, "billing": key + "!"} {
			status, text := a.post("Push", `{"to":{"user":"alice"},"path":"/x","data":"`+caller+`","idempotencyKey":"1"}`, key)
			if status != http.StatusOK || !strings.Contains(text, `"delivered":1`) || strings.Contains(text, `"repeated":true`) != repeated {
				t.Errorf("%s: %d %s; want repeated: %v", caller, status, text, repeated)
			}
		}
	}
	a.ask("Push", `{"to":{"user":"alice"},"path":"/end"}`)
	got := map[string]bool{a.read(ws): true, a.read(ws): true}
	if !got[`{"path":"/x","data":"orders"}`] || !got[`{"path":"/x","data":"billing"}`] {
		t.Errorf("alice got %v", got)
	}
	if got := a.read(ws); got != `{"path":"/end"}` {
		t.Errorf("alice got %s once more", got)
	}
	http.DefaultClient.CloseIdleConnections()
}
