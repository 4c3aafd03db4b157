package pushapi_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/push/pushapi"
)

// request makes a request with a body that is JSON, under whatever name.
func (s *server) request(verb, path, contentType, body string, header http.Header) *http.Request {
	s.Helper()
	r, err := http.NewRequest(verb, s.api.URL+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	maps.Copy(r.Header, header)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// refusal is how a request was refused over HTTP JSON, and its code over gRPC.
type refusal struct {
	status, grpc  int
	code, message string
}

// refused does a request over both protocols.
func (s *server) refused(method, body string, header http.Header) (r refusal) {
	s.Helper()
	path := "/boreas.push.v1.PushService/" + method
	var answer map[string]string
	var text string
	r.status, text = s.do(s.request(http.MethodPost, path, "application/json", body, header))
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer) != 2 || answer["message"] == "" {
		s.Errorf("%s %.200s: the body is %.200s; want a code and a message", method, body, text)
	}
	r.code, r.message = answer["code"], answer["message"]

	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	defer h2.CloseIdleConnections()
	frame := string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))) + body
	response, err := (&http.Client{Transport: h2}).Do(s.request(http.MethodPost, path, "application/grpc+json", frame, header))
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		s.Fatalf("gRPC: %s, %v", response.Status, err)
	}
	status := response.Trailer.Get("Grpc-Status")
	if status == "" { // nothing but trailers, which are headers then
		status = response.Header.Get("Grpc-Status")
	}
	if r.grpc, err = strconv.Atoi(status); err != nil {
		s.Fatalf("gRPC: %v %v", response.Header, response.Trailer)
	}
	return r
}

// within is a header with a key and a deadline, for HTTP JSON and gRPC.
func within(key string, d time.Duration) http.Header {
	h := http.Header{"Authorization": {"Bearer " + key}}
	if d > 0 {
		ms := strconv.FormatInt(d.Milliseconds(), 10)
		h.Set("Connect-Timeout-Ms", ms)
		h.Set("Grpc-Timeout", ms+"m")
	}
	return h
}

// socket returns the id of a user's only socket.
func (s *server) socket(user string) string {
	s.Helper()
	s.online(user, 1)
	members, _ := s.ask("Presence", `{"user":"`+user+`"}`)["members"].([]any)
	if len(members) != 1 {
		s.Fatalf("%s has the sockets %v", user, members)
	}
	return members[0].(map[string]any)["socket"].(string)
}

// stuff pushes to a socket whose client reads nothing, until its connection takes no
// more. It returns how many pushes that were.
func (s *server) stuff(id string) (n int) {
	s.Helper()
	push := `{"to":{"socket":"` + id + `"},"path":"/fill","data":"` + strings.Repeat("x", 400<<10) + `","timeoutMs":1000}`
	for ; ; n++ {
		got := s.ask("Push", push)
		if dropped, _ := got["dropped"].(map[string]any); dropped["timeout"] == 1.0 {
			return n
		}
		if got["delivered"] != 1.0 || n > 200 {
			s.Fatalf("push %d to a client that reads nothing: %v", n, got)
		}
	}
}

// documented returns the statuses of the table in docs/api.md by their codes.
func documented(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]{3}) \\|").FindAllStringSubmatch(string(text), -1) {
		statuses[row[1]], _ = strconv.Atoi(row[2])
	}
	return statuses
}

// TestErrorTable meets every error of the table in docs/api.md, over HTTP JSON and gRPC.
func TestErrorTable(t *testing.T) {
	t.Parallel()
	a, _ := start(t, func(s *setup) { s.gateway.SlowConsumerTimeout = -1 })
	a.dial("alice")
	alice := a.socket("alice")
	a.stuff(alice)
	a.ask("Push", `{"to":{"user":"nobody"},"idempotencyKey":"1"}`)
	a.joinGroups(alice, push.MaxGroups)
	open, broken := a.with(push.Of(a.bp)), a.with(nil)
	page := within(key, 0)
	page.Set("Origin", "http://localhost")

	left := documented(t)
	want := func(s *server, code, method, body string, header http.Header, says string) {
		t.Helper()
		var number connect.Code
		if err := number.UnmarshalText([]byte(code)); err != nil {
			t.Fatal(err)
		}
		status, ok := documented(t)[code]
		got := s.refused(method, body, header)
		if got.code != code || got.status != status || got.grpc != int(number) || !ok {
			t.Errorf("%s %.200s: got %+v; want %s, HTTP %d, gRPC %d", method, body, got, code, status, number)
		}
		if !strings.Contains(got.message, says) {
			t.Errorf("%s %.200s: the message is %q; want %q in it", method, body, got.message, says)
		}
		delete(left, code)
	}
	for _, test := range []struct {
		s            *server
		code         string
		method, body string
		header       http.Header
		says         string
	}{
		{a, "invalid_argument", "Push", `{}`, within(key, 0), "say whom it is for"},
		{a, "invalid_argument", "Push", `{"to":{"all":true},"policy":9}`, within(key, 0), "no such policy"},
		{a, "invalid_argument", "Push", `{"to":{"all":true},"timeoutMs":60001}`, within(key, 0), "the timeout is"},
		{a, "invalid_argument", "Push", `{"to":{"all":true},"idempotencyKey":"` + strings.Repeat("x", 129) + `"}`, within(key, 0), "more than 128 bytes"},
		{a, "invalid_argument", "Push", `{"to":{"all":true},"exceptUsers":["x"` + strings.Repeat(`,"x"`, 256) + `]}`, within(key, 0), "257 exceptions"},
		{a, "invalid_argument", "PushMany", `{"pushes":[{}` + strings.Repeat(`,{}`, 100) + `]}`, within(key, 0), "1 to 100 pushes"},
		{a, "unauthenticated", "Push", `{}`, nil, "bearer token"},
		{a, "unauthenticated", "Presence", `{}`, within(key+"x", 0), "nobody has that key"},
		{open, "permission_denied", "Push", `{}`, page, "configure one"},
		{open, "permission_denied", "ListSockets", `{}`, page, "configure one"},
		{a, "not_found", "GetSocket", `{"id":"nobody.gw-b"}`, within(key, 0), "no such socket"},
		{a, "not_found", "Disconnect", `{"socket":"nobody.nowhere"}`, within(key, 0), "no such socket"},
		{a, "not_found", "Leave", `{"socket":"nobody.gw-a","group":"room"}`, within(key, 0), "no such socket"},
		{a, "already_exists", "Push", `{"to":{"user":"nobody"},"idempotencyKey":"1","path":"/other"}`, within(key, 0), "another push"},
		{a, "failed_precondition", "Join", `{"socket":"` + alice + `","group":"one more"}`, within(key, 0), "1024 groups"},
		{a, "failed_precondition", "Join", `{"user":"alice","group":"one more"}`, within(key, 0), "1024 groups"},
		{a, "resource_exhausted", "Push", `{"to":{"all":true},"data":"` + strings.Repeat("x", 513<<10) + `"}`, within(key, 0), "the limit is"},
		{a, "resource_exhausted", "Join", `{"group":"` + strings.Repeat("x", 1<<20) + `"}`, within(key, 0), ""},
		{a, "deadline_exceeded", "Push", `{"to":{"socket":"` + alice + `"},"timeoutMs":60000}`, within(key, time.Second), ""},
		{broken, "internal", "Push", `{"to":{"all":true}}`, nil, "a defect of the gateway"},
	} {
		want(test.s, test.code, test.method, test.body, test.header, test.says)
	}

	own := redistest.Start(t, redistest.Config{})
	c, d := start(t, func(s *setup) { s.redis, s.lease = own, time.Minute }) // which is not over before d was asked
	d.dial("bob")
	bob := c.socket("bob")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_ = d.bp.Close(gone) // without a goodbye
	var all sync.WaitGroup
	for method, body := range map[string]string{
		"GetSocket": `{"id":"` + bob + `"}`, "Disconnect": `{"socket":"` + bob + `"}`,
		"Join": `{"socket":"` + bob + `","group":"room"}`, "Leave": `{"socket":"` + bob + `","group":"room"}`,
	} {
		all.Go(func() {
			if got := c.refused(method, body, within(key, 0)); got.code != "unavailable" || got.status != 503 || got.grpc != 14 {
				t.Errorf("%s of a socket whose gateway does not answer: %+v", method, got)
			}
		})
	}
	all.Wait()
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	for method, body := range map[string]string{"Push": `{"to":{"user":"carol"}}`, "Join": `{"user":"carol","group":"room"}`, "Presence": `{"user":"carol"}`} {
		want(c, "unavailable", method, body, within(key, 0), "connection refused")
	}
	f, push := lostPush(t)
	want(f, "aborted", "Push", push, within(key, time.Minute), "was lost")
	if len(left) > 0 {
		t.Errorf("docs/api.md has further codes: %v", slices.Sorted(maps.Keys(left)))
	}
	http.DefaultClient.CloseIdleConnections()
}

// lostPush returns a push whose gateway crashed when it was under way, and another
// gateway.
func lostPush(t *testing.T) (other *server, push string) {
	t.Helper()
	own := redistest.Start(t, redistest.Config{})
	a, b := start(t, func(s *setup) { s.redis, s.gateway.SlowConsumerTimeout = own, -1 })
	a.dial("alice")
	id := a.socket("alice")
	a.stuff(id)
	push = `{"to":{"socket":"` + id + `"},"timeoutMs":60000,"idempotencyKey":"1"}`
	var all sync.WaitGroup
	all.Go(func() { a.post("Push", push, key) })
	var notes []string
	a.eventually("the push is under way", func() bool {
		notes = own.Client().Keys(t.Context(), "*:n:push.*").Val()
		return len(notes) == 1
	})
	claim := own.Client().Get(t.Context(), notes[0]).Val()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_ = a.bp.Close(gone)
	all.Wait()
	if err := own.Client().Set(t.Context(), notes[0], claim, time.Hour).Err(); err != nil { // a crash would have let it tell nothing more
		t.Fatal(err)
	}
	return b, push
}

// joinGroups puts a socket into groups.
func (s *server) joinGroups(id string, n int) {
	s.Helper()
	var all sync.WaitGroup
	names := make(chan int)
	for range 8 {
		all.Go(func() {
			for i := range names {
				if status, text := s.post("Join", fmt.Sprintf(`{"socket":%q,"group":"%d"}`, id, i), key); status != http.StatusOK {
					s.Errorf("group %d: %d %s", i, status, text)
				}
			}
		})
	}
	for i := range n {
		names <- i
	}
	close(names)
	all.Wait()
}

// with is another API on the gateway's node, without keys. Without a hub it is broken.
func (s *server) with(hub *push.Hub) *server {
	s.Helper()
	api, err := pushapi.New(hub, pushapi.Config{})
	if err != nil {
		s.Fatal(err)
	}
	other := &server{TB: s.TB, bp: s.bp, gateway: s.gateway, ws: s.ws, api: serve(api)}
	s.Cleanup(other.api.Close)
	return other
}

// TestNotACall: what is no call of a method gets a status of HTTP.
func TestNotACall(t *testing.T) {
	a, _ := start(t)
	open := a.with(push.Of(a.bp))
	const list = "/boreas.push.v1.PushService/ListSockets?connect=v1&encoding=json&message=%7B%7D"
	for _, test := range []struct {
		name, verb, path, contentType string
		status                        int
	}{
		{"GET", http.MethodGet, "/boreas.push.v1.PushService/Push", "application/json", 405},
		{"GET of what changes nothing", http.MethodGet, list, "", 405},
		{"PUT", http.MethodPut, "/boreas.push.v1.PushService/Push", "application/json", 405},
		{"a form", http.MethodPost, "/boreas.push.v1.PushService/Push", "application/x-www-form-urlencoded", 415},
		{"text", http.MethodPost, "/boreas.push.v1.PushService/ListSockets", "text/plain", 415},
		{"an unknown method", http.MethodPost, "/boreas.push.v1.PushService/Shout", "application/json", 404},
		{"no method", http.MethodPost, "/boreas.push.v1.PushService/", "application/json", 404},
		{"an unknown service", http.MethodPost, "/boreas.push.v2.PushService/Push", "application/json", 404},
	} {
		body := `{}`
		if test.verb == http.MethodGet {
			body = ""
		}
		for _, s := range []*server{a, open} {
			header := within(key, 0)
			if status, text := s.do(s.request(test.verb, test.path, test.contentType, body, header)); status != test.status || strings.Contains(text, `"code"`) {
				t.Errorf("%s: %d %s; want %d", test.name, status, text, test.status)
			}
			header.Set("Origin", "http://localhost")
			if status, _ := s.do(s.request(test.verb, test.path, test.contentType, body, header)); s == open && status != http.StatusForbidden {
				t.Errorf("%s, of a page, without keys: %d; want 403", test.name, status)
			}
			header.Del("Authorization")
			if status, _ := s.do(s.request(test.verb, test.path, test.contentType, body, header)); s == a && status != http.StatusUnauthorized {
				t.Errorf("%s, without a key: %d; want 401", test.name, status)
			}
		}
	}
	for body, want := range map[string]string{
		`{"to":{"socket":"nobody.nowhere"}}`: `{}`,
		`{"to":{"socket":"nobody.gw-b"}}`:    `{"gateways":1}`,
	} {
		if status, text := a.post("Push", body, key); status != http.StatusOK || text != want {
			t.Errorf("%s: %d %s; want %s", body, status, text, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
