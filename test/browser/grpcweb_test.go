package browser

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/boreas-ws/boreas/examples/chat/chat"
	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/push/pushapi"
	"github.com/boreas-ws/boreas/pkg/service"
)

// apiKey is that of the page's caller.
const apiKey = "0123456789abcdef"

// startWithAPI runs a gateway, the demo service, its page and the push API under one
// origin, and returns its URL.
func startWithAPI(ctx context.Context, t *testing.T) string {
	t.Helper()
	bp, err := embedded.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bp.Close(context.Background()) })
	gw, err := gateway.New("public", bp, gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	api, err := pushapi.New(push.Of(bp), pushapi.Config{Keys: map[string]string{"page": apiKey}, Ready: gw.Ready})
	if err != nil {
		t.Fatal(err)
	}
	run(ctx, t, gw, service.New("chat", bp, chat.Router(), service.Config{}), "/chat/join")
	mux := http.NewServeMux()
	mux.Handle("/ws", gw)
	mux.Handle("/", chat.Page())
	for _, pattern := range pushapi.Patterns() {
		mux.Handle(pattern, api)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// grpcWeb makes the page push to the user alice by gRPC-Web. It gives the status of the
// call, and to how many connections the push was delivered: field 3 of the response.
const grpcWeb = `(async (key) => {
	const text = (s) => [...new TextEncoder().encode(s)];
	const field = (n, bytes) => [n << 3 | 2, bytes.length, ...bytes];
	const message = [
		...field(1, field(2, text("alice"))), ...field(2, text("/notify")), ...field(4, text('{"text":"from the page"}')),
	];
	const r = await fetch("/boreas.push.v1.PushService/Push", {
		method: "POST",
		headers: { "Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1", "Authorization": "Bearer " + key },
		body: new Uint8Array([0, 0, 0, 0, message.length, ...message]),
	});
	let status = r.headers.get("Grpc-Status"), delivered = 0;
	const body = new Uint8Array(await r.arrayBuffer());
	for (let at = 0; at < body.length;) {
		const size = new DataView(body.buffer).getUint32(at + 1);
		const part = body.slice(at + 5, at + 5 + size);
		if (body[at] & 0x80) status = /grpc-status: *(\d+)/i.exec(new TextDecoder().decode(part))[1];
		else for (let i = 0; i + 1 < part.length; i += 2) if (part[i] === 3 << 3) delivered = part[i + 1]; // all are small
		at += 5 + size;
	}
	return "HTTP " + r.status + ", status " + status + ", delivered " + delivered;
})(`

// TestPageCallsGRPCWeb: the chat page calls the API by gRPC-Web, and sees what that
// pushes to its user; with a wrong key it sees the code.
func TestPageCallsGRPCWeb(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	url := startWithAPI(ctx, t)
	allocator, cancelAllocator := chromedp.NewExecAllocator(ctx, browserOptions()...)
	defer cancelAllocator()
	tab := newTab(allocator, t)
	joinAsAlice(tab, t, url)
	for _, call := range []struct{ key, want string }{
		{apiKey, "HTTP 200, status 0, delivered 1"},
		{apiKey + "x", "HTTP 200, status 16, delivered 0"},
	} {
		got, err := chromedp.Run(tab, chromedp.Evaluate[string](grpcWeb+`"`+call.key+`")`, chromedp.EvalAwaitPromise))
		if err != nil || got != call.want {
			t.Errorf("the page got %q, %v; want %q", got, err, call.want)
		}
	}
	awaitTrue(tab, t, "the page shows it", `document.getElementById("notices").textContent === "from the page"`)
	awaitTrue(tab, t, "alice sees herself", `document.getElementById("here").textContent === "alice"`)
}
