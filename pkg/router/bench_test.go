package router_test

import (
	"context"
	stdjson "encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
)

// benchConn counts answers and lets the client go on when a window is done.
type benchConn struct{ answers chan struct{} }

func (c *benchConn) Send(context.Context, router.Outgoing) error {
	c.answers <- struct{}{}
	return nil
}
func (c *benchConn) Close(router.Status, string) {}
func (c *benchConn) Consumed(int)                {}

func benchEcho(b *testing.B, window int, handler func(*router.Context)) {
	r := router.NewRouter()
	r.Use(json.Middleware())
	r.Bind("/users/:id", func(*router.Context) {})
	r.Bind("/files/**", func(*router.Context) {})
	r.Bind("/echo", handler)
	c := &benchConn{answers: make(chan struct{}, window)}
	s := r.ServeSocket(router.SocketInfo{Subprotocol: "velaros-json"}, c)
	m := []byte(`{"path":"/echo","id":"123","data":{"text":"` + strings.Repeat("x", 80) + `"}}`)
	b.SetBytes(int64(len(m)))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for range window {
		s.Deliver(router.MessageText, m)
	}
	for i := window; i < b.N; i++ {
		<-c.answers
		s.Deliver(router.MessageText, m)
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	s.End(1000, "", router.ClientCloseSource, false)
	for {
		select {
		case <-c.answers:
		case <-s.Done():
			return
		}
	}
}

// cpuTime is what the process has used: on a busy machine it says more than the time
// that passed.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkEcho(b *testing.B) {
	type body struct {
		Text string `json:"text"`
	}
	for name, handler := range map[string]func(*router.Context){
		"raw":        echo,
		"rawmessage": func(ctx *router.Context) { _ = ctx.Send(stdjson.RawMessage(ctx.Data())) },
		"decoded": func(ctx *router.Context) {
			var in body
			if ctx.ReceiveInto(&in) == nil {
				_ = ctx.Send(in)
			}
		},
	} {
		b.Run(name+"/window=16", func(b *testing.B) { benchEcho(b, 16, handler) })
		b.Run(name+"/window=1", func(b *testing.B) { benchEcho(b, 1, handler) })
	}
}

func BenchmarkPattern(b *testing.B) {
	for _, bm := range []struct{ name, pattern, path string }{
		{"static", "/users/list", "/users/list"},
		{"param", "/users/:id/posts/:post", "/users/123/posts/456"},
		{"tail", "/files/**", "/files/2024/01/document.pdf"},
		{"expression", `/users/:id(\d+)`, "/users/123"},
		{"repeats", "/a/:b*/c", "/a/1/2/3/c"},
		{"miss", "/users/:id", "/files/x"},
	} {
		p, err := router.NewPattern(bm.pattern)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			params := router.MessageParams{}
			for b.Loop() {
				p.MatchInto(bm.path, &params)
			}
		})
	}
}
