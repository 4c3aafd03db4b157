package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
	dto "github.com/prometheus/client_model/go"
)

// crowd is how many sockets TestSocketsAddNoSeries opens; users is how many of them
// are different people, and items how many paths they use.
const crowd, users, items = 10_000, 1000, 200

const secret = "signs the tokens of these tests only"

// TestSocketsAddNoSeries compares the series of a gateway that has had one client with
// those of the same gateway with 10,000 sockets of 1,000 users, on 200 paths of one
// pattern. And with all of them a scrape is quick.
func TestSocketsAddNoSeries(t *testing.T) {
	s := startSystem(t, 0, 1)
	g := s.addGateway(t, "gw", "--auth", "jwt", "--jwt-algorithms", "HS256", "--jwt-issuer", "e2e",
		"--jwt-audience", "boreas", "--jwt-secret", secret, "--drain-window", "1ms", "--peer-timeout=-1s", "--ping-interval=-1s") // nobody reads while the others come
	sockets := make([]*websocket.Conn, 0, crowd)
	defer func() {
		for _, ws := range sockets {
			_ = ws.Close()
		}
	}()
	join := func(i int) (*websocket.Conn, error) { return visit(t.Context(), g.URL(), i) }
	first, err := join(0)
	if err != nil {
		t.Fatal(err)
	}
	sockets = append(sockets, first)
	before := series(scrape(t, g))

	var mu sync.Mutex
	var work sync.WaitGroup
	const workers = 16
	for w := range workers {
		work.Go(func() {
			for i := 1 + w; i < crowd; i += workers {
				ws, err := join(i)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				sockets = append(sockets, ws)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if t.Failed() {
		return
	}
	start := time.Now()
	families := scrape(t, g)
	took := time.Since(start)
	if open := families["boreas_gateway_sockets"].GetMetric()[0].GetGauge().GetValue(); open != crowd {
		t.Errorf("the gateway has %v sockets; want %d", open, crowd)
	}
	for name := range series(families) {
		// The registry's scripts run when they are due, which is not at the sockets' coming.
		if !before[name] && !strings.HasPrefix(name, "boreas_registry_") {
			t.Errorf("a new series: %s", name)
		}
	}
	// The goal is 50 ms, which `make bench` measures. This machine may be busy.
	if t.Logf("scrape with %d sockets: %v", crowd, took); took > 10*time.Second {
		t.Errorf("a scrape with %d sockets takes %v", crowd, took)
	}
}

// visit connects as user i modulo users, and asks for item i modulo items.
func visit(ctx context.Context, url string, i int) (*websocket.Conn, error) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "e2e", "aud": "boreas", "sub": fmt.Sprint("user-", i%users), "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		return nil, err
	}
	d := websocket.Dialer{Subprotocols: []string{"velaros-json", "boreas.jwt." + token}, HandshakeTimeout: patience, ReadBufferSize: 512}
	ws, resp, err := d.DialContext(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	item := fmt.Sprint(i % items)
	err = ws.WriteMessage(websocket.TextMessage, []byte(`{"path":"/item/`+item+`","id":"1"}`))
	var a struct{ Data struct{ ID string } }
	if err == nil {
		err = ws.ReadJSON(&a)
	}
	if err == nil && a.Data.ID != item {
		err = fmt.Errorf("item %s: %+v", item, a)
	}
	return ws, err
}

// series are the names and labels of all series.
func series(families map[string]*dto.MetricFamily) map[string]bool {
	all := map[string]bool{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			b, _ := json.Marshal(labels) // of strings: never fails
			all[name+string(b)] = true
		}
	}
	return all
}
