package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync/atomic"
)

// newBalancer sends each request to the next of the addresses that can be reached,
// whatever came before: the load balancer without affinity that clients of gateways may have.
func newBalancer(addresses []string, logger *slog.Logger) http.Handler {
	var next atomic.Uint64
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		var dialer net.Dialer
		first := slices.Index(addresses, address)
		for i := range addresses { // whoever is away is passed over
			if conn, err = dialer.DialContext(ctx, network, addresses[(first+i)%len(addresses)]); err == nil {
				break
			}
		}
		return conn, err
	}
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			address := addresses[(next.Add(1)-1)%uint64(len(addresses))]
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // what a gateway compares the Origin with
			r.SetXForwarded()
		},
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
