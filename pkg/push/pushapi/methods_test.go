package pushapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/types/known/emptypb"

	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
)

// curl calls a path with curl, and returns status and body.
func (s *server) curl(path, body string, flags ...string) (status, text string) {
	s.Helper()
	args := append([]string{
		"-sS", "-w", "\n%{http_code}", s.api.URL + path,
		"-H", "Content-Type: application/json", "-H", "Authorization: Bearer " + key, "-d", body,
	}, flags...)
	out, err := exec.CommandContext(s.Context(), "curl", args...).Output()
	if err != nil {
		s.Fatalf("curl %s: %v", path, err)
	}
	at := bytes.LastIndexByte(out, '\n')
	return string(out[at+1:]), string(out[:at])
}

// curled calls a method with curl; it must succeed.
func (s *server) curled(method, body string) map[string]any {
	s.Helper()
	status, text := s.curl("/boreas.push.v1.PushService/"+method, body)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != "200" {
		s.Fatalf("%s %s: %s %s", method, body, status, text)
	}
	return answer
}

// TestMethodsWithCurl calls each method over HTTP JSON on one gateway, about sockets of
// both.
func TestMethodsWithCurl(t *testing.T) {
	a, b := start(t)
	first, second := a.dial("alice"), b.dial("alice")
	a.online("alice", 2)

	if got := a.curled("Join", `{"user":"alice","group":"room"}`); got["sockets"] != 2.0 {
		t.Errorf("Join: %v", got)
	}
	got := a.curled("Presence", `{"group":"room"}`)
	if got["online"] != true || got["sockets"] != 2.0 || got["since"] == nil || len(got["members"].([]any)) != 2 {
		t.Errorf("Presence: %v", got)
	}
	page := a.curled("Presence", `{"group":"room","pageSize":1}`)
	rest := a.curled("Presence", fmt.Sprintf(`{"group":"room","pageSize":1,"pageToken":%q}`, page["nextPageToken"]))
	ids := []string{memberOf(t, page), memberOf(t, rest)}
	if ids[0] == ids[1] || rest["nextPageToken"] != nil {
		t.Errorf("the pages of Presence: %v, %v", page, rest)
	}

	page = a.curled("ListSockets", `{"of":{"group":"room"},"pageSize":1}`)
	rest = a.curled("ListSockets", fmt.Sprintf(`{"of":{"group":"room"},"pageSize":1,"pageToken":%q}`, page["nextPageToken"]))
	for i, p := range []map[string]any{page, rest} {
		if list := p["sockets"].([]any); len(list) != 1 || list[0].(map[string]any)["id"] != ids[i] {
			t.Errorf("page %d of ListSockets: %v", i, p)
		}
	}
	if rest["nextPageToken"] != nil {
		t.Errorf("a page after the last: %v", rest)
	}
	socket := a.curled("GetSocket", `{"id":"`+ids[1]+`"}`)["socket"].(map[string]any)
	if socket["user"] != "alice" || socket["node"] != "gw-b" || socket["gateway"] != "public" || socket["encoding"] != "json" ||
		fmt.Sprint(socket["groups"]) != "[room]" || socket["connectedAt"] == nil || socket["remoteAddress"] == nil {
		t.Errorf("GetSocket: %v", socket)
	}

	push := `{"to":{"group":"room"},"path":"/x","data":1,"idempotencyKey":"order 123"}`
	if got := a.curled("Push", push); got["delivered"] != 2.0 || got["repeated"] != nil {
		t.Errorf("Push: %v", got)
	}
	for _, gateway := range []*server{a, b} {
		if got := gateway.curled("Push", push); got["delivered"] != 2.0 || got["repeated"] != true {
			t.Errorf("Push, repeated: %v", got)
		}
	}
	if status, text := b.curl("/boreas.push.v1.PushService/Push", strings.Replace(push, `"data":1`, `"data":2`, 1)); status != "409" || !strings.Contains(text, "already_exists") {
		t.Errorf("another push with the same key: %s %s", status, text)
	}
	many := a.curled("PushMany", `{"pushes":[{"to":{"group":"room"},"path":"/y"},{},{"to":{"group":"room"},"path":"/z"}]}`)
	if text, _ := json.Marshal(many); !strings.Contains(string(text), `"code":"invalid_argument"`) || strings.Count(string(text), `"delivered":2`) != 2 {
		t.Errorf("PushMany: %s", text)
	}
	for _, want := range []string{`{"path":"/x","data":1}`, `{"path":"/y"}`, `{"path":"/z"}`} {
		if one, two := a.read(first), b.read(second); one != want || two != want {
			t.Errorf("clients got %s and %s; want %s", one, two, want)
		}
	}

	if got := a.curled("Leave", `{"socket":"`+ids[0]+`","group":"room"}`); got["sockets"] != 1.0 {
		t.Errorf("Leave: %v", got)
	}
	if got := a.curled("Presence", `{"group":"room"}`); got["sockets"] != 1.0 {
		t.Errorf("Presence after a leave: %v", got)
	}
	if got := a.curled("Disconnect", `{"user":"alice","code":4001,"reason":"signed out"}`); got["disconnected"] != 2.0 {
		t.Errorf("Disconnect: %v", got)
	}
	for _, ws := range []*websocket.Conn{first, second} {
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 4001) {
			t.Errorf("a socket ended with %v", err)
		}
	}
	a.eventually("alice is offline", func() bool { return a.curled("Presence", `{"user":"alice"}`)["online"] == nil })

	if status, text := a.curl("/grpc.health.v1.Health/Check", `{}`); status != "200" || text != `{"status":"SERVING_STATUS_SERVING"}` && !strings.Contains(text, "SERVING") {
		t.Errorf("health: %s %s", status, text)
	}
	status, text := a.curl("/boreas.push.v1.PushService/Push", `{"to":{"all":true}}`, "-H", "Connect-Timeout-Ms: 0")
	if status != "504" || !strings.Contains(text, "deadline_exceeded") {
		t.Errorf("a deadline that is over: %s %s", status, text)
	}
}

func memberOf(t *testing.T, presence map[string]any) string {
	t.Helper()
	list, _ := presence["members"].([]any)
	if len(list) != 1 {
		t.Fatalf("a page of one: %v", presence)
	}
	id, _ := list[0].(map[string]any)["socket"].(string)
	return id
}

// TestMethodsWithGRPC calls each method with the generated client over gRPC.
func TestMethodsWithGRPC(t *testing.T) {
	ctx := context.Background()
	a, b := start(t)
	ws := b.dial("bob")
	a.online("bob", 1)
	c := a.grpc(key)

	joined, err := c.Join(ctx, connect.NewRequest(&pushv1.JoinRequest{Who: &pushv1.JoinRequest_User{User: "bob"}, Group: "room"}))
	if err != nil || joined.Msg.GetSockets() != 1 {
		t.Fatalf("Join: %v, %v", joined, err)
	}
	presence, err := c.Presence(ctx, connect.NewRequest(&pushv1.PresenceRequest{Of: &pushv1.PresenceRequest_Group{Group: "room"}}))
	if err != nil || presence.Msg.GetSockets() != 1 || presence.Msg.GetMembers()[0].GetUser() != "bob" {
		t.Fatalf("Presence: %v, %v", presence, err)
	}
	id := presence.Msg.GetMembers()[0].GetSocket()
	to := &pushv1.Target{To: &pushv1.Target_Group{Group: "room"}}
	list, err := c.ListSockets(ctx, connect.NewRequest(&pushv1.ListSocketsRequest{Of: to}))
	if err != nil || len(list.Msg.GetSockets()) != 1 || list.Msg.GetSockets()[0].GetId() != id {
		t.Errorf("ListSockets: %v, %v", list, err)
	}
	socket, err := c.GetSocket(ctx, connect.NewRequest(&pushv1.GetSocketRequest{Id: id}))
	if err != nil || socket.Msg.GetSocket().GetNode() != "gw-b" {
		t.Errorf("GetSocket: %v, %v", socket, err)
	}
	push := &pushv1.PushRequest{To: to, Path: "/x", IdempotencyKey: "1"}
	for _, repeated := range []bool{false, true} {
		pushed, err := c.Push(ctx, connect.NewRequest(push))
		if err != nil || pushed.Msg.GetDelivered() != 1 || pushed.Msg.GetRepeated() != repeated {
			t.Errorf("Push: %v, %v; want repeated: %v", pushed, err, repeated)
		}
	}
	many, err := c.PushMany(ctx, connect.NewRequest(&pushv1.PushManyRequest{Pushes: []*pushv1.PushRequest{{To: to, Path: "/y"}, {}}}))
	if err != nil || many.Msg.GetOutcomes()[0].GetResult().GetDelivered() != 1 || many.Msg.GetOutcomes()[1].GetError().GetCode() != "invalid_argument" {
		t.Errorf("PushMany: %v, %v", many, err)
	}
	for _, want := range []string{`{"path":"/x"}`, `{"path":"/y"}`} {
		if got := b.read(ws); got != want {
			t.Errorf("the client got %s; want %s", got, want)
		}
	}
	left, err := c.Leave(ctx, connect.NewRequest(&pushv1.LeaveRequest{Who: &pushv1.LeaveRequest_Socket{Socket: id}, Group: "room"}))
	if err != nil || left.Msg.GetSockets() != 1 {
		t.Errorf("Leave: %v, %v", left, err)
	}
	closed, err := c.Disconnect(ctx, connect.NewRequest(&pushv1.DisconnectRequest{Who: &pushv1.DisconnectRequest_Socket{Socket: id}}))
	if err != nil || closed.Msg.GetDisconnected() != 1 {
		t.Errorf("Disconnect: %v, %v", closed, err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1008) {
		t.Errorf("the socket ended with %v", err)
	}

	over, cancel := context.WithTimeout(ctx, 1)
	defer cancel()
	if _, err := c.Push(over, connect.NewRequest(push)); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("a deadline that is over: %v", err)
	}
	_, err = c.Push(ctx, connect.NewRequest(&pushv1.PushRequest{To: to, Payload: &pushv1.PushRequest_Json{Json: make([]byte, 2<<20)}}))
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("2 MiB: %v", err)
	}
}

// TestHealthAndReflection asks as grpcurl and load balancers do.
func TestHealthAndReflection(t *testing.T) {
	ctx := context.Background()
	a, _ := start(t)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	h := &http.Client{Transport: withKey{transport}}

	// The messages of health are read as unknown fields: field 1, SERVING.
	health := connect.NewClient[emptypb.Empty, emptypb.Empty](h, a.api.URL+"/grpc.health.v1.Health/Check", connect.WithGRPC())
	if r, err := health.CallUnary(ctx, connect.NewRequest(&emptypb.Empty{})); err != nil || string(r.Msg.ProtoReflect().GetUnknown()) != "\x08\x01" {
		t.Errorf("health: %v, %v", r, err)
	}
	stream := grpcreflect.NewClient(h, a.api.URL, connect.WithGRPC()).NewStream(ctx)
	defer stream.Close()
	names, err := stream.ListServices()
	if err != nil || !strings.Contains(fmt.Sprint(names), "boreas.push.v1.PushService") {
		t.Errorf("reflection lists %v, %v", names, err)
	}
	if files, err := stream.FileContainingSymbol("boreas.push.v1.PushService"); err != nil || len(files) == 0 {
		t.Errorf("reflection of the service: %v, %v", files, err)
	}
}

type withKey struct{ next http.RoundTripper }

func (w withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+key)
	return w.next.RoundTrip(r)
}
