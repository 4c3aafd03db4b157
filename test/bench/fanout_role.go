package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/service"
)

// The roles of the measurement of pushes.
const (
	roleBareFanout   = "bare-fanout"
	roleBoreasFanout = "boreas-fanout" // the second argument is the URL of Redis
	nameBareFanout   = "bare gorilla writer"
)

// serve serves a mux on a free port and prints its address.
func serve(mux *http.ServeMux) error {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, l.Addr())
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

// paced calls send n times, rate times a second.
func paced(rate, n int, send func() error) error {
	start := time.Now()
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		if err := send(); err != nil {
			return err
		}
	}
	return nil
}

// publish answers a POST when begin's send has sent what it asks for.
func publish(begin func(sockets int) (send func(number int) error, end func() error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		number := func(name string) int {
			n, _ := strconv.Atoi(r.FormValue(name))
			return max(n, 1)
		}
		send, end := begin(number("sockets"))
		next := number("first")
		err := paced(number("rate"), number("n"), func() error {
			next++
			return send(next - 1)
		})
		if err == nil {
			err = end()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

// serveBareFanout is the server that anybody would write with gorilla/websocket to send
// each message to all its sockets: one goroutine, prepared messages.
func serveBareFanout() error {
	var mu sync.Mutex
	changed := sync.NewCond(&mu)
	conns := map[*websocket.Conn]struct{}{}
	mux := debugMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var upgrader websocket.Upgrader
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		defer c.Close()
		mu.Lock()
		conns[c] = struct{}{}
		mu.Unlock()
		changed.Broadcast()
		for err == nil {
			_, _, err = c.ReadMessage()
		}
		mu.Lock()
		delete(conns, c)
		mu.Unlock()
		changed.Broadcast()
	})
	mux.HandleFunc("POST /publish", publish(func(sockets int) (func(int) error, func() error) {
		mu.Lock()
		for len(conns) != sockets { // clients know of the handshake before this server is back from it
			changed.Wait()
		}
		mu.Unlock()
		send := func(n int) error {
			mu.Lock()
			defer mu.Unlock()
			m, err := websocket.NewPreparedMessage(websocket.TextMessage, fmt.Appendf(nil, pushedHead+pushedData+"}", n))
			if err != nil {
				return err
			}
			for c := range conns {
				if err := c.WritePreparedMessage(m); err != nil {
					return err
				}
			}
			return nil
		}
		return send, func() error { return nil }
	}))
	return serve(mux)
}

// serveBoreasFanout is a service whose clients join a group, and which pushes to it.
func serveBoreasFanout(url string) error {
	ctx := context.Background()
	bp, err := backplane.Open(ctx, url, backplane.Config{})
	if err != nil {
		return err
	}
	r := router.NewRouter()
	r.Use(json.Middleware())
	r.PublicBind("/fanout/join", func(c *router.Context) {
		if c.Error = c.JoinGroup("fanout"); c.Error != nil {
			return
		}
		c.Error = c.Send(router.Raw(`"joined"`))
	})
	if err := service.New("fanout", bp, r, service.Config{}).Start(ctx); err != nil {
		return err
	}
	mux := debugMux()
	mux.HandleFunc("POST /publish", publish(func(sockets int) (func(int) error, func() error) {
		var sent []*push.Pending
		send := func(n int) error {
			data := router.Payloads{0: fmt.Appendf(nil, pushedData, n)} // JSON
			p, err := push.Of(bp).Send(ctx, push.Message{To: router.ToGroup("fanout"), Path: "/n", Data: data})
			sent = append(sent, p)
			return err
		}
		end := func() error {
			for _, p := range sent {
				r, err := p.Wait(ctx)
				if err != nil {
					return err
				}
				if r.Delivered != sockets {
					return fmt.Errorf("a push to %d sockets: %+v", sockets, r)
				}
			}
			return nil
		}
		return send, end
	}))
	return serve(mux)
}

// bareFanout starts the bare server.
func (s *stack) bareFanout(ctx context.Context) (t *target, publisher string, err error) {
	p, addr, err := startRole(ctx, roleBareFanout)
	if err != nil {
		return nil, "", err
	}
	s.started(p)
	return &target{name: nameBareFanout, addr: addr, path: "/", procs: []process{{"server", p.PID(), addr}}}, addr, nil
}

// boreasFanout starts two gateways and a service.
func (s *stack) boreasFanout(ctx context.Context) (gateways []*target, publisher string, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.redis.Client().FlushAll(ctx).Err(); err != nil {
		return nil, "", err
	}
	p, publisher, err := startRole(ctx, roleBoreasFanout, s.redis.TCPURL())
	if err != nil {
		return nil, "", err
	}
	s.started(p)
	for _, name := range []string{"gateway-1", "gateway-2"} {
		gw, err := s.programs.StartGateway(ctx, name, s.redis.TCPURL())
		if err != nil {
			return nil, "", err
		}
		s.started(gw.Process)
		gateways = append(gateways, &target{name: nameBoreas, addr: gw.Addr, path: "/ws", procs: []process{
			{name, gw.PID(), gw.Internal}, {"publisher", p.PID(), publisher}, {"redis", s.redis.PID(), ""},
		}})
	}
	return gateways, publisher, nil
}
