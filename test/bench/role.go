package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/examples/chat/chat"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/metrics"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/test/cluster"
)

// The roles that this program plays, in a process of its own, when its first
// argument names one.
const (
	roleBare = "bare-echo"
	rolePong = "pong" // the second argument is the URL of Redis
	roleChat = "chat" // the same, and then the namespace and whether there are instruments
)

// playRole plays the role that args name, if they do.
func playRole(args []string) (played bool, err error) {
	switch {
	case len(args) == 1 && args[0] == roleBare:
		return true, serveBare()
	case len(args) == 1 && args[0] == roleBareFanout:
		return true, serveBareFanout()
	case len(args) == 2 && args[0] == roleBoreasFanout:
		return true, serveBoreasFanout(args[1])
	case len(args) == 2 && args[0] == rolePong:
		return true, servePong(args[1])
	case len(args) == 4 && args[0] == roleChat:
		return true, serveChat(args[1], args[2], instruments(args[3]))
	}
	return false, nil
}

// startRole runs this program again, in a role, and returns the line that it
// prints when it is ready.
func startRole(ctx context.Context, args ...string) (*cluster.Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p, err := cluster.Start(args[0], self, nil, args...)
	if err != nil {
		return nil, "", err
	}
	if err := p.Await(ctx, func(lines []string) bool { return len(lines) > 0 }); err != nil {
		_ = p.Kill()
		return nil, "", err
	}
	return p, strings.TrimSpace(p.Events()[0]), nil
}

// serveBare is the echo server that anybody would write with gorilla/websocket.
func serveBare() error {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := debugMux()
	mux.HandleFunc("/", echo)
	fmt.Fprintln(os.Stdout, l.Addr())
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

func echo(w http.ResponseWriter, r *http.Request) {
	var upgrader websocket.Upgrader
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer c.Close()
	for {
		kind, msg, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(kind, msg); err != nil {
			return
		}
	}
}

// serveChat runs an instance of the demo service, like examples/chat, and serves
// its profiles besides.
func serveChat(url, namespace string, i instruments) error {
	ctx := context.Background()
	var m *metrics.Metrics
	if i == metered {
		m = metrics.New()
	}
	bp, err := backplane.Open(ctx, url, backplane.Config{Namespace: namespace, Hooks: m.Backplane()})
	if err != nil {
		return err
	}
	if err := service.New("chat", bp, chat.Router(), service.Config{Hooks: m.Service("chat")}).Start(ctx); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, l.Addr())
	return (&http.Server{Handler: debugMux(), ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}
