package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/redisbus"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// gatewayFlags are the settings of a gateway; config prints them. The limits are
// those of gateway.Config, and so are their defaults.
type gatewayFlags struct {
	Listen          string `default:":8080" help:"Where clients connect, as HOST:PORT."`
	Path            string `default:"/ws" help:"URL path of the WebSocket endpoint."`
	Name            string `default:"public" help:"Name of the gateway, shared by its replicas. Services announce their routes to names."`
	Redis           string `default:"redis://localhost:6379" help:"Redis of the backplane: a redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster:// URL."`
	Namespace       string `default:"boreas" help:"Tells systems apart that share a Redis."`
	NodeID          string `placeholder:"ID" help:"Name of this process on the backplane. Default: random."`
	BackplaneKey    string `secret:"" placeholder:"KEY" help:"Key, of 16 bytes or more and the same on all nodes, that signs what nodes send to each other."`
	BackplaneKeyOld string `secret:"" placeholder:"KEY" help:"Key that is accepted from other nodes beside it, while keys are being replaced."`
	InternalListen  string `default:"127.0.0.1:9090" help:"Where /livez, /readyz, /metrics, /debug/pprof and the push API are served. Keep clients away from it."`
	InternalKey     string `secret:"" placeholder:"KEY" help:"Bearer token, of 16 bytes or more, that the internal listener wants for all but /livez and /readyz. Required unless that listener is on loopback."`

	AllowedOrigins  []string       `placeholder:"ORIGIN,..." help:"Origins of web pages that may connect, beside the gateway's own host, such as https://app.example.com or https://*.example.com. A single * allows all."`
	TrustedProxies  []netip.Prefix `placeholder:"CIDR,..." help:"Addresses of proxies that are believed about whom they forward for, such as 10.0.0.0/8."`
	ForwardedHeader string         `enum:"X-Forwarded-For,Forwarded" default:"X-Forwarded-For" help:"Header in which trusted proxies say so: X-Forwarded-For or Forwarded."`
	TLSCert         string         `name:"tls-cert" placeholder:"FILE" help:"PEM certificate of the public listener, and its chain; read again when it changes. Default: no TLS."`
	TLSKey          string         `name:"tls-key" placeholder:"FILE" help:"PEM key of that certificate."`
	ProxyProtocol   bool           `help:"Read the PROXY protocol, version 1 or 2, from trusted proxies."`
	ForwardHeaders  []string       `default:"${forward_headers}" help:"Handshake headers that services may see."`

	MaxSockets          int           `default:"${max_sockets}" help:"Clients that may be connected; negative for no limit."`
	MaxHandshakes       int           `default:"${max_handshakes}" help:"Handshakes that may be under way; negative for no limit."`
	HandshakeTimeout    time.Duration `default:"${handshake_timeout}" help:"Time for a TLS handshake, for the headers of a request, and for its body."`
	MaxHeaderBytes      int           `default:"${max_header_bytes}" help:"Bytes of a request's headers, its URL included."`
	AcceptRate          quota.Rate    `default:"0" placeholder:"RATE:BURST" help:"Handshakes per second, and at once; 0 for no limit."`
	MessageRate         quota.Rate    `default:"0" placeholder:"RATE:BURST" help:"Messages per second of one socket, and at once; 0 for no limit."`
	ByteRate            quota.Rate    `default:"0" placeholder:"RATE:BURST" help:"Bytes of messages per second of one socket, and at once; 0 for no limit."`
	ReportRate          quota.Rate    `default:"${report_rate}" placeholder:"RATE:BURST" help:"Reports of latency per second of one socket, and at once."`
	MaxInFlight         int           `default:"0" help:"Requests of one socket without an answer; 0 for no limit."`
	RateGrace           time.Duration `default:"${rate_grace}" help:"Time of going far over a rate after which a socket is closed; negative for never."`
	MaxMessageBytes     int           `default:"${max_message_bytes}" help:"Largest message of a client, in bytes."`
	Compression         bool          `help:"Agree on permessage-deflate with clients that offer it."`
	MaxFragments        int           `default:"${max_fragments}" help:"Frames that a message may consist of; negative for any number."`
	MaxControlRate      int           `default:"${max_control_rate}" help:"Pings and pongs that a client may send per second, on average over 5 s; negative for any number."`
	MaxConversations    int           `default:"${max_conversations}" help:"Message ids remembered per socket, to route answers without a path."`
	ReplyWindow         int           `default:"${reply_window}" help:"Bytes that a service may send ahead to a socket whose client does not read."`
	PingInterval        time.Duration `default:"${ping_interval}" help:"Longest time between pings to a client; negative for no pings."`
	PeerTimeout         time.Duration `default:"${peer_timeout}" help:"Silence after which a client counts as gone; negative for never."`
	MessageTimeout      time.Duration `default:"${message_timeout}" help:"Time that one message may take to arrive; negative for ever."`
	SlowConsumerTimeout time.Duration `default:"${slow_consumer_timeout}" help:"Time that a client may read nothing before it is closed; negative for ever."`
	PinTimeout          time.Duration `default:"${pin_timeout}" help:"Time to find an instance for a socket's first message to a service."`
	CloseTimeout        time.Duration `default:"${close_timeout}" help:"Time to wait for a client to answer a close."`
	HandbackTimeout     time.Duration `default:"${handback_timeout}" help:"Time that an instance may take to finish with a socket that ends."`

	DrainWindow time.Duration `default:"${drain_window}" help:"After SIGTERM, time over which the closing of sockets is spread; negative for at once."`
	StopTimeout time.Duration `default:"25s" help:"After SIGTERM, time after which sockets that are left are closed at once; the process ends a few seconds later."`

	authFlags    `embed:""`
	apiFlags     `embed:""`
	quotaFlags   `embed:""`
	metricsFlags `embed:""`
}

// gatewayDefaults are the variables that the tags above mention.
var gatewayDefaults = kong.Vars{
	"forward_headers":       strings.Join(gateway.DefaultForwardHeaders(), ","),
	"max_sockets":           strconv.Itoa(gateway.DefaultMaxSockets),
	"max_handshakes":        strconv.Itoa(gateway.DefaultMaxHandshakes),
	"handshake_timeout":     gateway.DefaultHandshakeTimeout.String(),
	"max_header_bytes":      strconv.Itoa(defaultMaxHeaderBytes),
	"report_rate":           gateway.DefaultReportRate().String(),
	"rate_grace":            gateway.DefaultRateGrace.String(),
	"max_message_bytes":     strconv.Itoa(gateway.DefaultMaxMessageBytes),
	"max_fragments":         strconv.Itoa(gateway.DefaultMaxFragments),
	"max_control_rate":      strconv.Itoa(gateway.DefaultMaxControlRate),
	"max_conversations":     strconv.Itoa(gateway.DefaultMaxConversations),
	"reply_window":          strconv.Itoa(gateway.DefaultReplyWindow),
	"ping_interval":         gateway.DefaultPingInterval.String(),
	"peer_timeout":          gateway.DefaultPeerTimeout.String(),
	"message_timeout":       gateway.DefaultMessageTimeout.String(),
	"slow_consumer_timeout": gateway.DefaultSlowConsumerTimeout.String(),
	"pin_timeout":           gateway.DefaultPinTimeout.String(),
	"close_timeout":         gateway.DefaultCloseTimeout.String(),
	"handback_timeout":      gateway.DefaultHandbackTimeout.String(),
	"drain_window":          gateway.DefaultDrainWindow.String(),
}

func (f *gatewayFlags) config(logger *slog.Logger) gateway.Config {
	return gateway.Config{
		AllowedOrigins:      f.AllowedOrigins,
		TrustedProxies:      f.TrustedProxies,
		ForwardedHeader:     f.ForwardedHeader,
		ForwardHeaders:      f.ForwardHeaders,
		MaxSockets:          f.MaxSockets,
		MaxHandshakes:       f.MaxHandshakes,
		HandshakeTimeout:    f.HandshakeTimeout,
		AcceptRate:          f.AcceptRate,
		MessageRate:         f.MessageRate,
		ByteRate:            f.ByteRate,
		ReportRate:          f.ReportRate,
		MaxInFlight:         f.MaxInFlight,
		RateGrace:           f.RateGrace,
		MaxMessageBytes:     f.MaxMessageBytes,
		Compression:         f.Compression,
		MaxFragments:        f.MaxFragments,
		MaxControlRate:      f.MaxControlRate,
		MaxConversations:    f.MaxConversations,
		ReplyWindow:         f.ReplyWindow,
		PingInterval:        f.PingInterval,
		PeerTimeout:         f.PeerTimeout,
		MessageTimeout:      f.MessageTimeout,
		SlowConsumerTimeout: f.SlowConsumerTimeout,
		PinTimeout:          f.PinTimeout,
		CloseTimeout:        f.CloseTimeout,
		HandbackTimeout:     f.HandbackTimeout,
		DrainWindow:         f.DrainWindow,
		AuthTimeout:         f.AuthTimeout,
		ExpiryWarning:       f.AuthExpiryWarning,
		ExpiryGrace:         f.AuthExpiryGrace,
		Logger:              logger,
	}
}

// stopReserve is what a gateway may take after StopTimeout, before its process is
// ended from outside of it all.
const stopReserve = 4 * time.Second

type gatewayCmd struct {
	gatewayFlags `embed:""`
}

// Run serves clients until a signal, then drains.
func (c *gatewayCmd) Run(p *process) error {
	if !strings.HasPrefix(c.Path, "/") {
		return usageError{fmt.Errorf("--path: %q does not start with /", c.Path)}
	}
	if _, err := redisbus.ParseURL(c.Redis); err != nil {
		return usageError{fmt.Errorf("--redis: %w", err)}
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		return usageError{errors.New("--proxy-protocol: say with --trusted-proxies whose")}
	}
	certificate, err := newCertificate(c.TLSCert, c.TLSKey, p.logger)
	if err != nil {
		return usageError{err}
	}
	defer p.endAfter(c.StopTimeout + stopReserve)()
	public, err := listen(p.ctx, "--listen", c.Listen)
	if err != nil {
		return err
	}
	defer public.Close()
	private, err := listen(p.ctx, "--internal-listen", c.InternalListen)
	if err != nil {
		return err
	}
	if err := checkInternalKey(c.InternalKey, private.Addr()); err != nil {
		return usageError{err}
	}
	who, err := c.openAuth(p.ctx, p.logger)
	if err != nil {
		return usageError{err}
	}
	defer who.close()
	probes := &readiness{}
	m := c.instruments()
	stopReports, err := c.report(p, m)
	if err != nil {
		return err
	}
	defer stopReports()
	api, err := c.openAPI(c.InternalKey, probes.ready, p.logger, m.API())
	if err != nil {
		return usageError{err}
	}
	mounts := slices.Concat(c.mounts(m), who.mounts(c.InternalKey, p.logger), api.mounts())
	internal := newHTTPServer(internalHandler(probes.ready, c.InternalKey, mounts...), httpLimits{}, p.logger)
	internal.Protocols = apiProtocols()
	go serveInternal(internal, private, p.logger)
	defer internal.Close()

	p.logger.Info("connecting to Redis", "redis", redactURL(c.Redis))
	bp, err := backplane.Open(p.ctx, c.Redis, backplane.Config{
		Namespace: c.Namespace,
		NodeID:    wire.NodeID(c.NodeID),
		Key:       []byte(c.BackplaneKey),
		OldKey:    []byte(c.BackplaneKeyOld),
		Logger:    p.logger,
		Hooks:     m.Backplane(),
	})
	if p.ctx.Err() != nil && err != nil {
		return nil // stopped while Redis was away
	}
	if err != nil {
		return err
	}
	push.Of(bp).Observe(m.Push())
	if err := api.serve(bp); err != nil {
		return errors.Join(usageError{err}, closeBackplane(bp))
	}
	config := c.config(p.logger)
	config.Hooks = m.Gateway(c.Name)
	config.Authenticator = who.authenticator
	quotas, closeQuota, err := c.quota(p.ctx, c.Redis, c.Namespace, bp.Self(), m.Quota(), p.logger)
	if err != nil {
		return errors.Join(usageError{err}, closeBackplane(bp))
	}
	defer closeQuota()
	config.Quota = quotas
	gw, err := gateway.New(c.Name, bp, config)
	if err != nil {
		return errors.Join(usageError{err}, closeBackplane(bp))
	}
	probes.serve(gw)
	p.logger.Info("gateway starts", "name", c.Name, "node", bp.Self().String(),
		"listen", public.Addr().String(), "path", c.Path, "internal", private.Addr().String())
	mux := http.NewServeMux()
	mux.Handle(c.Path, gw)
	limits := httpLimits{timeout: c.HandshakeTimeout, headerBytes: c.MaxHeaderBytes}
	e := &edge{gateway: gw, backplane: bp, server: newHTTPServer(mux, limits, p.logger), stopTimeout: c.StopTimeout}
	if certificate != nil {
		go certificate.watch(p.ctx)
	}
	return e.run(p.ctx, c.front(public, certificate, p.logger))
}

// front is the public listener as clients are seen through it.
func (f *gatewayFlags) front(l net.Listener, c *certificate, logger *slog.Logger) net.Listener {
	if f.ProxyProtocol {
		l = proxyListener{l, f.TrustedProxies, logger}
	}
	if c != nil {
		l = tls.NewListener(l, c.config())
	}
	return l
}

// listen binds an address that a flag gives.
func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	return l, nil
}

// edge is a gateway with what it stands on: its backplane and its HTTP server.
type edge struct {
	gateway     *gateway.Gateway
	backplane   *backplane.Backplane
	server      *http.Server
	stopTimeout time.Duration // for the drain that follows the end of run's ctx
}

// run serves on l until ctx ends or something fails. Then it drains the gateway
// and closes the backplane.
func (e *edge) run(ctx context.Context, l net.Listener) error {
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ended := make(chan error, 1)
	served := make(chan error, 1)
	go func() { ended <- e.gateway.Run(running) }()
	go func() { served <- e.server.Serve(l) }()

	var errs []error
	select {
	case <-ctx.Done():
	case err := <-served:
		errs = append(errs, fmt.Errorf("listener: %w", err))
	case err := <-ended:
		errs = append(errs, fmt.Errorf("gateway: %w", err))
		ended <- nil // for the wait below
	}

	stop, cancel := context.WithTimeout(running, e.stopTimeout)
	defer cancel()
	if err := e.gateway.Drain(stop); err != nil {
		errs = append(errs, fmt.Errorf("drain: %w", err))
	}
	_ = e.server.Close() // the sockets have left it; what it still has are idle connections
	end()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		errs = append(errs, fmt.Errorf("gateway: %w", err))
	}
	return errors.Join(append(errs, closeBackplane(e.backplane))...)
}

// flushTimeout is how long the last frames may take to reach their nodes.
const flushTimeout = time.Second

func closeBackplane(bp *backplane.Backplane) error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	return bp.Close(ctx)
}
