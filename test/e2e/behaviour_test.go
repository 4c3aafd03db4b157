package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestRouting(t *testing.T) {
	s := startSystem(t, 1, 1)
	c := dial(t, s.gateways[0].URL(), nil)

	t.Run("unknown paths are refused and the socket stays", func(t *testing.T) {
		c.t = t
		c.fails("/nowhere", nil, wire.CodeNoRoute)
		c.whoami()
	})
	t.Run("private routes do not exist", func(t *testing.T) {
		c.t = t
		c.fails("/secret", nil, wire.CodeNoRoute)
		var item struct{ ID string }
		// A public pattern covers the path of a private route: the public one answers.
		c.request("/item/private", nil, &item)
		if item.ID != "private" {
			t.Errorf("item %+v; want the public route's answer", item)
		}
	})
	t.Run("a panic is answered and kills neither socket nor process", func(t *testing.T) {
		c.t = t
		c.fails("/panic", nil, wire.CodeInternal)
		c.whoami()
	})
	t.Run("values stay on the socket", func(t *testing.T) {
		c.t = t
		var v struct{ N int }
		c.request("/count", nil, &v)
		c.request("/count", nil, &v)
		if v.N != 2 {
			t.Errorf("count %d; want 2", v.N)
		}
	})
	t.Run("the client's answer without a path finds its handler", func(t *testing.T) {
		c.t = t
		c.send(`{"path":"/ask","id":"q"}`)
		if q := c.read(); q.ID != "q" || !strings.Contains(string(q.Data), "ready?") {
			t.Fatalf("question %+v %s", q, q.Data)
		}
		c.send(`{"path":"/echo","id":"e","data":1}`) // a waiting handler holds up nobody
		if e := c.read(); e.ID != "e" {
			t.Fatalf("got %+v; want the echo", e)
		}
		c.send(`{"id":"q","data":{"answer":"yes"}}`)
		if a := c.read(); a.ID != "q" || string(a.Data) != `{"you":"yes"}` {
			t.Fatalf("answer %+v %s", a, a.Data)
		}
	})
	t.Run("a message without path and with an unknown id is refused", func(t *testing.T) {
		c.t = t
		c.send(`{"id":"never-used","data":{}}`)
		var f failure
		a := c.read()
		if err := json.Unmarshal(a.Data, &f); err != nil || f.Code == "" {
			t.Fatalf("answer %+v %s", a, a.Data)
		}
	})
}

func TestHandlersSeeTheHandshake(t *testing.T) {
	s := startSystem(t, 1, 1)
	header := http.Header{"User-Agent": {"e2e"}, "Cookie": {"session=secret"}}
	c := dial(t, s.gateways[0].URL()+"?q=1", header, "velaros-json")
	if got := c.ws.Subprotocol(); got != "velaros-json" {
		t.Errorf("subprotocol %q", got)
	}
	var info struct{ Remote, Agent, Cookie, Protocol, Query string }
	c.request("/info", nil, &info)
	if info.Remote != c.ws.LocalAddr().String() {
		t.Errorf("remote address %s; want %s", info.Remote, c.ws.LocalAddr())
	}
	if info.Agent != "e2e" || info.Cookie != "" || info.Protocol != "velaros-json" || info.Query != "1" {
		t.Errorf("handler saw %+v; want the user agent, protocol and query, and no cookie", info)
	}
}

// Clients of three encodings talk to one service through one gateway.
func TestEncodingsSideBySide(t *testing.T) {
	s := startSystem(t, 1, 1)
	url := s.gateways[0].URL()
	c := dial(t, url, nil, "velaros-json")
	mp := dial(t, url, nil, "velaros-msgpack")
	pb := dial(t, url, nil, "velaros-protobuf")

	var j struct{ Text string }
	c.request("/upper", map[string]string{"text": "json"}, &j)
	if j.Text != "JSON" {
		t.Errorf("json: %+v", j)
	}

	b, err := msgpack.Marshal(map[string]any{"path": "/upper", "id": "m", "data": map[string]string{"text": "msgpack"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := mp.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		t.Fatal(err)
	}
	kind, b := readRaw(t, mp)
	var m struct {
		ID   string            `msgpack:"id"`
		Data map[string]string `msgpack:"data"`
	}
	if err := msgpack.Unmarshal(b, &m); err != nil || kind != websocket.BinaryMessage || m.ID != "m" || m.Data["text"] != "MSGPACK" {
		t.Errorf("msgpack: type %d, %+v, %v", kind, m, err)
	}

	const fieldID, fieldPath, fieldData = 1, 2, 3
	value, err := proto.Marshal(wrapperspb.String("protobuf"))
	if err != nil {
		t.Fatal(err)
	}
	b = protowire.AppendString(protowire.AppendTag(nil, fieldID, protowire.BytesType), "p")
	b = protowire.AppendString(protowire.AppendTag(b, fieldPath, protowire.BytesType), "/upper")
	b = protowire.AppendBytes(protowire.AppendTag(b, fieldData, protowire.BytesType), value)
	if err := pb.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		t.Fatal(err)
	}
	kind, b = readRaw(t, pb)
	want := protowire.AppendString(protowire.AppendTag(nil, fieldID, protowire.BytesType), "p")
	if value, err = proto.Marshal(wrapperspb.String("PROTOBUF")); err != nil {
		t.Fatal(err)
	}
	want = protowire.AppendBytes(protowire.AppendTag(want, fieldData, protowire.BytesType), value)
	if kind != websocket.BinaryMessage || !bytes.Equal(b, want) {
		t.Errorf("protobuf: type %d, %q; want %q", kind, b, want)
	}
}

func readRaw(t *testing.T, c *client) (kind int, b []byte) {
	t.Helper()
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	kind, b, err := c.ws.ReadMessage()
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return kind, b
}

// One socket may use several services at once, each pinned on its own.
func TestTwoServicesOnOneSocket(t *testing.T) {
	s := startSystem(t, 2, 0)
	s.addProbe(t, "one", "--service", "one", "--prefix", "/one")
	s.addProbe(t, "two", "--service", "two", "--prefix", "/two")
	c := dial(t, s.gateways[1].URL(), nil)
	for _, service := range []string{"one", "two", "one"} {
		var id identity
		eventually(t, patience, func() string { // the gateways learn of new routes within a poll
			c.n++
			c.send(envelope(t, "w", "/"+service+"/whoami", nil))
			a := c.read()
			if err := json.Unmarshal(a.Data, &id); err != nil || id.Instance != service {
				return fmt.Sprintf("whoami of %s: %s", service, a.Data)
			}
			return ""
		})
	}
	// The answers without a path go to the service that asked.
	c.send(`{"path":"/one/ask","id":"q1"}`)
	c.read()
	c.send(`{"path":"/two/ask","id":"q2"}`)
	c.read()
	c.send(`{"id":"q1","data":{"answer":"to one"}}`)
	if a := c.read(); a.ID != "q1" || string(a.Data) != `{"you":"to one"}` {
		t.Errorf("answer %+v %s", a, a.Data)
	}
	c.send(`{"id":"q2","data":{"answer":"to two"}}`)
	if a := c.read(); a.ID != "q2" || string(a.Data) != `{"you":"to two"}` {
		t.Errorf("answer %+v %s", a, a.Data)
	}
}

// A service that announces to a named gateway exists only there.
func TestServicesAnnounceToNamedGateways(t *testing.T) {
	s := startSystem(t, 0, 0)
	s.addProbe(t, "inner", "--gateways", "internal")
	internal := s.addGateway(t, "gw-internal", "--name", "internal")
	public := s.addGateway(t, "gw-public", "--name", "public")
	c := dial(t, internal.URL(), nil)
	if got := c.whoami(); got.Gateway != "internal" || got.Instance != "inner" {
		t.Errorf("whoami %+v", got)
	}
	dial(t, public.URL(), nil).fails("/whoami", nil, wire.CodeNoRoute)
}

// Close handlers run once, with the status and source of what happened.
func TestCloseHandlersSeeTheReason(t *testing.T) {
	s := startSystem(t, 1, 1)
	url := s.gateways[0].URL()
	cases := []struct {
		name   string
		end    func(c *client)
		status int
		reason string
		source string
	}{
		{"client closes", func(c *client) {
			msg := websocket.FormatCloseMessage(4001, "bye")
			if err := c.ws.WriteMessage(websocket.CloseMessage, msg); err != nil {
				c.t.Fatal(err)
			}
		}, 4001, "bye", "client"},
		{"client vanishes", func(c *client) { _ = c.ws.NetConn().Close() }, 1006, "", "client"},
		{"handler closes", func(c *client) {
			c.send(`{"path":"/close","data":{"status":4002,"reason":"enough"}}`)
			if ce := c.closed(patience); ce.Code != 4002 || ce.Text != "enough" {
				c.t.Errorf("client saw %v", ce)
			}
		}, 4002, "enough", "server"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := dial(t, url, nil)
			socket := c.whoami().Socket
			tc.end(c)
			eventually(t, patience, func() string {
				closes := 0
				for _, e := range s.probes[0].Seen() {
					if e.Event != "close" || e.Socket != socket {
						continue
					}
					closes++
					if e.Status != tc.status || e.Source != tc.source || tc.reason != "" && e.Reason != tc.reason {
						t.Fatalf("close handler saw %+v; want %d %q from the %s", e, tc.status, tc.reason, tc.source)
					}
				}
				if closes != 1 {
					return fmt.Sprintf("%d closes", closes)
				}
				return ""
			})
		})
	}
}

// Every kind of bad input gets its documented answer, and a client beside it
// notices nothing.
func TestBadInput(t *testing.T) {
	s := startSystem(t, 1, 1)
	url := s.gateways[0].URL()
	beside := dial(t, url, nil)
	beside.whoami()

	const text, binary = websocket.TextMessage, websocket.BinaryMessage
	cases := []struct {
		name    string
		kind    int
		message string
		code    wire.ErrorCode // answered with this error, the socket stays
		closed  int            // or closed with this status
	}{
		{"not JSON", text, `hello`, wire.CodeBadMessage, 0},
		{"empty", text, ``, wire.CodeBadMessage, 0},
		{"not an object", text, `[1]`, wire.CodeBadMessage, 0},
		{"cut short", text, `{"path":"/echo"`, wire.CodeBadMessage, 0},
		{"two paths", text, `{"path":"/echo","path":"/secret"}`, wire.CodeBadMessage, 0},
		{"case variant", text, `{"path":"/echo","Path":"/secret"}`, wire.CodeBadMessage, 0},
		{"path is a number", text, `{"path":1}`, wire.CodeBadMessage, 0},
		{"neither path nor id", text, `{"data":1}`, wire.CodeNoPath, 0},
		{"relative path", text, `{"path":"echo"}`, wire.CodeBadPath, 0},
		{"dotted path", text, `{"path":"/a/../echo"}`, wire.CodeBadPath, 0},
		{"unknown path", text, `{"path":"/x"}`, wire.CodeNoRoute, 0},
		{"over the size limit", text, `{"path":"/echo","data":"` + strings.Repeat("x", 1<<20) + `"}`, "", 1009},
		{"binary on JSON", binary, `{"path":"/echo"}`, "", 1003},
		{"invalid UTF-8", text, "{\"path\":\"/echo\",\"data\":\"\xff\"}", "", 1007},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := dial(t, url, nil)
			if err := c.ws.WriteMessage(tc.kind, []byte(tc.message)); err != nil && tc.closed == 0 {
				t.Fatal(err)
			}
			if tc.closed != 0 {
				if ce := c.closed(patience); ce.Code != tc.closed {
					t.Fatalf("closed with %v; want %d", ce, tc.closed)
				}
			} else {
				a := c.read()
				var f failure
				if err := json.Unmarshal(a.Data, &f); err != nil || f.Code != tc.code || f.Error == "" {
					t.Fatalf("answer %s; want code %s", a.Data, tc.code)
				}
				c.whoami()
			}
			beside.t = t
			beside.whoami()
		})
	}

	t.Run("unknown subprotocol", func(t *testing.T) {
		d := websocket.Dialer{Subprotocols: []string{"soap"}}
		_, resp, err := d.DialContext(t.Context(), url, nil)
		if err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Fatalf("dial: %v, %+v; want status 400", err, resp)
		}
	})
}

// A client that does not read is closed for it; others keep their pace.
func TestSlowClientSuffersAlone(t *testing.T) {
	s := startSystem(t, 0, 1)
	g := s.addGateway(t, "gw-slow", "--slow-consumer-timeout", "1s")
	slow, quick := dial(t, g.URL(), nil), dial(t, g.URL(), nil)
	slow.whoami()
	quick.whoami()
	slow.send(`{"path":"/flood","data":{"n":2000,"size":16384}}`) // 32 MB that nobody reads
	eventually(t, 30*time.Second, func() string {
		quick.whoami()
		for _, e := range s.probes[0].Seen() {
			if e.Event == "close" {
				if e.Status != 1008 || e.Reason != "slow_consumer" || e.Source != "server" {
					t.Fatalf("close handler saw %+v; want 1008 slow_consumer", e)
				}
				return ""
			}
		}
		return "the slow client is still there"
	})
	quick.whoami()
}

// A handler that holds its turn slows down its own client only, and what the
// client sends beyond the window stays in its TCP connection.
func TestSlowHandlerPushesBack(t *testing.T) {
	s := startSystem(t, 1, 1)
	slow, quick := dial(t, s.gateways[0].URL(), nil), dial(t, s.gateways[0].URL(), nil)
	slow.whoami()
	fill := strings.Repeat("x", 32<<10)
	blocked := make(chan int, 1)
	go func() { // writes until the connection takes no more
		n := 0
		for ; n < 4096; n++ { // 128 MB at most
			_ = slow.ws.SetWriteDeadline(time.Now().Add(time.Second))
			err := slow.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"path":"/sleep","data":{"ms":600000,"fill":"%s"}}`, fill))
			if err != nil {
				break
			}
		}
		blocked <- n
	}()
	for {
		select {
		case n := <-blocked:
			if n == 4096 {
				t.Fatal("everything was taken in; want backpressure")
			}
			quick.whoami()
			return
		default:
			quick.whoami()
		}
	}
}

// A second SIGTERM ends a draining gateway at once.
func TestSecondTerminateEndsAtOnce(t *testing.T) {
	s := startSystem(t, 0, 1)
	g := s.addGateway(t, "gw-stubborn", "--drain-window", "60s")
	c := dial(t, g.URL(), nil)
	c.send(`{"path":"/sleep","id":"a","data":{"ms":60000}}`)
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() string {
		if g.Ready(t.Context()) {
			return "still ready"
		}
		return ""
	})
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.Exited():
	case <-time.After(patience): // the drain would take longer
		t.Fatalf("still running %v after the second SIGTERM", patience)
	}
}
