package chat

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a gateway and an instance of the service, and returns the gateway's URL.
func start(t *testing.T) string {
	t.Helper()
	srv := redistest.Start(t, redistest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	open := func(id wire.NodeID) *backplane.Backplane {
		bp, err := backplane.Open(ctx, srv.URL(), backplane.Config{NodeID: id})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bp.Close(context.Background()) })
		return bp
	}
	worker := service.New("chat", open("chat-1"), Router(), service.Config{})
	gw, err := gateway.New("public", open("gateway-1"), gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- worker.Run(ctx) }()
	go func() { ended <- gw.Run(ctx) }()
	server := httptest.NewServer(gw)
	t.Cleanup(func() {
		cancel()
		<-ended
		<-ended
		server.Close()
	})
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for gw.Ready() != nil || !gw.CanServePath("/echo") {
		<-tick.C
	}
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// client speaks one encoding; what it says and hears is written as JSON.
type client struct {
	t        *testing.T
	ws       *websocket.Conn
	encoding envelope.Encoding
	next     int
	pushes   []string // not looked at: path and data
}

func dial(t *testing.T, url string, encoding envelope.Encoding) *client {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{encoding.Subprotocol()}}
	ws, resp, err := d.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	if err := ws.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, ws: ws, encoding: encoding}
}

// must is for what cannot fail in this test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// call sends a request and returns the data of the reply.
func (c *client) call(path, data string) (reply string) {
	c.t.Helper()
	c.next++
	id := fmt.Sprint(c.next)
	m := envelope.Message{ID: id, Path: path}
	if data != "" {
		m.Data = c.fromJSON(data)
	}
	out := c.encoding.AppendMessage(nil, m)
	if err := c.ws.WriteMessage(int(c.encoding.MessageType()), out); err != nil {
		c.t.Fatal(err)
	}
	for {
		head := c.read()
		if len(head.ID) == 0 {
			c.pushes = append(c.pushes, string(head.Path)+" "+c.toJSON(head.Data))
			continue
		}
		if string(head.ID) != id {
			c.t.Fatalf("%s was answered with %q", path, head.ID)
		}
		return c.toJSON(head.Data)
	}
}

// read returns the next message.
func (c *client) read() envelope.Head {
	c.t.Helper()
	_, in, err := c.ws.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	head, err := c.encoding.Peek(in)
	if err != nil {
		c.t.Fatalf("%q: %v", in, err)
	}
	return head
}

// gets waits for a push with a path whose data, as JSON, holds part; it forgets those
// before it.
func (c *client) gets(path, part string) {
	c.t.Helper()
	for {
		for i, p := range c.pushes {
			if strings.HasPrefix(p, path+" ") && strings.Contains(p, part) {
				c.pushes = c.pushes[i+1:]
				return
			}
		}
		head := c.read()
		c.pushes = []string{string(head.Path) + " " + c.toJSON(head.Data)}
	}
}

func (c *client) fromJSON(data string) []byte {
	var v any
	if err := stdjson.Unmarshal([]byte(data), &v); err != nil {
		panic(err)
	}
	switch c.encoding {
	case envelope.MsgPack:
		var b bytes.Buffer
		e := msgpack.NewEncoder(&b)
		e.UseCompactFloats(true) // a number that came from JSON is an integer if it can be
		if err := e.Encode(v); err != nil {
			panic(err)
		}
		return b.Bytes()
	case envelope.Protobuf:
		return must(proto.Marshal(must(structpb.NewStruct(v.(map[string]any)))))
	default:
		return []byte(data)
	}
}

func (c *client) toJSON(data []byte) string {
	var v any
	var err error
	switch c.encoding {
	case envelope.MsgPack:
		err = msgpack.Unmarshal(data, &v)
	case envelope.Protobuf:
		if len(data) > 0 && data[0] == '{' { // of a push that was made as JSON
			return string(data)
		}
		var s structpb.Struct
		err = proto.Unmarshal(data, &s)
		v = s.AsMap()
	default:
		err = stdjson.Unmarshal(data, &v)
	}
	if err != nil {
		c.t.Fatalf("data %q: %v", data, err)
	}
	return string(must(stdjson.Marshal(v)))
}

func TestRoutesInEveryEncoding(t *testing.T) {
	url := start(t)
	for _, encoding := range []envelope.Encoding{envelope.JSON, envelope.MsgPack, envelope.Protobuf} {
		t.Run(encoding.Subprotocol(), func(t *testing.T) {
			c, other := dial(t, url, encoding), dial(t, url, encoding)
			for _, tt := range []struct{ path, data, want string }{
				{"/echo", `{"deep":{"n":[1,"two",null]}}`, `{"deep":{"n":[1,"two",null]}}`},
				{"/chat/join", `{"username":"alice","room":"general"}`, `{"room":"general","status":"joined"}`},
				{"/chat/message", `{"text":"hi"}`, `{"status":"sent"}`},
				{"/counter/add", `{"by":3}`, `{"value":3}`},
				{"/counter/add", ``, `{"value":4}`},
			} {
				if got := c.call(tt.path, tt.data); got != tt.want {
					t.Errorf("%s %s gave %s, want %s", tt.path, tt.data, got, tt.want)
				}
			}
			var who, otherWho struct{ Socket, Client, Gateway, Instance string }
			for client, into := range map[*client]any{c: &who, other: &otherWho} {
				if err := stdjson.Unmarshal([]byte(client.call("/whoami", "")), into); err != nil {
					t.Fatal(err)
				}
			}
			if who.Gateway != "gateway-1" || who.Instance != "chat-1" || who.Socket == "" || who.Socket == otherWho.Socket || !strings.HasPrefix(who.Client, "127.0.0.1:") {
				t.Errorf("whoami gave %+v and %+v", who, otherWho)
			}
			if got := other.call("/counter/add", `{"by":1}`); got != `{"value":1}` {
				t.Errorf("the counter of another socket gave %s", got)
			}
		})
	}
}

// TestRoom: what one says in a room is heard by the others in it, in their encoding,
// and they learn who comes, who was there and who leaves.
func TestRoom(t *testing.T) {
	url := start(t)
	alice, bob := dial(t, url, envelope.JSON), dial(t, url, envelope.Protobuf)
	carol, dave := dial(t, url, envelope.MsgPack), dial(t, url, envelope.JSON)
	alice.call("/chat/join", `{"username":"alice","room":"r"}`)
	bob.call("/chat/join", `{"username":"bob","room":"r"}`)
	alice.gets("/chat/presence", `"user":"bob"`)
	carol.call("/chat/join", `{"username":"carol","room":"r"}`)
	dave.call("/chat/join", `{"username":"dave","room":"elsewhere"}`)
	bob.gets("/chat/presence", `"user":"carol"`)
	carol.gets("/chat/presence", `"count":3,"event":"state","group":"chat/r"`)

	alice.call("/chat/message", `{"text":"hi all"}`)
	bob.gets("/chat/message", `"text":"hi all","username":"alice"`)
	carol.gets("/chat/message", `"text":"hi all","username":"alice"`)

	for _, tt := range []struct{ data, want string }{
		{`{"user":"dave","text":"lunch?"}`, `{"reached":1,"status":"sent"}`},
		{`{"user":"nobody","text":"lunch?"}`, `{"reached":0,"status":"sent"}`},
	} {
		if got := alice.call("/chat/notify", tt.data); got != tt.want {
			t.Errorf("/chat/notify %s gave %s, want %s", tt.data, got, tt.want)
		}
	}
	dave.gets("/notify", `{"from":"alice","text":"lunch?"}`)

	carol.call("/chat/join", `{"username":"carol","room":"elsewhere"}`)
	alice.gets("/chat/presence", `"user":"carol"`)
	dave.gets("/chat/presence", `"user":"carol"`)
	_ = bob.ws.Close()
	alice.gets("/chat/presence", `"user":"bob"`)
	for _, c := range []*client{alice, dave} {
		for _, p := range c.pushes {
			if strings.HasPrefix(p, "/chat/message") {
				t.Errorf("somebody who should not gets %s", p)
			}
		}
	}
}

func TestErrorsAreClear(t *testing.T) {
	c := dial(t, start(t), envelope.JSON)
	for _, tt := range []struct{ path, data, code, text string }{
		{"/chat/message", `{"text":"hi"}`, "not_joined", "/chat/join"},
		{"/chat/join", `{"username":"alice"}`, "validation", "username and room"},
		{"/chat/join", `{"username":" ","room":"x"}`, "validation", "username and room"},
		{"/chat/join", fmt.Sprintf(`{"username":%q,"room":"x"}`, strings.Repeat("x", maxName+1)), "validation", "64 bytes"},
		{"/chat/join", `{"username":1,"room":"x"}`, "validation", "/chat/join"},
		{"/chat/notify", `{"user":"bob","text":"hi"}`, "not_joined", "/chat/join"},
		{"/health", ``, "no_route", "/health"},
	} {
		var got struct{ Error, Code string }
		reply := c.call(tt.path, tt.data)
		if err := stdjson.Unmarshal([]byte(reply), &got); err != nil || got.Code != tt.code || !strings.Contains(got.Error, tt.text) {
			t.Errorf("%s %s gave %s, want code %s and an error with %q", tt.path, tt.data, reply, tt.code, tt.text)
		}
	}
	c.call("/chat/join", `{"username":"alice","room":"general"}`)
	for _, tt := range []struct{ path, data string }{
		{"/chat/message", `{"text":""}`}, {"/chat/notify", `{"user":"bob"}`},
	} {
		if got := c.call(tt.path, tt.data); !strings.Contains(got, "validation") {
			t.Errorf("%s %s gave %s", tt.path, tt.data, got)
		}
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	w := httptest.NewRecorder()
	Page().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Errorf("GET / gave %d %s", w.Code, w.Header().Get("Content-Type"))
	}
	for _, external := range []string{"src=", "@import", "url(", "<link rel=\"stylesheet"} {
		if strings.Contains(w.Body.String(), external) {
			t.Errorf("the page holds %s", external)
		}
	}
	if strings.Contains(w.Body.String(), "<meta name=\"boreas-dev\"") {
		t.Error("the page offers to kill gateways")
	}
	w = httptest.NewRecorder()
	DevPage([]string{`push '{"a":1}'`, "curl"}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	if !strings.Contains(w.Body.String(), "<meta name=\"boreas-dev\" content=\"push &#39;{&#34;a&#34;:1}&#39;\ncurl\">") {
		t.Error("the page of boreas dev does not offer to kill gateways, and to push")
	}
	w = httptest.NewRecorder()
	Page().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/other", http.NoBody))
	if w.Code != http.StatusNotFound {
		t.Errorf("GET /other gave %d", w.Code)
	}
}
