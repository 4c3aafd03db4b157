package pushapi_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/push/pushapi"
	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/push/pushapi/v1/pushv1connect"
	"github.com/boreas-ws/boreas/pkg/push/pushclient"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

// key is that of the caller "orders".
const key = "0123456789abcdef"

var redis *redistest.Server

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, &redis, func() error { return goleak.Find() }))
}

// byQuery takes the name in a client's query for its user.
type byQuery struct{}

func (byQuery) Authenticate(_ context.Context, r *auth.Handshake) (wire.Identity, error) {
	return wire.Identity{User: r.Query.Get("user"), Method: "test"}, nil
}

// server is a gateway with its API.
type server struct {
	testing.TB
	bp      *backplane.Backplane
	gateway *gateway.Gateway
	ws, api *httptest.Server
	calls   atomic.Int64 // that Config.Called was told of
}

// setup is what a test may want to have otherwise.
type setup struct {
	redis   *redistest.Server
	lease   time.Duration
	gateway gateway.Config
}

var namespaces atomic.Int64

// start runs two gateways of a system of their own.
func start(t *testing.T, tune ...func(*setup)) (a, b *server) {
	t.Helper()
	namespace := fmt.Sprintf("api%d", namespaces.Add(1))
	return gatewayOf(t, namespace, "gw-a", tune...), gatewayOf(t, namespace, "gw-b", tune...)
}

func gatewayOf(t *testing.T, namespace, name string, tune ...func(*setup)) *server {
	t.Helper()
	with := setup{redis: redis, gateway: gateway.Config{Authenticator: byQuery{}}}
	for _, f := range tune {
		f(&with)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	bp, err := backplane.Open(ctx, with.redis.URL(), backplane.Config{
		Namespace: namespace, NodeID: wire.NodeID(name), LeaseTTL: with.lease, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New("public", bp, with.gateway)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{TB: t, bp: bp, gateway: g}
	api, err := pushapi.New(push.Of(bp), pushapi.Config{
		Keys: map[string]string{"orders": key, "billing": key + "!"}, Ready: g.Ready,
		Called: func(method, caller, code string, _ time.Duration) {
			s.calls.Add(1)
			t.Logf("%s: %s %s", caller, method, code)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.ws = httptest.NewServer(g)
	s.api = serve(api)
	run, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = g.Run(run)
	}()
	t.Cleanup(func() {
		stop()
		<-over
		s.ws.Close()
		s.api.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = bp.Close(ctx)
	})
	s.eventually("the gateway is ready", func() bool { return g.Ready() == nil })
	return s
}

// serve listens as the internal listener of a gateway does.
func serve(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	return s
}

// eventually polls a condition of another goroutine's making.
func (s *server) eventually(what string, ok func() bool) {
	s.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(patience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-timeout:
			s.Fatalf("timeout: %s", what)
		}
	}
}

func (s *server) dial(user string) *websocket.Conn {
	s.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.ws.URL, "http")+"/?user="+user, nil)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = ws.Close() })
	return ws
}

// read returns the next message.
func (s *server) read(ws *websocket.Conn) string {
	s.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	_, text, err := ws.ReadMessage()
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// post sends JSON as curl would, and returns status and body.
func (s *server) post(method, body, key string) (int, string) {
	s.Helper()
	r, err := http.NewRequest(http.MethodPost, s.api.URL+"/boreas.push.v1.PushService/"+method, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return s.do(r)
}

func (s *server) do(r *http.Request) (int, string) {
	s.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// ask posts and decodes an answer that must be a success.
func (s *server) ask(method, body string) map[string]any {
	s.Helper()
	status, text := s.post(method, body, key)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK {
		s.Fatalf("%s %s: %d %s", method, body, status, text)
	}
	return answer
}

func (s *server) online(user string, sockets int) {
	s.Helper()
	s.eventually(user+" is online", func() bool {
		return s.ask("Presence", `{"user":"`+user+`"}`)["sockets"] == float64(sockets)
	})
}

// grpc is a generated client that speaks gRPC.
func (s *server) grpc(key string, options ...connect.ClientOption) pushv1connect.PushServiceClient {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	s.Cleanup(transport.CloseIdleConnections)
	withKey := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			r.Header().Set("Authorization", "Bearer "+key)
			return next(ctx, r)
		}
	})
	return pushv1connect.NewPushServiceClient(&http.Client{Transport: transport}, s.api.URL,
		append(options, connect.WithGRPC(), connect.WithInterceptors(withKey))...)
}

// TestProtocols: a push to a user with a socket on each of two gateways, over HTTP
// JSON, gRPC, gRPC-Web and the client.
func TestProtocols(t *testing.T) {
	ctx := context.Background()
	a, b := start(t)
	first, second := a.dial("alice"), b.dial("alice")
	a.online("alice", 2)
	gets := func(want string) {
		t.Helper()
		for _, got := range []string{a.read(first), b.read(second)} {
			if got != want {
				t.Fatalf("client got %s; want %s", got, want)
			}
		}
	}

	got := a.ask("Push", `{"to":{"user":"alice"},"path":"/notify","data":{"text":"hi"}}`)
	gets(`{"path":"/notify","data":{"text":"hi"}}`)
	for name, want := range map[string]float64{"gateways": 2, "targeted": 2, "delivered": 2, "deliveredLocally": 1} {
		if got[name] != want {
			t.Errorf("%s: %v; want %v", name, got[name], want)
		}
	}

	to := &pushv1.Target{To: &pushv1.Target_User{User: "alice"}}
	request := &pushv1.PushRequest{To: to, Path: "/grpc", Payload: &pushv1.PushRequest_Json{Json: []byte(`9007199254740993`)}}
	response, err := b.grpc(key).Push(ctx, connect.NewRequest(request))
	if err != nil || response.Msg.GetDelivered() != 2 {
		t.Fatalf("gRPC: %v, %v", response, err)
	}
	gets(`{"path":"/grpc","data":9007199254740993}`)

	request.Path = "/web"
	if trailer, message := b.grpcWeb(request, key); !strings.Contains(trailer, "grpc-status: 0") || message.GetDelivered() != 2 {
		t.Fatalf("gRPC-Web: %q, %v", trailer, message)
	}
	gets(`{"path":"/web","data":9007199254740993}`)

	client, err := pushclient.New(a.api.URL+"/", pushclient.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	result, err := client.Push(ctx, router.Push{To: router.ToUser("alice"), Path: "/client", Data: "hi", Policy: router.PushDrop}, "")
	if err != nil || result.GetDelivered() != 2 {
		t.Fatalf("client: %v, %v", result, err)
	}
	gets(`{"path":"/client","data":"hi"}`)
	http.DefaultClient.CloseIdleConnections()
}

// grpcWeb does a push as a page would, and returns the trailer and the message.
func (s *server) grpcWeb(request *pushv1.PushRequest, key string) (string, *pushv1.PushResponse) {
	s.Helper()
	text, err := proto.Marshal(request)
	if err != nil {
		s.Fatal(err)
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
	r, err := http.NewRequest(http.MethodPost, s.api.URL+pushv1connect.PushServicePushProcedure, bytes.NewReader(frame))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc-web+proto")
	r.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.Fatalf("gRPC-Web: %s %s %v", answer.Status, body, err)
	}
	if len(body) == 0 { // nothing but trailers, which are headers then
		return "grpc-status: " + answer.Header.Get("Grpc-Status"), nil
	}
	response, trailer := &pushv1.PushResponse{}, ""
	for rest := body; len(rest) >= 5; {
		n := binary.BigEndian.Uint32(rest[1:5])
		payload := rest[5 : 5+n]
		if rest[0]&0x80 != 0 {
			trailer = strings.ToLower(string(payload))
		} else if err := proto.Unmarshal(payload, response); err != nil {
			s.Fatal(err)
		}
		rest = rest[5+n:]
	}
	return trailer, response
}

// TestRefusals holds bad requests against docs/api.md.
func TestRefusals(t *testing.T) {
	a, _ := start(t)
	big := `{"to":{"all":true},"data":"` + strings.Repeat("x", 2<<20) + `"}`
	large := `{"to":{"all":true},"data":"` + strings.Repeat("x", 600<<10) + `"}`
	for _, test := range []struct {
		name, method, body, key string
		status                  int
		code                    string
	}{
		{"no key", "Push", `{}`, "", 401, "unauthenticated"},
		{"wrong key", "Push", `{}`, key + "x", 401, "unauthenticated"},
		{"bad JSON", "Push", `{"to":`, key, 400, "invalid_argument"},
		{"unknown field", "Push", `{"for":"alice"}`, key, 400, "invalid_argument"},
		{"no target", "Push", `{"path":"/x"}`, key, 400, "invalid_argument"},
		{"long name", "Push", `{"to":{"user":"` + strings.Repeat("x", 257) + `"}}`, key, 400, "invalid_argument"},
		{"json that is none", "Push", `{"to":{"all":true},"json":"eA=="}`, key, 400, "invalid_argument"},
		{"2 MiB", "Push", big, key, 429, "resource_exhausted"},
		{"600 KiB", "Push", large, key, 429, "resource_exhausted"},
		{"no pushes", "PushMany", `{}`, key, 400, "invalid_argument"},
		{"unknown socket", "GetSocket", `{"id":"nobody.gw-a"}`, key, 404, "not_found"},
		{"unknown gateway", "GetSocket", `{"id":"nobody.nowhere"}`, key, 404, "not_found"},
		{"unknown socket", "Disconnect", `{"socket":"nobody.gw-b"}`, key, 404, "not_found"},
		{"unknown socket", "Join", `{"socket":"nobody","group":"g"}`, key, 404, "not_found"},
		{"no group", "Join", `{"user":"alice"}`, key, 400, "invalid_argument"},
		{"bad close code", "Disconnect", `{"user":"alice","code":1006}`, key, 400, "invalid_argument"},
		{"bad token", "ListSockets", `{"pageToken":"?"}`, key, 400, "invalid_argument"},
		{"large page", "ListSockets", `{"pageSize":501}`, key, 400, "invalid_argument"},
		{"unknown method", "Shout", `{}`, key, 404, ""},
	} {
		status, text := a.post(test.method, test.body, test.key)
		var answer struct{ Code string }
		_ = json.Unmarshal([]byte(text), &answer)
		if status != test.status || answer.Code != test.code {
			t.Errorf("%s: %d %.200s; want %d %s", test.name, status, text, test.status, test.code)
		}
	}
	_, err := a.grpc(key+"x").Push(context.Background(), connect.NewRequest(&pushv1.PushRequest{}))
	if connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("gRPC with a wrong key: %v", err)
	}
	if trailer, _ := a.grpcWeb(&pushv1.PushRequest{}, key); trailer != "grpc-status: 3" {
		t.Errorf("gRPC-Web without a target: %q", trailer)
	}
	status, text := a.post("Push", `{"to":{"user":"nobody"}}`, key)
	if status != http.StatusOK || text != `{}` {
		t.Errorf("push to nobody: %d %s", status, text)
	}
	http.DefaultClient.CloseIdleConnections()
}
