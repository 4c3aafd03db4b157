package router_test

import (
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
)

func Example() {
	r := router.NewRouter()
	r.Use(json.Middleware())
	r.PublicBind("/greet/:name", func(ctx *router.Context) {
		var in struct{ Greeting string }
		if err := ctx.Unmarshal(&in); err != nil {
			ctx.Error = router.NewError("validation", "say which greeting")
			return
		}
		_ = ctx.Send(in.Greeting + ", " + ctx.Params().Get("name"))
	})

	server := httptest.NewServer(r) // a router needs no gateway
	defer server.Close()
	ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _, _ = res.Body.Close(), ws.Close() }()
	for _, message := range []string{
		`{"path": "/greet/Ada", "id": "1", "data": {"greeting": "Hello"}}`,
		`{"path": "/greet/Ada", "id": "2"}`,
		`{"path": "/elsewhere", "id": "3"}`,
	} {
		_ = ws.WriteMessage(websocket.TextMessage, []byte(message))
		_, answer, _ := ws.ReadMessage()
		fmt.Println(string(answer))
	}
	// Output:
	// {"id":"1","data":{"message":"Hello, Ada"}}
	// {"id":"2","data":{"error":"say which greeting","code":"validation"}}
	// {"id":"3","data":{"error":"nothing handles /elsewhere","code":"no_route"}}
}

func ExamplePattern() {
	p, _ := router.NewPattern(`/users/:id(\d+)/files/:path*`)
	params, ok := p.Match("/users/7/files/a/b")
	fmt.Println(params["id"], params["path"], ok)
	path, _ := p.Path(router.MessageParams{"id": "7"}, nil)
	fmt.Println(path, p.Canonical())
	// Output:
	// 7 a/b true
	// /users/7/files /users/(\d+)/files/**
}
