package main

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// newBalancer sends each request to the next of the addresses, whatever came
// before: the load balancer without affinity that clients of gateways may have.
func newBalancer(addresses []string, logger *slog.Logger) http.Handler {
	var next atomic.Uint64
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			address := addresses[(next.Add(1)-1)%uint64(len(addresses))]
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // what a gateway compares the Origin with
			r.SetXForwarded()
		},
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
