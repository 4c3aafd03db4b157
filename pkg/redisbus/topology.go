package redisbus

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// defaultDialTimeout bounds one attempt to connect, TLS handshake included.
const defaultDialTimeout = 2 * time.Second

// Topology says where Redis is and how to connect to it. [ParseURL] makes one. It
// is immutable, and prints without its password.
type Topology struct {
	network, addr      string
	username, password string
	db                 int
	tls                *tls.Config
	dialTimeout        time.Duration
	redacted           string
}

// String is the URL with its password replaced: safe for logs.
func (t *Topology) String() string { return t.redacted }

// GoString is String, so that %#v shows no password either.
func (t *Topology) GoString() string { return t.redacted }

// NewClient makes a client for commands, with a pool of its own; the caller closes
// it. When ctx ends, so do its connections, with calls that Redis leaves hanging. The
// client obeys the deadlines of contexts, and never repeats a command by itself: only
// its caller knows which may be repeated.
func (t *Topology) NewClient(ctx context.Context) redis.UniversalClient {
	return redis.NewClient(t.options(bound(ctx, t.dial)))
}

// options are the settings that all of our connections share.
func (t *Topology) options(dial dialer) *redis.Options {
	return &redis.Options{
		Network:               t.network,
		Addr:                  t.addr,
		Username:              t.username,
		Password:              t.password,
		DB:                    t.db,
		DialTimeout:           t.dialTimeout,
		Dialer:                softly(dial),
		DialerRetries:         1, // our own loops back off; retries inside would hide an outage from them
		MaxRetries:            -1,
		Protocol:              2, // nothing here uses the push messages of RESP3, and reading them costs
		PipelinePoolSize:      -1,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// dial connects, with TLS if the URL says so. Unlike go-redis's own dialer it gives
// up when ctx ends.
func (t *Topology) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: t.dialTimeout}
	if t.tls == nil {
		return d.DialContext(ctx, network, addr)
	}
	return (&tls.Dialer{NetDialer: &d, Config: t.tls}).DialContext(ctx, network, addr)
}
