package browser

import (
	"context"
	stdjson "encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/service"
)

// countingListener counts the bytes of its connections, both ways.
type countingListener struct {
	net.Listener
	in, out *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return countingConn{nc, l.in, l.out}, err
}

type countingConn struct {
	net.Conn
	in, out *atomic.Int64
}

func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(int64(n))
	return n, err
}

func (c countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(int64(n))
	return n, err
}

// startCompressing runs a gateway that compresses, with an echo behind it, on a
// listener that counts. It returns the URL of an empty page.
func startCompressing(ctx context.Context, t *testing.T, in, out *atomic.Int64) string {
	t.Helper()
	bp, err := embedded.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bp.Close(context.Background()) })
	r := router.NewRouter()
	r.Use(json.Middleware())
	r.PublicBind("/echo", func(c *router.Context) {
		_ = c.Send(stdjson.RawMessage(c.Data())) // fails only if the page has left
	})
	gw, err := gateway.New("public", bp, gateway.Config{Compression: true})
	if err != nil {
		t.Fatal(err)
	}
	run(ctx, t, gw, service.New("echo", bp, r, service.Config{}), "/echo")
	mux := http.NewServeMux()
	mux.Handle("/ws", gw)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<!doctype html><title>x</title>")
	})
	server := httptest.NewUnstartedServer(mux)
	server.Listener = countingListener{server.Listener, in, out}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// exchange is what a page does: it sends texts of many kinds and lengths and
// compares what comes back.
const exchange = `(async () => {
	const ws = new WebSocket(location.origin.replace("http", "ws") + "/ws");
	await new Promise((ok, no) => { ws.onopen = ok; ws.onerror = () => no(new Error("no connection")); });
	let seed = 1;
	const noise = (n) => Array.from({length: n}, () => (seed = seed * 48271 % 2147483647, String.fromCharCode(32 + seed % 90))).join("");
	const texts = ["", "x", "é€😀".repeat(300), noise(511), noise(512), noise(5000)];
	for (let i = 0; i < 20; i++) texts.push("a long line of text. ".repeat(2500));
	const answers = new Map();
	const all = new Promise((ok, no) => {
		ws.onmessage = (e) => {
			const m = JSON.parse(e.data);
			answers.set(m.id, m.data);
			if (answers.size === texts.length) ok();
		};
		ws.onclose = (e) => no(new Error("closed with " + e.code + " " + e.reason));
	});
	texts.forEach((data, i) => ws.send(JSON.stringify({path: "/echo", id: String(i), data})));
	await all;
	const wrong = texts.map((t, i) => answers.get(String(i)) === t ? "" : i + " ").join("");
	ws.onclose = null;
	ws.close(1000);
	return ws.extensions + "|" + wrong;
})()`

// TestCompressionInChromium: Chromium and a gateway with compression agree on it and
// understand each other, and the lines are short for it, both ways.
func TestCompressionInChromium(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var in, out atomic.Int64
	url := startCompressing(ctx, t, &in, &out)
	allocator, cancelAllocator := chromedp.NewExecAllocator(ctx, browserOptions()...)
	defer cancelAllocator()
	tab := newTab(allocator, t)
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	got, err := chromedp.Run(tab, chromedp.Evaluate[string](exchange, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	const want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover|"
	if got != want {
		t.Errorf("the page has %q; want %q", got, want)
	}
	const plain = 20 * 50_000 // bytes of the long texts alone
	if in.Load() > plain/5 || out.Load() > plain/5 {
		t.Errorf("%d bytes came and %d went; not compressed, they are %d each", in.Load(), out.Load(), plain)
	}
}
