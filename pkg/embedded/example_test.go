package embedded_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/embedded"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/service"
)

// A service is tested as its clients see it: behind a gateway, over a WebSocket.
func Example() {
	ctx := context.Background()
	bp, err := embedded.Open(ctx)
	if err != nil {
		log.Fatal(err)
	}

	r := router.NewRouter()
	r.Use(json.Middleware())
	r.PublicBind("/hello/:name", func(ctx *router.Context) {
		_ = ctx.Send("hello " + ctx.Params().Get("name"))
	})
	greeter := service.New("greeter", bp, r, service.Config{})
	if err := greeter.Start(ctx); err != nil {
		log.Fatal(err)
	}

	gw, err := gateway.New("public", bp, gateway.Config{})
	if err != nil {
		log.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(running) }()
	for range time.Tick(time.Millisecond) {
		if gw.Ready() == nil && gw.CanServePath("/hello/world") {
			break
		}
	}
	server := httptest.NewServer(gw)

	client, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = client.WriteMessage(websocket.TextMessage, []byte(`{"path":"/hello/world","id":"1"}`))
	_, reply, err := client.ReadMessage()
	fmt.Println(string(reply), err)

	_ = client.Close()
	_ = greeter.Stop(ctx)
	_ = gw.Drain(ctx)
	stop()
	<-ended
	server.Close()
	_ = bp.Close(ctx)
	// Output: {"id":"1","data":{"message":"hello world"}} <nil>
}
