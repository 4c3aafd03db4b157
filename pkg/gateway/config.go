package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Defaults of [Config].
const (
	DefaultMaxSockets          = 100_000
	DefaultMaxHandshakes       = 1024
	DefaultHandshakeTimeout    = 5 * time.Second
	DefaultRateGrace           = 10 * time.Second
	DefaultMaxMessageBytes     = 64 << 10
	DefaultMaxFragments        = 4096
	DefaultMaxControlRate      = 20
	DefaultMaxConversations    = 1024
	DefaultReplyWindow         = wire.DefaultWindow
	DefaultPushWindow          = wire.DefaultWindow
	DefaultPingInterval        = 25 * time.Second
	DefaultPeerTimeout         = 45 * time.Second
	DefaultMessageTimeout      = 30 * time.Second
	DefaultSlowConsumerTimeout = 10 * time.Second
	DefaultPinTimeout          = 5 * time.Second
	DefaultCloseTimeout        = 5 * time.Second
	DefaultHandbackTimeout     = 30 * time.Second
	DefaultDrainWindow         = 10 * time.Second
	DefaultAuthTimeout         = 5 * time.Second
	DefaultExpiryWarning       = time.Minute
	DefaultExpiryGrace         = 10 * time.Second
)

// frameOverhead is how much larger a message's frame is at most.
const frameOverhead = wire.MaxHead + 16

// DefaultForwardHeaders are the handshake headers that handlers see unless
// Config.ForwardHeaders says otherwise.
func DefaultForwardHeaders() []string {
	return []string{"Accept-Language", "Origin", "User-Agent", "X-Request-Id"}
}

// Config configures a [Gateway]. A zero field means its default, a negative one
// that there is no such limit, where the field says that this is possible.
type Config struct {
	// AllowedOrigins are the values of the Origin header that are accepted beside
	// the gateway's own host, such as "https://app.example.com", or
	// "https://*.example.com" for all hosts below one. "*" accepts all but "null".
	// A handshake without the header is not a browser's and always accepted.
	// Default: none, only the same host, by the same scheme if that is known.
	AllowedOrigins []string
	// CheckOrigin replaces the check of AllowedOrigins. Default: nil.
	CheckOrigin func(*http.Request) bool
	// TrustedProxies are the addresses of proxies that say whom they forward for.
	// What others say is not believed. Default: none.
	TrustedProxies []netip.Prefix
	// ForwardedHeader names the header in which they do: HeaderXForwardedFor, with
	// X-Forwarded-Proto, or HeaderForwarded. It must be one that they set and do not
	// let clients set: the other one is ignored. Default HeaderXForwardedFor.
	ForwardedHeader string
	// ForwardHeaders names the handshake headers that handlers may see. Name
	// Cookie or Authorization only if every service may act as the client.
	// Sec-WebSocket-Protocol, which may hold a credential, is never forwarded.
	// Default: [DefaultForwardHeaders]; an empty, non-nil list forwards none.
	ForwardHeaders []string

	// Authenticator says who each client is; one that it refuses gets an HTTP status
	// and a code in place of a WebSocket. With one, the query parameters "ticket" and
	// "token" are removed from what handlers see. Default: nil, all clients are
	// anonymous.
	Authenticator auth.Authenticator
	// AuthTimeout bounds each call of the Authenticator; after it the client is
	// refused with 503. Default 5 s.
	AuthTimeout time.Duration
	// ExpiryWarning is how long before its identity expires a client is told, so
	// that it can renew it. Default 1 min; negative: it is not told.
	ExpiryWarning time.Duration
	// ExpiryGrace is how long a client stays connected after its identity has
	// expired. After that it is closed with 1008. Default 10 s; negative: not at all.
	ExpiryGrace time.Duration

	// MaxSockets is how many clients may be connected; further handshakes get 503.
	// Default 100,000; negative: as many as memory and file descriptors allow.
	MaxSockets int
	// MaxHandshakes is how many handshakes may be under way, authentication included;
	// further ones get 503 before anything is done for them. Default 1024; negative:
	// no limit.
	MaxHandshakes int
	// HandshakeTimeout bounds what a handshake is waited for: its body, if it has one,
	// and that the client takes the answer. What comes before is bounded by the HTTP
	// server, authentication by AuthTimeout. Default 5 s.
	HandshakeTimeout time.Duration
	// AcceptRate is how many handshakes are let in; further ones get 503 before
	// anything is done for them. Default: no limit.
	AcceptRate quota.Rate
	// MessageRate is how many messages one socket may send, and ByteRate how many
	// bytes of messages. A message beyond is answered with the error rate_limited.
	// Default: no limit.
	MessageRate, ByteRate quota.Rate
	// ReportRate is how many reports of latency one socket may send to [LatencyPath]. One
	// beyond is answered with the error rate_limited. Default 1 per second, 10 at once.
	ReportRate quota.Rate
	// MaxInFlight is how many requests (messages with a path and an id) of one socket
	// may be without an answer; one more is answered with the error rate_limited. A
	// request that is not answered for a minute no longer counts. Default: no limit.
	MaxInFlight int
	// Quota counts what client addresses and users do over all gateways. The gateway
	// runs it while it runs itself. Default: none, they are not limited.
	Quota *quota.Quota
	// RateGrace is how long a client may go on sending more messages that are over a
	// limit than ones that are not, before it is closed with 1008. Default 10 s;
	// negative: for ever.
	RateGrace time.Duration
	// MaxMessageBytes is the largest message of a client, in bytes. A larger one
	// closes the connection with 1009. A message travels as one frame, so at most
	// what the links of the backplane carry: unless they are configured otherwise, a
	// few bytes less than 1 MiB. Default 64 KiB.
	MaxMessageBytes int
	// Compression lets clients agree on permessage-deflate, each message for itself:
	// theirs may be compressed, and those of services are from 512 bytes on.
	// MaxMessageBytes limits what theirs inflate to. Do not mix secrets and what others
	// choose in one message then: its length tells about both. Default: off.
	Compression bool
	// MaxFragments is how many frames a message may consist of. One of more closes
	// the connection with 1008. Default 4096; negative: any number.
	MaxFragments int
	// MaxControlRate is how many control frames, which are pings and pongs, a client
	// may send per second, on average over 5 s. More close the connection with 1008.
	// Default 20; negative: any number.
	MaxControlRate int
	// MaxConversations is how many message ids are remembered per socket in order
	// to route messages without a path, and per (socket, service) in order to
	// report requests that a lost instance leaves unanswered. The least recently
	// used are forgotten first. Default 1024.
	MaxConversations int
	// ReplyWindow is how much a service may send to one socket before the client
	// has taken it, in bytes; every message counts [wire.DataOverhead] more than
	// its length. This bounds what a slow client takes of the gateway's memory,
	// per service that it uses. Default 256 KiB.
	ReplyWindow int

	// PushWindow is how much of pushes may be queued for one socket, in the unit of
	// ReplyWindow, before their policy says what becomes of further ones. Default
	// 256 KiB.
	PushWindow int

	// PingInterval is the longest time between two pings to a client; the actual
	// time is up to a fifth shorter, at random. Default 25 s; negative: no pings.
	PingInterval time.Duration
	// PeerTimeout is after how long without a byte from a client its connection
	// counts as dead. Time in which the gateway does not read, because a service
	// is slow, does not count. Default 45 s; negative: never.
	PeerTimeout time.Duration
	// MessageTimeout is how long one message may take from its first byte to its
	// last. After that the connection is closed with 1008. Default 30 s;
	// negative: for ever.
	MessageTimeout time.Duration
	// SlowConsumerTimeout is how long a client may leave the gateway's writes
	// without any progress before it is closed with 1008. Default 10 s; negative:
	// for ever.
	SlowConsumerTimeout time.Duration
	// PinTimeout bounds the search for an instance at a socket's first message for
	// a service; after it the client gets the error unavailable. Default 5 s.
	PinTimeout time.Duration
	// CloseTimeout is how long the gateway waits for a client to read the close
	// frame and to answer it. Default 5 s.
	CloseTimeout time.Duration
	// HandbackTimeout is how long an instance may take to run its close handlers,
	// or to finish what is queued when it hands a socket back or the gateway
	// drains. After it the pin is removed all the same. Default 30 s.
	HandbackTimeout time.Duration
	// DrainWindow is the time over which Drain spreads the closing of sockets, so
	// that their clients do not all reconnect at once. Default 10 s; negative: all
	// are closed at once.
	DrainWindow time.Duration

	// Logger gets what operators may want to know. Credentials and query strings
	// are never logged. Default: discards everything.
	Logger *slog.Logger
	// Hooks are told what happens. Default: none.
	Hooks Hooks
}

func (c Config) withDefaults() Config {
	c.MaxSockets = cmp.Or(c.MaxSockets, DefaultMaxSockets)
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, DefaultMaxHandshakes)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, DefaultHandshakeTimeout)
	c.ReportRate = cmp.Or(c.ReportRate, DefaultReportRate())
	c.RateGrace = cmp.Or(c.RateGrace, DefaultRateGrace)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, DefaultMaxMessageBytes)
	c.MaxFragments = cmp.Or(c.MaxFragments, DefaultMaxFragments)
	c.MaxControlRate = cmp.Or(c.MaxControlRate, DefaultMaxControlRate)
	c.MaxConversations = cmp.Or(c.MaxConversations, DefaultMaxConversations)
	c.ReplyWindow = cmp.Or(c.ReplyWindow, DefaultReplyWindow)
	c.PushWindow = cmp.Or(c.PushWindow, DefaultPushWindow)
	c.PingInterval = cmp.Or(c.PingInterval, DefaultPingInterval)
	c.PeerTimeout = cmp.Or(c.PeerTimeout, DefaultPeerTimeout)
	c.MessageTimeout = cmp.Or(c.MessageTimeout, DefaultMessageTimeout)
	c.SlowConsumerTimeout = cmp.Or(c.SlowConsumerTimeout, DefaultSlowConsumerTimeout)
	c.PinTimeout = cmp.Or(c.PinTimeout, DefaultPinTimeout)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, DefaultCloseTimeout)
	c.HandbackTimeout = cmp.Or(c.HandbackTimeout, DefaultHandbackTimeout)
	c.DrainWindow = cmp.Or(c.DrainWindow, DefaultDrainWindow)
	c.AuthTimeout = cmp.Or(c.AuthTimeout, DefaultAuthTimeout)
	c.ExpiryWarning = cmp.Or(c.ExpiryWarning, DefaultExpiryWarning)
	c.ExpiryGrace = cmp.Or(c.ExpiryGrace, DefaultExpiryGrace)
	c.ForwardedHeader = cmp.Or(c.ForwardedHeader, HeaderXForwardedFor)
	if c.ForwardHeaders == nil {
		c.ForwardHeaders = DefaultForwardHeaders()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// interval is the time that connections are looked after in.
func (c Config) interval() time.Duration {
	if c.PingInterval > 0 {
		return c.PingInterval
	}
	if c.PeerTimeout > 0 {
		return c.PeerTimeout
	}
	return DefaultPingInterval
}

// validate reports everything that is wrong with a configuration whose defaults
// have been filled in.
func (c Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("gateway.Config."+format, args...))
		}
	}
	check(c.MaxMessageBytes > 0, "MaxMessageBytes: %d; must be positive", c.MaxMessageBytes)
	for _, r := range []struct {
		name string
		rate quota.Rate
		one  int // what must fit
	}{{"AcceptRate", c.AcceptRate, 1}, {"MessageRate", c.MessageRate, 1}, {"ReportRate", c.ReportRate, 1}, {"ByteRate", c.ByteRate, c.MaxMessageBytes}} {
		if err := r.rate.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("gateway.Config.%s: %w", r.name, err))
		}
		check(!r.rate.Limited() || r.rate.Size() >= float64(r.one), "%s: a burst of %v; must be at least MaxMessageBytes (%d)", r.name, r.rate.Size(), r.one)
	}
	check(c.Quota == nil || c.Quota.Fits(c.MaxMessageBytes), "Quota: a burst of bytes is below MaxMessageBytes (%d)", c.MaxMessageBytes)
	check(c.MaxConversations > 0, "MaxConversations: %d; must be positive", c.MaxConversations)
	check(c.ReplyWindow >= minWindow && c.ReplyWindow <= maxWindow,
		"ReplyWindow: %d; must be between %d and %d", c.ReplyWindow, minWindow, maxWindow)
	check(c.PushWindow >= minWindow && c.PushWindow <= maxWindow,
		"PushWindow: %d; must be between %d and %d", c.PushWindow, minWindow, maxWindow)
	check(c.PingInterval < 0 || c.PingInterval >= minInterval,
		"PingInterval: %v; must be negative or at least %v", c.PingInterval, minInterval)
	check(c.PeerTimeout < 0 || c.PeerTimeout > c.PingInterval,
		"PeerTimeout: %v; must be negative or above PingInterval (%v)", c.PeerTimeout, c.PingInterval)
	check(c.PinTimeout > 0, "PinTimeout: %v; must be positive", c.PinTimeout)
	check(c.HandshakeTimeout > 0, "HandshakeTimeout: %v; must be positive", c.HandshakeTimeout)
	check(c.AuthTimeout > 0, "AuthTimeout: %v; must be positive", c.AuthTimeout)
	check(c.CloseTimeout > 0, "CloseTimeout: %v; must be positive", c.CloseTimeout)
	check(c.HandbackTimeout > 0, "HandbackTimeout: %v; must be positive", c.HandbackTimeout)
	if _, _, err := originPatterns(c.AllowedOrigins); err != nil {
		errs = append(errs, err)
	}
	check(c.ForwardedHeader == HeaderXForwardedFor || c.ForwardedHeader == HeaderForwarded,
		"ForwardedHeader: %q; must be %s or %s", c.ForwardedHeader, HeaderXForwardedFor, HeaderForwarded)
	for _, h := range c.ForwardHeaders {
		check(h != "", "ForwardHeaders: holds an empty name")
	}
	return errors.Join(errs...)
}

const (
	minWindow   = 4 << 10
	maxWindow   = 64 << 20
	minInterval = 25 * time.Millisecond
)
