package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// A gateway with TLS of its own drains like any other: replies are let out, clients
// are closed with 1012, and idle connections do not hold it up.
func TestTerminatedGatewayDrainsTLS(t *testing.T) {
	s := startSystem(t, 0, 1)
	cert, err := redistest.NewCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(cert.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the certificate cannot be read")
	}
	g := s.addGateway(t, "gw-tls", "--drain-window", "1s", "--tls-cert", cert.CertFile, "--tls-key", cert.KeyFile)

	if _, resp, err := websocket.DefaultDialer.Dial(g.URL(), nil); err == nil || resp != nil && resp.StatusCode == http.StatusSwitchingProtocols {
		t.Error("the listener speaks without TLS")
	}
	silent, err := tls.Dial("tcp", g.Addr, &tls.Config{RootCAs: roots}) // and sends no request
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots}, HandshakeTimeout: patience}
	var clients []*client
	for range 6 {
		ws, _, err := d.DialContext(t.Context(), "wss://"+g.Addr+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.Close() })
		clients = append(clients, &client{t: t, ws: ws})
	}
	busy, idle := clients[:4], clients[4:]
	for _, c := range busy {
		c.send(`{"path":"/sleep","id":"a","data":{"ms":500}}`)
		c.send(`{"path":"/echo","id":"b","data":1}`)
	}
	eventually(t, patience, func() string { // the messages have reached the service, or will
		if n, err := g.Metric(t.Context(), "boreas_gateway_messages_received_total"); err != nil || int(n) != 2*len(busy) {
			return fmt.Sprintf("the gateway has read %v messages, %v", n, err)
		}
		opened := 0
		for _, e := range s.probes[0].Seen() {
			if e.Event == "open" {
				opened++
			}
		}
		if opened != len(busy) {
			return fmt.Sprintf("%d sockets are open; want %d", opened, len(busy))
		}
		return ""
	})
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range busy {
		for _, id := range []string{"a", "b"} {
			if a := c.read(); a.ID != id {
				t.Fatalf("got %+v; want the reply to %s", a, id)
			}
		}
	}
	for i, c := range append(busy, idle...) {
		if ce := c.closed(patience); ce.Code != websocket.CloseServiceRestart {
			t.Errorf("client %d is closed with %v; want 1012", i, ce)
		}
	}
	if err := g.Wait(t.Context()); err != nil {
		t.Errorf("gateway: %v", err)
	}
	if got := s.counts(t, "probe"); got["probe-0"] != 0 {
		t.Errorf("counts %v after the drain", got)
	}
}
