// Package metrics counts what gateways, services and backplanes do, and tells
// Prometheus. Package cloudwatch, below it, tells Amazon CloudWatch the same.
//
//	m := metrics.New()
//	bp, err := backplane.Open(ctx, url, backplane.Config{Hooks: m.Backplane()})
//	gw, err := gateway.New("public", bp, gateway.Config{Hooks: m.Gateway("public")})
//	s := service.New("chat", bp, r, service.Config{Hooks: m.Service("chat")})
//	http.Handle("GET /metrics", m.Handler()) // or: go m.ListenAndServe(ctx, ":9100")
//
// Each instrument is declared once, in [Catalogue]; what Prometheus, CloudWatch,
// the dashboards and docs/metrics.md show is made of it.
//
// # Guarantees
//
// The values of labels come from sets that an operator knows: names of gateways and
// services, patterns of routes, reasons, codes. No id, user, path or address ever
// becomes one, and an instrument has at most 2000 series; what is beyond that is
// counted under "other".
//
// A message costs a few atomic additions. Times are taken of one message per socket
// at a time, so that many messages under way cost no more clock readings than one. A
// client that waits for each reply has all of its messages timed.
//
// # Non-guarantees
//
// Instruments are read one after the other: a message that passes meanwhile may be
// in one and not in the next. Counts begin at 0 with the process.
package metrics
