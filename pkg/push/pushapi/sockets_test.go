package pushapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestDisconnect: a client sees the code and the reason that were asked for, and codes
// that mean something else to it cannot be.
func TestDisconnect(t *testing.T) {
	a, b := start(t)
	longest := strings.Repeat("ä", 61) + "x" // 123 bytes
	for i, test := range []struct {
		fields string
		want   websocket.CloseError
	}{
		{``, websocket.CloseError{Code: 1008, Text: "disconnected"}},
		{`,"code":1000,"reason":"bye"`, websocket.CloseError{Code: 1000, Text: "bye"}},
		{`,"code":1008,"reason":"banned"`, websocket.CloseError{Code: 1008, Text: "banned"}},
		{`,"code":1012`, websocket.CloseError{Code: 1012, Text: "disconnected"}},
		{`,"code":1013,"reason":"later"`, websocket.CloseError{Code: 1013, Text: "later"}},
		{`,"code":3000`, websocket.CloseError{Code: 3000, Text: "disconnected"}},
		{`,"code":4999,"reason":"` + longest + `"`, websocket.CloseError{Code: 4999, Text: longest}},
	} {
		user := fmt.Sprint("user", i)
		ws := b.dial(user)
		who := `"socket":"` + a.socket(user) + `"`
		if i%2 == 1 {
			who = `"user":"` + user + `"`
		}
		if got := a.ask("Disconnect", "{"+who+test.fields+"}"); got["disconnected"] != 1.0 {
			t.Errorf("%s: %v", test.fields, got)
		}
		_ = ws.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := ws.ReadMessage(); err == nil || err.Error() != test.want.Error() {
			t.Errorf("%s: the client got %v; want %v", test.fields, err, &test.want)
		}
	}
	ws := b.dial("alice")
	a.online("alice", 1)
	for _, fields := range []string{
		`"code":1`, `"code":999`, `"code":1001`, `"code":1002`, `"code":1005`, `"code":1006`, `"code":1009`, `"code":1011`, `"code":1014`,
		`"code":1015`, `"code":2999`, `"code":5000`, `"code":66536`, `"code":4294967295`, `"reason":"` + longest + `x"`,
	} {
		if status, text := a.post("Disconnect", `{"user":"alice",`+fields+`}`, key); status != http.StatusBadRequest || !strings.Contains(text, `"invalid_argument"`) {
			t.Errorf("%s: %d %s", fields, status, text)
		}
	}
	if got := a.ask("Push", `{"to":{"user":"alice"},"path":"/still"}`); got["delivered"] != 1.0 || a.read(ws) != `{"path":"/still"}` {
		t.Errorf("after what was refused: %v", got)
	}
	http.DefaultClient.CloseIdleConnections()
}

// since returns since when somebody is there; the zero time if nobody is.
func (s *server) since(of string) (t time.Time) {
	s.Helper()
	if text, ok := s.ask("Presence", of)["since"].(string); ok {
		var err error
		if t, err = time.Parse(time.RFC3339Nano, text); err != nil {
			s.Fatal(err)
		}
	}
	return t
}

// TestSince: presence tells when the first one came, until the last one has left.
func TestSince(t *testing.T) {
	t.Parallel()
	a, b := start(t)
	for _, of := range []string{`{"user":"alice"}`, `{"group":"room"}`} {
		come := func(s *server, sockets int) (ws *websocket.Conn) {
			t.Helper()
			ws = s.dial("alice")
			s.online("alice", sockets)
			a.ask("Join", `{"user":"alice","group":"room"}`)
			return ws
		}
		leave := func(ws *websocket.Conn, sockets int) {
			t.Helper()
			_ = ws.Close()
			s := float64(sockets)
			a.eventually("one is gone", func() bool { n, _ := a.ask("Presence", of)["sockets"].(float64); return n == s })
		}
		a.eventually("nobody is there", func() bool { return a.since(of).IsZero() })
		var last time.Time
		for range 2 {
			before := time.Now().Round(0)
			first := come(a, 1)
			since := b.since(of)
			if after := time.Now(); since.Before(before) || since.After(after) {
				t.Errorf("%s: since %v; the first one came between %v and %v", of, since, before, after)
			}
			if !since.After(last) {
				t.Errorf("%s: since %v, and when there was nobody after it since %v", of, since, last)
			}
			last = since
			second := come(b, 2)
			third := come(a, 3)
			for left, ws := range []*websocket.Conn{third, second, first} {
				if got := b.since(of); !got.Equal(since) {
					t.Errorf("%s: with %d sockets since %v; want %v", of, 3-left, got, since)
				}
				leave(ws, 2-left)
			}
			if got := a.ask("Presence", of); got["since"] != nil || got["online"] != nil {
				t.Errorf("%s: when the last one has left: %v", of, got)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
